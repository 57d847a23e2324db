"""Is one recipe of features better than another, or did it have luck with its singers?

Trains a small network on each of two recipes, three times each: the singers are divided into three folds, of which each
is judged once by models that have not heard it, so that all eighteen singers count. Six trainings of seconds: these
show how to compare, and nothing about the recipes.

    python examples/02_compare_features.py [--features mel40,mfcc] [--corpus FOLDER] [--steps N] [--out FOLDER]

The first recipe is the baseline. Prints the leaderboard, the difference of the two with its 95 % interval, and how many
singers it would take to see one of two points. Writes the runs to sweep/ and, in leaderboard/, tables, LaTeX, figures
and a page. The page about it is docs/tutorials/compare_features.md.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from singer_verify.evaluation.metrics.bootstrap import Estimate
from singer_verify.project_files import PROJECT_FOLDER
from singer_verify.reports.leaderboard.files import write_leaderboard
from singer_verify.sweeps.comparison import build_leaderboard

EFFECT = 0.02  # a difference of equal error rates that would matter

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--features", default="mel40,mfcc", help="names in conf/features, the baseline first")
parser.add_argument("--corpus", type=Path, default=PROJECT_FOLDER / "example_dataset", help="a corpus to train on")
parser.add_argument("--steps", type=int, default=40, help="steps of each training")
parser.add_argument("--out", type=Path, help="folder to write to (default: a temporary one)")
arguments = parser.parse_args([] if "ipykernel" in sys.modules else None)
out = (arguments.out or Path(tempfile.mkdtemp(prefix="features_"))).resolve()
out.mkdir(parents=True, exist_ok=True)

# %% [markdown]
# ## Train all pairs of a recipe and a fold
#
# A sweep is a command. `sweep=folds` gives all trainings the same budget: the same seconds of the same recordings in
# the same order, and no early stopping. Stop it whenever you like; typed again, it continues where it was.

# %%
sweep = out / "sweep"
command = [
    *(sys.executable, str(PROJECT_FOLDER / "train.py"), "-m", "sweep=folds", f"features={arguments.features}"),
    *(f"data.root={arguments.corpus.resolve()}", f"data.store_root={out / 'store'}", "data.folds=3"),
    *("data.num_extraction_workers=0", "encoder.hidden_size=32", "encoder.num_layers=1", "optimizer.lr=0.002"),
    *(f"trainer.max_steps={arguments.steps}", f"trainer.val_check_interval={max(arguments.steps // 2, 1)}"),
    *("trainer.accelerator=cpu", "~callbacks.pictures", f"hydra.sweep.dir={sweep}"),
]
done = subprocess.run(command, cwd=out, env=os.environ | {"COLUMNS": "100"}, capture_output=True, text=True)
if done.returncode != 0:
    sys.exit(done.stderr)
print(f"{len(list(sweep.glob('*/metrics.json')))} trainings finished.")

# %% [markdown]
# ## Read the leaderboard
#
# Each singer is judged by the models that were neither trained nor chosen on them. The intervals come from resampling
# singers, all models with the same singers each time.

# %%
baseline = f"features={arguments.features.split(',')[0]}"
board = build_leaderboard(sweep, baseline, split=None, corpus=None, estimates_power=True)


def format_percent(estimate: Estimate, form: str = ".1f") -> str:
    value, low, high = (f"{100 * number:{form}}" for number in (estimate.value, estimate.low, estimate.high))
    return f"{value} [{low}, {high}]"


print(f"{board.num_singers} singers, {board.num_utterances} recordings, {board.num_targets} target trials")
for entry in board.entries:
    print(f"{entry.name:16} {entry.num_bins:3} bins  EER % {format_percent(entry.eer)}")

# %% [markdown]
# ## Is the difference real?
#
# Whether the intervals above overlap says little: a singer who is hard for one recipe is hard for the other too. The
# difference is taken in the same resamples, where that cancels. An interval that contains 0 leaves the question open.
# It is no proof that the recipes are equally good; the number of singers says what it would take to find out.

# %%
for entry in board.entries:
    if entry.difference is not None and entry.p_holm is not None:
        verdict = "differ" if entry.compared and entry.compared.is_significant else "cannot be told apart"
        print(
            f"{entry.name} minus {baseline}: {format_percent(entry.difference, '+.1f')} points, p = {entry.p_holm:.3f}"
        )
        print(f"At 95 %, the two {verdict} on these singers.")
for name, curve in board.power.items():
    needed = curve.find_num_singers(EFFECT)
    print(f"{name}: to see {100 * EFFECT:g} points, it takes {needed or f'more than {curve.num_singers[-1]}'} singers.")
write_leaderboard(board, out / "leaderboard")
print(f"Written to {out}.")
