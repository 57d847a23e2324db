"""Inject faults into trainings and files, and count what is lost.

A tiny training is killed (SIGKILL) while it extracts features, trains, validates and writes checkpoints, or runs into a
full disk (a limit on the size of files). It is resumed each time, and its final weights are compared bit for bit with
those of an uninterrupted training. Checkpoints and stores are truncated, or one of their bits is flipped: this must be
reported in a message, make the store be computed again, or change no embedding or frame.

    python scripts/fault_test.py           all faults
    python scripts/fault_test.py --short   a few of them, for continuous integration
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
    LOST,
    MAX_DELAY_S,
    MOMENTS,
    SETTINGS,
    SURVIVED,
    Outcome,
    fill_disk,
    inject_at_call,
    kill_after,
    stop_and_resume,
    train,
    try_damaged_checkpoint,
    try_damaged_store,
    write_corpus,
)
from rich.console import Console
from rich.progress import track
from rich.table import Table

from singer_verify.runs.folder import BEST_CHECKPOINT, SAVED_MODEL
from singer_verify.store import packed


def run_kills(
    workplace: Path, corpus: Path, whole: Path, num_kills: int, dice: random.Random
) -> Iterator[tuple[str, Outcome]]:
    """Kill trainings at random moments and resume them."""
    for moment, (owner, name, max_calls) in MOMENTS.items():
        for number in track(range(num_kills), f"killed while {moment}"):
            before = inject_at_call(owner, name, dice.randint(1, max_calls), kill_after(dice.uniform(0, MAX_DELAY_S)))
            run_folder = workplace / f"{name}{number}"
            yield f"killed while {moment}", stop_and_resume(run_folder, corpus, whole, before, -signal.SIGKILL)


def run_full_disks(workplace: Path, corpus: Path, whole: Path, dice: random.Random) -> Iterator[tuple[str, Outcome]]:
    """Let trainings run into a full disk and resume them."""
    for moment in ("computing features", "writing a checkpoint"):
        owner, name, max_calls = MOMENTS[moment]
        before = inject_at_call(owner, name, dice.randint(2, max_calls), fill_disk)
        yield f"disk full while {moment}", stop_and_resume(workplace / f"full-{name}", corpus, whole, before, 1)


def run_damages(
    workplace: Path, corpus: Path, whole: Path, num: int, dice: random.Random
) -> Iterator[tuple[str, Outcome]]:
    """Damage checkpoints and the files of a store."""
    recording = next(corpus.rglob("*.flac"))
    for path in (whole / BEST_CHECKPOINT, whole / SAVED_MODEL):
        for _ in track(range(num), f"damaged {path.name}"):
            yield (
                f"damaged {path.name}",
                try_damaged_checkpoint(path, workplace / f"damaged{path.suffix}", recording, dice),
            )
    for name in (packed.FRAMES_NAME, packed.INDEX_NAME, packed.MANIFEST_NAME):
        for _ in track(range(num), f"damaged {name}"):
            yield f"damaged {name}", try_damaged_store(name, workplace / "store", corpus, dice)


def main(
    short: Annotated[bool, typer.Option("--short", help="A few of the faults, for continuous integration.")] = False,
    seed: Annotated[int, typer.Option(help="Seed of the faults' moments and positions.")] = 0,
) -> None:
    """Inject faults into trainings and files, and print what was lost."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    dice = random.Random(seed)
    num_kills, num_files = (1, 5) if short else (5, 40)
    with tempfile.TemporaryDirectory() as folder:
        workplace = Path(folder)
        corpus, whole = write_corpus(workplace / "corpus"), workplace / "whole"
        command = [*SETTINGS, f"data.root={corpus}", f"data.store_root={workplace / 'whole-store'}"]
        train([*command, f"hydra.run.dir={whole}"], workplace / "log")
        setup = workplace, corpus, whole
        print_report(
            Counter(
                chain(
                    run_kills(*setup, num_kills, dice),
                    run_full_disks(*setup, dice),
                    run_damages(*setup, num_files, dice),
                )
            )
        )


def print_report(counts: Counter[tuple[str, Outcome]]) -> None:
    """Print a table of outcomes, and exit with status 1 if anything was lost."""
    table = Table("fault", "tried", SURVIVED, HARMLESS, "lost", title="survived: continued exactly, refused or rebuilt")
    for fault in dict.fromkeys(fault for fault, _ in counts):
        numbers = [counts[fault, outcome] for outcome in (SURVIVED, HARMLESS, LOST)]
        table.add_row(fault, *map(str, [sum(numbers), *numbers]))
    Console().print(table)
    raise typer.Exit(code=int(any(outcome == LOST for _, outcome in counts)))


if __name__ == "__main__":
    typer.run(main)
