"""Is a new model better than an old one, on a list of trials of one's own?

The new model is a run folder or a checkpoint; without one, the packaged model is taken. The old one is another model
(--old), or, without that, no network at all: mean and deviation of the same frames, the floor that any encoder must
beat. The list is drawn from the example data's val singers; with --corpus and --trials, take your own.

    python examples/11_compare_encoders.py [MODEL] [--old MODEL] [--corpus FOLDER] [--trials LIST] [--out FOLDER]

Prints the equal error rate of both with 95 % intervals, and their difference with its own: both models are resampled
with the same singers, so that the difference is surer than the two intervals suggest. Six singers are few: expect
wide intervals. Writes trials.csv. A whole sweep is compared by `singer-verify leaderboard`, see docs/leaderboard.md.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

from singer_verify import evaluate, load_model
from singer_verify.corpora.corpus import read_corpus
from singer_verify.encoders.statistics import StatisticsEncoder
from singer_verify.evaluation.metrics.bootstrap import Estimate, compare_paired
from singer_verify.evaluation.trials.formats import write_trials
from singer_verify.evaluation.trials.sampling import build_full_pool, draw_trials
from singer_verify.evaluation.trials.trial_list import build_trial_list
from singer_verify.inference import Model
from singer_verify.project_files import PROJECT_FOLDER

CORPUS = PROJECT_FOLDER / "example_dataset"
NUM_TRIALS, NUM_RESAMPLES = 150, 2000  # trials of each kind


# %% A list of trials: as many of one singer as of two, spread evenly over the singers
def write_drawn_trials(corpus: Path, path: Path) -> None:
    utterances = read_corpus(corpus, splits=("val",), required=("val",)).splits["val"].utterances
    singers = np.array([utterance.singer for utterance in utterances])
    paths = np.array([utterance.path for utterance in utterances], object)
    trials = draw_trials(build_full_pool(singers), NUM_TRIALS, seed=0)
    write_trials(path, build_trial_list(trials, paths), "csv")


# %% A model of your own: any module from (batch, frames, bins) to rows of unit length will do
def build_floor(like: Model) -> Model:
    encoder = StatisticsEncoder(like.feature.num_bins)
    return Model(encoder, like.feature, like.window_frames, like.normalisation, device=like.device)


def format_percent(estimate: Estimate, form: str = ".1f") -> str:
    value, low, high = (f"{100 * number:{form}}" for number in (estimate.value, estimate.low, estimate.high))
    return f"{value} % [{low}, {high}]"


# %% Both models on the same trials, their singers resampled with the same seed
def compare(new: Model, old: Model, corpus: Path, trials: Path) -> None:
    results = {
        name: evaluate(model, corpus, trials=trials, conditions="none", confounds=False, num_resamples=NUM_RESAMPLES)
        for name, model in (("old", old), ("new", new))
    }
    for name, result in results.items():
        whole = result.conditions[0]
        print(f"{name}: EER {format_percent(result.metrics['eer'])}, {whole.num_targets + whole.num_nontargets} trials")
    eers = {name: result.metrics["eer"].value for name, result in results.items()}
    resampled = {name: result.resampled_eers for name, result in results.items()}
    difference = compare_paired(eers, resampled, "old", len(results["new"].by_singer))["new"]
    print(f"new minus old: {format_percent(difference.estimate, '+.1f')}, p = {difference.p:.3f}")
    print(f"At 95 %, they {'differ' if difference.is_significant else 'cannot be told apart'} on these singers.")


# %% Worker processes import this file again on some systems: hence a function, and the line at the end
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", type=Path, help="the new model (default: the packaged model)")
    parser.add_argument("--old", type=Path, help="the old model (default: mean and deviation of the frames)")
    parser.add_argument("--corpus", type=Path, default=CORPUS, help="a corpus with a val split")
    parser.add_argument("--trials", type=Path, help="a list of trials (default: drawn)")
    parser.add_argument("--out", type=Path, help="folder to write to (default: a temporary one)")
    arguments = parser.parse_args([] if "ipykernel" in sys.modules else None)
    out = arguments.out or Path(tempfile.mkdtemp(prefix="encoders_"))
    out.mkdir(parents=True, exist_ok=True)
    trials = arguments.trials or out / "trials.csv"
    if arguments.trials is None:
        write_drawn_trials(arguments.corpus, trials)
    new = load_model(arguments.model)
    old = build_floor(new) if arguments.old is None else load_model(arguments.old)
    compare(new, old, arguments.corpus, trials)
    print(f"Written to {out}.")


if __name__ == "__main__":
    main()
