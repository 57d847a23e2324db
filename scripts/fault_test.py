"""Break trainings and files on purpose, and count what was lost.

A tiny training is killed (SIGKILL) while it computes features, trains, validates and writes checkpoints, or runs into
a full disk (a limit on the size of files); it is continued each time, and its final weights are compared with those of
an uninterrupted training, bit for bit. Checkpoints and stores are truncated, or one of their bits is flipped: either
that is said in a sentence, or the store is computed again, or embeddings and frames are the same as before.
"""

import random
import signal
import tempfile
import warnings
from collections import Counter
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import Annotated

import torch
import typer
from faults import (
    HARMLESS,
    LONGEST_DELAY_S,
    LOST,
    MOMENTS,
    SETTINGS,
    SURVIVED,
    Outcome,
    at_call,
    damaged_checkpoint,
    damaged_store,
    fill_disk,
    kill_in,
    make_corpus,
    stop_and_continue,
    train,
)
from rich.console import Console
from rich.progress import track
from rich.table import Table

from singer_verify.runs import checkpoints
from singer_verify.store import packed


def kills(place: Path, corpus: Path, whole: Path, num_kills: int, dice: random.Random) -> Iterator[tuple[str, Outcome]]:
    for moment, (owner, name, most) in MOMENTS.items():
        for number in track(range(num_kills), f"killed while {moment}"):
            before = at_call(owner, name, dice.randint(1, most), kill_in(dice.uniform(0, LONGEST_DELAY_S)))
            here = place / f"{name}{number}"
            yield f"killed while {moment}", stop_and_continue(here, corpus, whole, before, -signal.SIGKILL)


def full_disks(place: Path, corpus: Path, whole: Path, dice: random.Random) -> Iterator[tuple[str, Outcome]]:
    for moment in ("computing features", "writing a checkpoint"):
        owner, name, most = MOMENTS[moment]
        before = at_call(owner, name, dice.randint(2, most), fill_disk)
        yield f"disk full while {moment}", stop_and_continue(place / f"full-{name}", corpus, whole, before, 1)


def damages(place: Path, corpus: Path, whole: Path, num: int, dice: random.Random) -> Iterator[tuple[str, Outcome]]:
    recording = next(corpus.rglob("*.flac"))
    for path in (whole / checkpoints.BEST_CHECKPOINT, whole / checkpoints.SAVED_MODEL):
        for _ in track(range(num), f"damaged {path.name}"):
            yield f"damaged {path.name}", damaged_checkpoint(path, place / f"damaged{path.suffix}", recording, dice)
    for name in (packed.FRAMES_NAME, packed.INDEX_NAME, packed.MANIFEST_NAME):
        for _ in track(range(num), f"damaged {name}"):
            yield f"damaged {name}", damaged_store(name, place / "store", corpus, dice)


def main(
    short: Annotated[bool, typer.Option("--short", help="A few of the faults, for continuous integration.")] = False,
    seed: Annotated[int, typer.Option(help="Of the choice of moments and places.")] = 0,
) -> None:
    """Break trainings and files on purpose, and print what was lost."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    dice = random.Random(seed)
    num_kills, num_files = (1, 5) if short else (5, 40)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        corpus, whole = make_corpus(place / "corpus"), place / "whole"
        command = [*SETTINGS, f"data.root={corpus}", f"data.store_root={place / 'whole-store'}"]
        train([*command, f"hydra.run.dir={whole}"], place / "log")
        at = place, corpus, whole
        report(Counter(chain(kills(*at, num_kills, dice), full_disks(*at, dice), damages(*at, num_files, dice))))


def report(counted: Counter[tuple[str, Outcome]]) -> None:
    table = Table("fault", "tried", SURVIVED, HARMLESS, "lost", title="survived: continued exactly, refused or rebuilt")
    for fault in dict.fromkeys(fault for fault, _ in counted):
        numbers = [counted[fault, outcome] for outcome in (SURVIVED, HARMLESS, LOST)]
        table.add_row(fault, *map(str, [sum(numbers), *numbers]))
    Console().print(table)
    raise typer.Exit(code=int(any(outcome == LOST for _, outcome in counted)))


if __name__ == "__main__":
    typer.run(main)
