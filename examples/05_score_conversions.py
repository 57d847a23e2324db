"""How like their target singers do the voices of several conversion systems sound, and which system is better?

Needs no data of yours: the "systems" are made of the example data. The first gives back another recording of the
target singer, the best that a conversion could do. The second does too, but three semitones up, formants and all. The
third gives a recording of somebody else, which is no conversion at all. Put your own systems between the first and
the third.

    python examples/05_score_conversions.py [MODEL] [--out FOLDER]

MODEL is a run folder or a checkpoint; without one, the packaged model is taken. Prints the mean score of each system
with a 95 % interval over singers and songs, the paired differences, and the pairs to listen to; writes pairs.csv and,
in scores/, tables, LaTeX and a figure. The page about it is docs/similarity.md.
"""

import argparse
import csv
import sys
import tempfile
from pathlib import Path

import soundfile

from singer_verify import load_model
from singer_verify.inference.similarity import compute_similarity, find_worst_pairs, read_pairs
from singer_verify.project_files import PROJECT_FOLDER
from singer_verify.reports.similarity import write_similarity

CORPUS = PROJECT_FOLDER / "example_dataset"
NUM_SONGS, SEMITONES = 3, 3

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("model", nargs="?", type=Path, help="a run folder or a checkpoint (default: the packaged model)")
parser.add_argument("--out", type=Path, help="folder to write to (default: a temporary one)")
arguments = parser.parse_args([] if "ipykernel" in sys.modules else None)
out = arguments.out or Path(tempfile.mkdtemp(prefix="conversions_"))
(out / "shifted").mkdir(parents=True, exist_ok=True)

# %% What three systems made, for singers that the model was not trained on
recordings = {folder.name: sorted(folder.glob("*.flac")) for folder in sorted((CORPUS / "val").iterdir())}
singers = list(recordings)
rows = []
for place, singer in enumerate(singers):
    stranger = singers[(place + 1) % len(singers)]
    for song in range(NUM_SONGS):
        reference, own, other = recordings[singer][-1 - song], recordings[singer][song], recordings[stranger][song]
        samples, sample_rate = soundfile.read(own)
        shifted = out / "shifted" / f"{own.stem}.wav"
        soundfile.write(shifted, samples, round(sample_rate * 2 ** (SEMITONES / 12)))  # played faster
        for system, generated in (("own voice", own), ("shifted", shifted), ("stranger", other)):
            rows.append((generated.resolve(), reference.resolve(), system, singer, f"song {song + 1}"))

# %% The table of pairs, as you would write it for recordings of your own
with open(out / "pairs.csv", "w", newline="", encoding="utf-8") as table:
    writer = csv.writer(table)
    writer.writerow(("generated", "reference", "system", "singer", "song"))
    writer.writerows(rows)

# %% Scores
model = load_model(arguments.model)
report = compute_similarity(model, read_pairs(out / "pairs.csv"))
for row in report.result.systems:
    score = row.score
    accepted = "" if row.accepted is None else f", {row.accepted.value:.0%} of {row.num_pairs} pairs accepted"
    print(f"{row.system:9}  {score.value:+.3f} [{score.low:+.3f}, {score.high:+.3f}]{accepted}")

# %% Differences, on the singers and songs that both systems have, in the same resamples
for item in report.result.differences:
    score, p = item.score, "?" if item.p is None else f"{item.p:.3f}"
    print(f"{item.system} minus {item.other}: {score.value:+.3f} [{score.low:+.3f}, {score.high:+.3f}], p = {p}")

# %% What to listen to: the target singer's own recordings that score lowest
own_pairs = [pair for pair in report.pairs if pair.pair.system == "own voice"]
for worst in find_worst_pairs(own_pairs, 3):
    print(f"listen: {worst.score:+.3f}  {worst.pair.generated.name} against {worst.pair.reference.name}")
write_similarity(report, out / "scores")
print(f"Written to {out}.")
