"""Galleries of very many recordings: how fast they are filled and searched, and with how much memory.

    python scripts/benchmark_catalogue.py 10000 100000 1000000

Embeddings are synthetic: unit rows of singers, each with a mean of its own and a scatter around it, in directions that
differ in variance as those of trained encoders do. Queries are new recordings of enrolled singers: counted is how often
the index finds whom scoring everyone finds. Every measurement runs in a process of its own, with one thread.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from singer_verify.environment import set_torch_environment

set_torch_environment()  # before torch is loaded

# isort: split
import torch
import typer
from rich.console import Console
from rich.table import Table

from singer_verify.encoders.lstm import LSTMEncoder
from singer_verify.evaluation.scoring.calibration import Calibration
from singer_verify.evaluation.scoring.scoring import Scoring
from singer_verify.features.mel import MelSpectrogram
from singer_verify.inference import Model
from singer_verify.inference.enrolment import EnrolledRecording
from singer_verify.inference.gallery_store import GalleryStore
from singer_verify.inference.stored_gallery import StoredGallery

EMBEDDING_SIZE = 256
RECORDINGS_PER_SINGER = 10
SCATTER = 1.0  # of a recording around its singer's mean, which has length 1
VARIANCE_DECAY = 0.5  # the deviation of direction i falls as (1 + i) to the power of minus this
RECORDINGS_PER_ENROLMENT = 1000
SINGERS_PER_DRAW = 10_000
NUM_WARM_UP = 5
app = typer.Typer(add_completion=False, help=__doc__)
console = Console()


def draw_rows(generator: np.random.Generator, number: int) -> np.ndarray:
    """Draw unit rows whose directions differ in variance."""
    deviations = ((1.0 + np.arange(EMBEDDING_SIZE)) ** -VARIANCE_DECAY).astype(np.float32)
    rows = generator.standard_normal((number, EMBEDDING_SIZE), dtype=np.float32) * deviations
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def draw_recordings(block: int, num_singers: int, per_singer: int, is_query: bool = False) -> np.ndarray:
    """Draw recordings of the singers of a block, (singers × recordings, embedding): enrolled ones, or new ones."""
    means = draw_rows(np.random.default_rng([block, 0]), SINGERS_PER_DRAW)[:num_singers]
    scatter = draw_rows(np.random.default_rng([block, 1 + is_query]), num_singers * per_singer)
    rows = np.repeat(means, per_singer, axis=0) + np.float32(SCATTER) * scatter
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def iterate_blocks(num_recordings: int) -> Iterator[tuple[int, int]]:
    """Yield the number of each block of singers, and of its singers."""
    num_singers = num_recordings // RECORDINGS_PER_SINGER
    for block, first in enumerate(range(0, num_singers, SINGERS_PER_DRAW)):
        yield block, min(SINGERS_PER_DRAW, num_singers - first)


def draw_queries(num_recordings: int, number: int) -> tuple[list[str], np.ndarray]:
    """Draw new recordings of enrolled singers, with their singers."""
    names, rows = list[str](), list[np.ndarray]()
    blocks = list(iterate_blocks(num_recordings))
    for block, num_singers in blocks:
        drawn = draw_recordings(block, num_singers, 1, is_query=True)[: -(-number // len(blocks))]
        rows.append(drawn)
        names += [name_singer(block, place) for place in range(len(drawn))]
    return names[:number], np.concatenate(rows)[:number]


def name_singer(block: int, place: int) -> str:
    return f"singer {block * SINGERS_PER_DRAW + place:07d}"


def build_scoring(enrolment_score: str) -> Scoring:
    """Build a calibrated scoring, for whose results probabilities and decisions are computed as well."""
    return Scoring(calibration=Calibration(20.0, -10.0, "a benchmark"), enrolment_score=enrolment_score)


def open_gallery(path: Path, enrolment_score: str) -> StoredGallery:
    """Open a gallery with an untrained model, which embeds nothing here."""
    model = Model(LSTMEncoder(40), MelSpectrogram(40), 160)
    assert model.embedding_size == EMBEDDING_SIZE
    return StoredGallery(model, build_scoring(enrolment_score), GalleryStore.open(path))


def get_peak_gb() -> float:
    """Return the peak memory of this process in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def run_measurement(command: str, *arguments: object) -> dict[str, Any]:
    """Run a command of this script in a process of its own, with one thread, and return what it prints."""
    line = [sys.executable, __file__, command, *map(str, arguments)]
    single = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    completed = subprocess.run(line, stdout=subprocess.PIPE, text=True, check=True, env=os.environ | single)
    return json.loads(completed.stdout)


@app.command(hidden=True)
def fill(path: Path, num_recordings: int) -> None:
    """Enrol recordings, some at a time, each time in a transaction. Prints JSON."""
    spent_s = 0.0
    with GalleryStore.create(path, "f" * 64) as store:
        for block, num_singers in iterate_blocks(num_recordings):
            rows = draw_recordings(block, num_singers, RECORDINGS_PER_SINGER)
            for first in range(0, len(rows), RECORDINGS_PER_ENROLMENT):
                recordings = []
                for place in range(first, min(first + RECORDINGS_PER_ENROLMENT, len(rows))):
                    singer = name_singer(block, place // RECORDINGS_PER_SINGER)
                    content = f"{(block * 1_000_003 + place) * 0x9E3779B97F4A7C15 % 2**64:016x}"
                    recordings.append(EnrolledRecording(singer, f"{singer}/{place}.flac", content, rows[place]))
                start = time.perf_counter()
                store.add(recordings)
                spent_s += time.perf_counter() - start
        start = time.perf_counter()
        store.remove(name_singer(0, 1))
        remove_s = time.perf_counter() - start
    size_gb = path.stat().st_size / 1e9
    print(json.dumps({"enrol_s": spent_s, "remove_s": remove_s, "size_gb": size_gb, "peak_gb": get_peak_gb()}))


@app.command(hidden=True)
def query(path: Path, num_recordings: int, num_queries: int, enrolment_score: str, exact: bool = False) -> None:
    """Rank singers for queries, after one for the start and a few to warm up. Prints JSON."""
    torch.set_num_threads(1)
    gallery = open_gallery(path, enrolment_score)
    singers, rows = draw_queries(num_recordings, num_queries)
    start = time.perf_counter()
    gallery.rank(rows[0], exact=exact)
    first_s = time.perf_counter() - start
    for row in rows[:NUM_WARM_UP]:
        gallery.rank(row, exact=exact)
    found, scores, spent_ms, cpu_ms = [], [], [], []
    for row in rows:
        start, cpu_start = time.perf_counter(), time.process_time()
        best = gallery.rank(row, exact=exact).candidates[0]
        spent_ms.append(1e3 * (time.perf_counter() - start))
        cpu_ms.append(1e3 * (time.process_time() - cpu_start))
        found.append(best.singer)
        scores.append(best.score)
    record = {"first_s": first_s, "ms": float(np.median(spent_ms)), "slow_ms": float(np.percentile(spent_ms, 95))}
    record["cpu_ms"] = float(np.median(cpu_ms))
    record |= {"accuracy": float(np.mean([one == other for one, other in zip(found, singers, strict=True)]))}
    print(json.dumps(record | {"peak_gb": get_peak_gb(), "found": found, "scores": scores}))


@app.command()
def catalogue(
    sizes: Annotated[list[int], typer.Argument(help="Numbers of recordings.")],
    queries: Annotated[int, typer.Option(help="New recordings whose singer is looked for.")] = 300,
    score: Annotated[list[str] | None, typer.Option(help="How singers are scored: mean, max, best3.")] = None,
    folder: Annotated[Path | None, typer.Option(help="Where galleries are written (default: temporary).")] = None,
) -> None:
    """Fill galleries, then search them exactly and by their index."""
    columns = ("recordings", "score", "enrolled/s", "remove ms", "file GB", "exact ms", "GB", "index ms (95 %)", "GB")
    table = Table(*columns, "index built s", "read s", "rank 1 agrees", "exact right")
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        for size in sizes:
            path = Path(temporary, f"{size}.sqlite")
            filled = run_measurement("fill", path, size)
            for kind in score or ("mean", "max"):
                exact, built, warm = (
                    run_measurement("query", path, size, queries, kind, *options) for options in (["--exact"], [], [])
                )
                agreement = np.mean([one == other for one, other in zip(exact["found"], warm["found"], strict=True)])
                table.add_row(
                    *(f"{size:,}", kind, f"{size / filled['enrol_s']:,.0f}", f"{1e3 * filled['remove_s']:.0f}"),
                    *(f"{filled['size_gb']:.2f}", f"{exact['ms']:.1f}", f"{exact['peak_gb']:.2f}"),
                    *(f"{warm['ms']:.1f} ({warm['slow_ms']:.1f})", f"{warm['peak_gb']:.2f}"),
                    *(f"{built['first_s']:.0f}", f"{warm['first_s']:.1f}"),
                    *(f"{100 * agreement:.1f} %", f"{100 * exact['accuracy']:.1f} %"),
                )
                console.print(
                    json.dumps(
                        {
                            name: {key: value for key, value in part.items() if key not in ("found", "scores")}
                            for name, part in (("fill", filled), ("exact", exact), ("built", built), ("index", warm))
                        }
                        | {"recordings": size, "score": kind, "agreement": float(agreement)}
                    ),
                    soft_wrap=True,
                )
            path.unlink()
    console.print(table)


if __name__ == "__main__":
    if len(sys.argv) > 1 and sys.argv[1].isdecimal():
        sys.argv.insert(1, "catalogue")
    app()
