"""The table of runs: names are whole, a sweep is a row, and a failed run says why."""

import io

from rich.console import Console

from singer_verify.reports.runs_table import build_runs_table
from singer_verify.runs.tree import RunSummary

STARTED = "2026-11-28T00:17:32+00:00"
LONG = "features=mel40+pitch,loss=ge2e+ce_seed=1_encoder.hidden_size=256,encoder.num_layers=3"
RUNS = [
    RunSummary("first", None, None, STARTED, "vocalset+damp", "mel40", "lstm", "ge2e", 400, 1 / 6, "finished"),
    RunSummary("first/tuned", "first", None, STARTED, "jvs", "mel40", "lstm", "ge2e", None, None, "running"),
    RunSummary(LONG, None, None, STARTED, "vocalset", "mel40", "lstm", "ge2e", status="failed", reason="no GPU [0]"),
    RunSummary("sweep/a", None, "sweep", STARTED, "jvs", "mel40", "lstm", "ge2e", 400, 0.25, "finished"),
    RunSummary("sweep/a/tuned", "sweep/a", "sweep", STARTED, "jvs", "mel40", "lstm", "ge2e", 9, 0.01, "finished"),
    RunSummary("sweep/b", None, "sweep", STARTED, "jvs", "mfcc", "lstm", "ge2e", 400, 0.125, "finished"),
    RunSummary("sweep/c", None, "sweep", reason="the disk is full", status="failed"),
]


def show(width: int | None, fold: bool = True) -> list[str]:
    text = io.StringIO()
    Console(file=text, width=width or 200).print(build_runs_table(RUNS, "runs", width, fold))
    return text.getvalue().splitlines()


def test_a_run_says_what_it_was_trained_on_and_when() -> None:
    lines = "\n".join(show(None))
    assert "vocalset+damp · mel40 · lstm · ge2e · 2026-11-" in lines
    assert "16.67 %" in lines
    assert "no GPU [0]" in lines
    assert LONG in lines


def test_names_break_between_words_in_80_columns() -> None:
    lines = show(80)
    assert max(map(len, lines)) <= 80
    parts = [line.split("│")[1].strip() for line in lines if line.startswith("│")]
    first = next(n for n, part in enumerate(parts) if part.startswith("features="))
    pieces = parts[first : first + 3]
    assert "".join(pieces).startswith(LONG)
    assert all(piece[-1] in ",_+/" for piece in pieces[:-1] if not LONG.endswith(piece))


def test_a_sweep_is_one_row() -> None:
    lines = "\n".join(show(None))
    assert "a sweep of 3 runs" in lines
    assert "12.50 %" in lines  # the best of its own runs, not of one tuned on
    assert "2 finished, 1 failed" in lines
    assert "sweep/b" not in lines
    unfolded = "\n".join(show(None, fold=False))
    assert "sweep/b" in unfolded
    assert "the disk is full" in unfolded
