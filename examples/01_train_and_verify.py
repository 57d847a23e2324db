"""How is a model trained, and how are two recordings compared with it?

Trains a small network on the example data, twelve synthetic singers, and tries it on six others, in less than a
minute. With `--corpus`, a folder of your own, `train/SINGER/*.wav` and `val/SINGER/*.wav`.

    python examples/01_train_and_verify.py [--corpus FOLDER] [--steps N] [--out FOLDER]

Prints the equal error rate before and after the training, that of the best model with a 95 % interval, and what the new
model and the packaged one say of two recordings of one singer and of two singers. Writes the run folder run/ and, in
store/, the frames. The page about it is docs/quickstart.md.
"""

import argparse
import sys
import tempfile
from itertools import islice
from pathlib import Path

from singer_verify import evaluate, load_model, train
from singer_verify.inference import load_model_scoring, verify
from singer_verify.project_files import PROJECT_FOLDER

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--corpus", type=Path, default=PROJECT_FOLDER / "example_dataset", help="a corpus to train on")
parser.add_argument("--steps", type=int, default=200, help="training steps")
parser.add_argument("--out", type=Path, help="folder to write to (default: a temporary one)")
arguments = parser.parse_args([] if "ipykernel" in sys.modules else None)
corpus, out = arguments.corpus, arguments.out or Path(tempfile.mkdtemp(prefix="training_"))

# %% [markdown]
# ## Train
#
# `train` takes what `python train.py` takes, as a list or as a dict; what is not named stands in `conf/`. Frames are
# computed once and kept in `data.store_root`. The network is validated on the singers of `val`, which it never learns
# from, before the first step and then again and again; the best state is kept.

# %%
settings = {
    "data.root": corpus,
    "data.store_root": out / "store",
    "data.num_extraction_workers": 0,  # frames are computed in this process
    "encoder.hidden_size": 64,
    "optimizer.lr": 0.002,
    "trainer.max_steps": arguments.steps,
    "trainer.val_check_interval": max(arguments.steps // 8, 1),
    "trainer.accelerator": "cpu",
    "hydra.run.dir": out / "run",
}
result = train(settings)
print(f"{result.num_train_singers} singers, {result.steps} steps in {result.seconds:.0f} s; {result.stopped}.")
for name, metrics in (("untrained", result.untrained), ("best", result.best)):
    if metrics is not None:
        print(f"{name}: EER {metrics['val/eer']:.1%} at step {metrics['step']:.0f}")

# %% [markdown]
# ## How sure is the error rate?
#
# `evaluate` compares every two recordings of the split and resamples its singers: with other singers of the same kind,
# the error rate would have come out anywhere in the interval. Six singers are few. The step was chosen on these singers
# as well, so the true rate is rather higher; a split `test` that nothing was chosen on tells.

# %%
model = load_model(result.run)
evaluation = evaluate(model, corpus, conditions="none", confounds=False)
eer, whole = evaluation.metrics["eer"], evaluation.conditions[0]
num_trials = whole.num_targets + whole.num_nontargets
print(f"EER {100 * eer.value:.1f} % [{100 * eer.low:.1f}, {100 * eer.high:.1f}], {num_trials} trials")

# %% [markdown]
# ## Compare recordings
#
# A score is the cosine of two embeddings and means something only beside a threshold. That of the new model is where
# both kinds of errors were equally frequent in its validation, that of the packaged model comes from real singing. Each
# network has a scale of its own: compare the decisions of two models, never their scores.

# %%
singers = sorted(folder for folder in (corpus / "val").iterdir() if folder.is_dir())
(first, second), (other, _) = (list(islice(model.find_files([singer]), 2)) for singer in singers[:2])
decisions = {True: "the same singer", False: "different singers", None: "no threshold"}
for title, tried in (("new", model), ("packaged", load_model())):
    scoring = load_model_scoring(tried)
    for right in (second, other):
        verified = verify(tried, scoring, first, right)
        threshold = "?" if verified.threshold is None else f"{verified.threshold.score:.3f}"
        decision = decisions[verified.is_same]
        print(f"{title}: {first.stem} and {right.stem}: {verified.score:.3f}, threshold {threshold}: {decision}")
print(f"Written to {out}.")
