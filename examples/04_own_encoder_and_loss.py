"""How do you train an encoder and a loss of your own?

The encoder is a stack of dilated convolutions with attention over time; the loss term is the uniformity of Wang and
Isola (2020), which spreads the embeddings over the sphere. Both are written to a module of their own, where yours
will stand too, because a checkpoint names its classes by their import path.

    python examples/04_own_encoder_and_loss.py [--weight W] [--steps N] [--out FOLDER]

Prints what was checked of both and, for a training with the sum of GE2E and `--weight` times the term, the terms and
the equal error rate on unseen singers: before, at the best step, at the end. Then loads the model again. Writes
my_parts.py, conf/encoder/dilated.yaml, conf/loss/ge2e+uniformity.yaml and the run folder run/. The page about it is
docs/tutorials/own_parts.md.
"""

import argparse
import importlib
import sys
import tempfile
from pathlib import Path

import torch
from torch.nn.functional import normalize

from singer_verify import load_model, train
from singer_verify.project_files import PROJECT_FOLDER

CORPUS = PROJECT_FOLDER / "example_dataset"

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--weight", type=float, default=0.1, help="weight of the term, beside 1 for GE2E")
parser.add_argument("--steps", type=int, default=150, help="training steps")
parser.add_argument("--out", type=Path, help="folder to write to (default: a temporary one)")
arguments = parser.parse_args([] if "ipykernel" in sys.modules else None)
out = (arguments.out or Path(tempfile.mkdtemp(prefix="parts_"))).resolve()
for group in ("encoder", "loss"):
    (out / "conf" / group).mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## The parts
#
# An encoder maps frames to rows of unit length and knows nothing else: no loss, no number of singers, no device. Its
# `settings` rebuild it. A loss term maps the embeddings of a batch to named scalars; the one of its own name is
# minimised, the others are logged.

# %%
SOURCE = '''
import torch
from torch import nn
from torch.nn.functional import normalize


class DilatedEncoder(nn.Module):
    """Dilated convolutions, then the mean over time that a layer of attention weights."""

    def __init__(self, num_bins, width=64, embedding_size=64):
        super().__init__()
        self.embedding_size = embedding_size
        self.settings = {
            "_target_": f"{__name__}.DilatedEncoder",
            "num_bins": num_bins,
            "width": width,
            "embedding_size": embedding_size,
        }
        widths = (num_bins, width, width)
        convolutions = (nn.Conv1d(inner, width, 3, padding=2**n, dilation=2**n) for n, inner in enumerate(widths))
        self.blocks = nn.Sequential(*(nn.Sequential(c, nn.GroupNorm(1, width), nn.ReLU()) for c in convolutions))
        self.attention, self.linear = nn.Conv1d(width, 1, 1), nn.Linear(width, embedding_size)

    def forward(self, frames):  # (batch, frames, bins) → (batch, embedding), unit rows
        hidden = self.blocks(frames.mT)
        pooled = (hidden * self.attention(hidden).softmax(dim=2)).sum(dim=2)
        return normalize(self.linear(pooled), dim=1)


class Uniformity(nn.Module):
    """Logarithm of the mean Gaussian potential of the embeddings of different singers."""

    min_utterances, lr_multiplier, singer_specific = 1, 1.0, False

    def __init__(self, t=2.0):
        super().__init__()
        self.t = t

    def forward(self, embeddings, singers):  # (singers, utterances, embedding), (singers,) → named scalars
        rows, owners = embeddings.flatten(0, 1), singers.repeat_interleave(embeddings.shape[1])
        cosines = (rows @ rows.mT)[owners[:, None] != owners]
        potential = (-self.t * (2 - 2 * cosines)).exp().mean()
        return {"uniformity": potential.log(), "uniformity/cosine": cosines.mean()}
'''
(out / "my_parts.py").write_text(SOURCE, encoding="utf-8")
sys.path.insert(0, str(out))  # beside train.py, it would be found anyway
parts = importlib.import_module("my_parts")

# %% [markdown]
# ## Do they keep their promises?
#
# An embedding must not depend on its neighbours in the batch, and a loss not on the order of the singers. Embeddings
# that are all alike must cost more than embeddings that point everywhere.

# %%
encoder, term, frames = parts.DilatedEncoder(num_bins=40).eval(), parts.Uniformity(), torch.randn(4, 100, 40)
torch.testing.assert_close(encoder(frames)[:1], encoder(frames[:1]))
torch.testing.assert_close(encoder(frames).norm(dim=1), torch.ones(4))
singers, spread = torch.arange(6), normalize(torch.randn(6, 3, 64), dim=2)
alike, order = spread[:1, :1].expand(6, 3, 64), torch.randperm(6)
torch.testing.assert_close(term(spread, singers), term(spread[order], singers[order]))
spread_loss, alike_loss = (term(embeddings, singers)["uniformity"].item() for embeddings in (spread, alike))
print(f"Uniformity of embeddings that point everywhere: {spread_loss:.2f}, that are all alike: {alike_loss:.2f}")

# %% [markdown]
# ## Train with them
#
# A yaml for each; `num_bins` is passed, because the recipe decides it. The loss is the weighted sum of its terms, whose
# names are yours to choose.

# %%
(out / "conf/encoder/dilated.yaml").write_text("_target_: my_parts.DilatedEncoder\nwidth: 64\n", encoding="utf-8")
loss_yaml = f"""
defaults: [ge2e]
terms:
  uniformity: {{_target_: my_parts.Uniformity, t: 2.0}}
weights:
  uniformity: {arguments.weight}
"""
(out / "conf/loss/ge2e+uniformity.yaml").write_text(loss_yaml, encoding="utf-8")
settings = [
    *("encoder=dilated", "loss=ge2e+uniformity", "trust=[my_parts]", f"hydra.searchpath=[file://{out / 'conf'}]"),
    *(f"data.root={CORPUS}", f"data.store_root={out / 'store'}", "data.num_extraction_workers=0"),
    *("optimizer.lr=0.002", f"trainer.max_steps={arguments.steps}", "trainer.accelerator=cpu", "~callbacks.pictures"),
    *(f"trainer.val_check_interval={max(arguments.steps // 5, 1)}", f"hydra.run.dir={out / 'run'}"),
]
result = train(settings)
for name, metrics in (("untrained", result.untrained), ("best", result.best), ("last", result.final)):
    if metrics is not None:
        terms = ", ".join(f"{term} {metrics[f'val/{term}']:.3f}" for term in ("ge2e", "uniformity"))
        print(f"{name}: step {metrics['step']:.0f}, {terms}, EER {metrics['val/eer']:.1%}")

# %% [markdown]
# ## Load the model again
#
# The checkpoint has the encoder's settings and needs the module to be importable, and trusted. It has the loss as well,
# for a training that goes on; embedding leaves that aside.

# %%
model = load_model(result.run, trust=["my_parts"])
print(model)
file = sorted((CORPUS / "val").glob("*/*.flac"))[0]
print(f"{file.stem}: an embedding of {len(model.embed(file))} values")
print(f"Written to {out}.")
