"""The leaderboard of a sweep folder: its finished runs are read, embed the split, and are compared."""

import logging
from dataclasses import replace
from pathlib import Path

from singer_verify.corpora.labels import read_utterance_labels
from singer_verify.runs.tree import read_run_status
from singer_verify.sweeps.cells import SweepCell, find_baseline_cell, read_sweep_cells
from singer_verify.sweeps.comparison import Leaderboard, build_shared_trials, compare_cells, require_same_trials
from singer_verify.sweeps.jobs import PLAN_FILENAME, read_failure_reason, read_sweep_plan
from singer_verify.sweeps.split_embeddings import SplitEmbeddings, load_split_embeddings, require_one_corpus

log = logging.getLogger(__name__)

# Of the bootstrap over singers. No p is below 2 / resamples, and Holm multiplies it by the number of comparisons.
MIN_RESAMPLES, NUM_RESAMPLES_PER_CELL = 2000, 100


def build_leaderboard(sweep: Path, wanted_baseline: str | None, split: str, corpus: Path | None) -> Leaderboard:
    """Compare the finished runs of a sweep on one split.

    Args:
        sweep: folder of the runs.
        wanted_baseline: settings of the cell to compare with, separated by commas; None is `features=mel40`.
        split: evaluated split.
        corpus: its root; None takes that of each run's configuration.

    Raises:
        SingerVerifyError: nothing to compare, no such baseline, or runs whose trials differ.
    """
    cells, left_out = read_sweep_cells(sweep)
    left_out = {
        path: _format_run_status(sweep / path, status) for path, status in left_out.items()
    } | _find_unstarted_jobs(sweep)
    for path, status in left_out.items():
        log.warning("Left out: %s (%s).", path, status)
    baseline = find_baseline_cell(cells, wanted_baseline)
    root = require_one_corpus([run for cell in cells for run in cell.runs], corpus)
    embeddings = _load_run_embeddings(cells, split, corpus)
    require_same_trials(embeddings)
    first = next(iter(embeddings.values()))
    labels = read_utterance_labels(first.paths.tolist(), root)
    shared = build_shared_trials(first.singers, labels, max(MIN_RESAMPLES, NUM_RESAMPLES_PER_CELL * len(cells)))
    return replace(compare_cells(cells, embeddings, shared, baseline, split), skipped_runs=left_out)


def _format_run_status(run: Path, status: str) -> str:
    return f"failed: {read_failure_reason(run)}" if status == "failed" else status


def _find_unstarted_jobs(sweep: Path) -> dict[str, str]:
    """Jobs of the sweep's plan, where there is one, that have no run yet."""
    jobs = read_sweep_plan(sweep).jobs if (sweep / PLAN_FILENAME).is_file() else None
    return {job: "not begun" for job in jobs or [] if read_run_status(sweep / job) == "waiting"}


def _load_run_embeddings(cells: list[SweepCell], split: str, corpus: Path | None) -> dict[str, SplitEmbeddings]:
    runs = [run for cell in cells for run in cell.runs]
    return {
        str(run.path): load_split_embeddings(run, split, corpus, f"Embedding {number} of {len(runs)}")
        for number, run in enumerate(runs, start=1)
    }
