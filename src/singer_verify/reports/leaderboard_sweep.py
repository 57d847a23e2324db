"""The leaderboard of a sweep folder: its finished runs are read, embed the split, and are compared."""

import logging
from dataclasses import replace
from pathlib import Path

from singer_verify.corpora.labels import labels_of
from singer_verify.reports.leaderboard import Leaderboard
from singer_verify.reports.leaderboard_comparison import compare, require_same_trials, shared_trials
from singer_verify.reports.leaderboard_embeddings import SplitEmbeddings, require_one_corpus, split_embeddings
from singer_verify.runs.cells import Cell, baseline_of, read_cells
from singer_verify.runs.tree import status_of
from singer_verify.sweeps.jobs import reason_of
from singer_verify.sweeps.plan import PLAN_NAME, read_plan

log = logging.getLogger(__name__)

# Of the bootstrap over singers. No p is below 2 / resamples, and Holm multiplies it by the number of comparisons.
FEWEST_RESAMPLES, RESAMPLES_PER_CELL = 2000, 100


def leaderboard_of(sweep: Path, wanted_baseline: str | None, split: str, corpus: Path | None) -> Leaderboard:
    """
    Args:
        sweep: folder of the runs.
        wanted_baseline: settings of the cell to compare with, separated by commas; None means `features=mel40`.
        split: to judge on.
        corpus: its root; None means that of each run's configuration.

    Raises:
        SingerVerifyError: nothing to compare, no such baseline, or runs whose trials differ.
    """
    cells, left_out = read_cells(sweep)
    left_out = {path: _in_words(sweep / path, status) for path, status in left_out.items()} | _not_begun(sweep)
    for path, status in left_out.items():
        log.warning("Left out: %s (%s).", path, status)
    baseline = baseline_of(cells, wanted_baseline)
    root = require_one_corpus([run for cell in cells for run in cell.runs], corpus)
    embeddings = _embed_all(cells, split, corpus)
    require_same_trials(embeddings)
    first = next(iter(embeddings.values()))
    labels = labels_of(first.paths.tolist(), root)
    shared = shared_trials(first.singers, labels, max(FEWEST_RESAMPLES, RESAMPLES_PER_CELL * len(cells)))
    return replace(compare(cells, embeddings, shared, baseline, split), left_out=left_out)


def _in_words(run: Path, status: str) -> str:
    return f"failed: {reason_of(run)}" if status == "failed" else status


def _not_begun(sweep: Path) -> dict[str, str]:
    """Jobs of the sweep's plan, where there is one, that have no run yet."""
    jobs = read_plan(sweep).jobs if (sweep / PLAN_NAME).is_file() else None
    return {job: "not begun" for job in jobs or [] if status_of(sweep / job) == "waiting"}


def _embed_all(cells: list[Cell], split: str, corpus: Path | None) -> dict[str, SplitEmbeddings]:
    runs = [run for cell in cells for run in cell.runs]
    return {
        str(run.path): split_embeddings(run, split, corpus, f"Embedding {number} of {len(runs)}")
        for number, run in enumerate(runs, start=1)
    }
