"""How are the singers of a whole choir enrolled, found again, joined with another choir's, and removed?

The choir are the twelve singers of the example data's train split, enrolled by seven recordings each; the eighth is
identified. Guests are the singers of the val split.

    python examples/10_enrol_choir.py [MODEL] [--out FOLDER]

MODEL is a run folder or a checkpoint; without one, the packaged model is taken. Prints how many are enrolled, how
many recordings of the choir, and of the guests after the merge, are identified (the first candidate is right), and
what becomes of the recording of a singer who was removed. The model may have been trained on the choir, hardly ever
on the guests. Writes choir.npz, guests.npz and everyone.npz. The page about it is docs/galleries.md.
"""

import argparse
import sys
import tempfile
from collections.abc import Iterable
from pathlib import Path

from singer_verify import Gallery, load_model
from singer_verify.corpora.labels import read_singer_labels
from singer_verify.inference import load_model_scoring
from singer_verify.inference.bulk_enrolment import enrol_singers_in_bulk
from singer_verify.inference.enrolment import find_singer_files
from singer_verify.inference.gallery_file import merge_galleries, read_gallery, write_gallery
from singer_verify.project_files import PROJECT_FOLDER

CORPUS = PROJECT_FOLDER / "example_dataset"

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("model", nargs="?", type=Path, help="a run folder or a checkpoint (default: the packaged model)")
parser.add_argument("--out", type=Path, help="folder to write to (default: a temporary one)")
arguments = parser.parse_args([] if "ipykernel" in sys.modules else None)
out = arguments.out or Path(tempfile.mkdtemp(prefix="choir_"))
out.mkdir(parents=True, exist_ok=True)

# %% Enrol two choirs, each in one call that can be interrupted and made again
model = load_model(arguments.model)
scoring = load_model_scoring(model)
queries: dict[str, dict[Path, str]] = {}
for name, split in (("choir", "train"), ("guests", "val")):
    singer_by_file = find_singer_files(model, CORPUS, (split,))
    last = {singer: file for file, singer in sorted(singer_by_file.items())}  # of each singer, to be identified
    queries[name] = {file: singer for singer, file in last.items()}
    enrolled = {file: singer for file, singer in singer_by_file.items() if file not in queries[name]}
    labels = read_singer_labels(CORPUS / "corpus.csv", enrolled.values())
    outcome = enrol_singers_in_bulk(out / f"{name}.npz", model, enrolled, labels)
    added = sum(counts.added for counts in outcome.singers.values())
    print(f"{name}: {added} recordings of {outcome.gallery.num_singers} singers enrolled.")


# %% Identify
def count_right(gallery: Gallery, recordings: Iterable[tuple[Path, str]]) -> int:
    return sum(gallery.identify(file).candidates[0].singer == singer for file, singer in recordings)


choir = Gallery.load(out / "choir.npz", model, scoring)
print(f"Of the choir alone: {count_right(choir, queries['choir'].items())} of {len(queries['choir'])} right.")

# %% Merge: a recording that both galleries hold is kept once, one under two singers is refused
paths = [out / "choir.npz", out / "guests.npz"]
write_gallery(out / "everyone.npz", *merge_galleries({path: read_gallery(path) for path in paths}))
everyone = Gallery.load(out / "everyone.npz", model, scoring)
for name, recordings in queries.items():
    right = count_right(everyone, recordings.items())
    print(f"Among all {everyone.num_singers}, of the {name}: {right} of {len(recordings)} right.")

# %% Remove: whoever is not in the gallery should be unknown, and is not always
recording, gone = next(iter(queries["guests"].items()))
everyone.remove(gone)
everyone.save(out / "everyone.npz")
result = everyone.identify(recording)
first = result.candidates[0]
said = {True: "taken for", False: "unknown; the nearest is", None: "without a threshold, the nearest is"}
print(f"{gone} was removed, {gone}'s recording is now {said[result.is_known]} {first.singer} ({first.score:+.3f}).")
print(f"Written to {out}.")
