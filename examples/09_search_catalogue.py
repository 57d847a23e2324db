"""Who of a large catalogue sings in this recording?

Needs the extra `catalogue` (pyarrow, faiss). The catalogue is the example data's train split, without one recording
of each singer, which is looked up. Nothing here changes for a million files: each shard may run on a machine of its
own, goes on where it was killed, and the gallery is a database with an index.

    python examples/09_search_catalogue.py [MODEL] [--out FOLDER]

MODEL is a run folder or a checkpoint; without one, the packaged model is taken. Prints what each shard embedded, what
the gallery holds, how many of the recordings looked up are of the singer found first, and the time that one takes.
The model may have been trained on these singers: this shows how to search, not how well it works. Writes parts/ and
catalogue.sqlite. The page about it is docs/catalogues.md.
"""

import argparse
import sys
import tempfile
import time
from pathlib import Path

from singer_verify import Gallery, load_model
from singer_verify.inference import load_model_scoring
from singer_verify.inference.embedding_parts import embed_into_parts, parse_shard, select_shard_files
from singer_verify.inference.gallery_import import build_singer_finder, import_parts
from singer_verify.project_files import PROJECT_FOLDER

FOLDER = PROJECT_FOLDER / "example_dataset" / "train"

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("model", nargs="?", type=Path, help="a run folder or a checkpoint (default: the packaged model)")
parser.add_argument("--out", type=Path, help="folder to write to (default: a temporary one)")
arguments = parser.parse_args([] if "ipykernel" in sys.modules else None)
out = arguments.out or Path(tempfile.mkdtemp(prefix="catalogue_"))
out.mkdir(parents=True, exist_ok=True)

# %% The recordings of the catalogue, and those that are looked up
model = load_model(arguments.model)
queries = [sorted(singer.glob("*.flac"))[-1] for singer in sorted(FOLDER.iterdir())]
files = [file for file in model.find_files([FOLDER]) if file not in queries]

# %% Embed in two shards; on a cluster, each is a job: singer-verify embed MODEL FOLDER --out parts --shard 1/2
for name in ("1/2", "2/2", "1/2"):  # the last call finds its work done
    shard = parse_shard(name)
    outcome = embed_into_parts(model, select_shard_files(files, [FOLDER], shard), out / "parts", shard)
    print(f"shard {name}: {outcome.added} files embedded, {outcome.present} before, {outcome.skipped} not usable")

# %% Import the parts into a gallery; the folder of a file says who sings
imported = import_parts(out / "catalogue.sqlite", out / "parts", build_singer_finder(None, FOLDER))
gallery = Gallery.load(out / "catalogue.sqlite", model, load_model_scoring(model))
print(f"{len(imported.added)} recordings imported; {gallery.num_singers} singers in the gallery.")

# %% Look up
gallery.identify(queries[0])  # the first one reads the gallery
started_s, right = time.perf_counter(), 0
for query in queries:
    best = gallery.identify(query, exact=False).candidates[0]
    right += best.singer == query.parent.name
elapsed_ms = 1000 * (time.perf_counter() - started_s) / len(queries)
print(f"{right} of {len(queries)} looked up right, {elapsed_ms:.0f} ms each, embedding included.")
print(f"Written to {out}.")
