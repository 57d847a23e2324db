"""The leaderboard of a sweep folder: its finished runs are read, embed the split, and are compared."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np

from singer_verify.corpora.labels import read_labels
from singer_verify.reports.leaderboard import Leaderboard
from singer_verify.reports.leaderboard_comparison import compare, require_same_trials, shared_trials
from singer_verify.reports.leaderboard_embeddings import SplitEmbeddings, require_one_corpus, split_embeddings
from singer_verify.runs.cells import Cell, baseline_of, read_cells

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
    for path, status in left_out.items():
        log.warning("Left out: %s (%s).", path, status)
    baseline = baseline_of(cells, wanted_baseline)
    root = require_one_corpus([run for cell in cells for run in cell.runs], corpus)
    embeddings = _embed_all(cells, split, corpus)
    require_same_trials(embeddings)
    first = next(iter(embeddings.values()))
    labels = _labels_of(first, root)
    shared = shared_trials(first.singers, labels, max(FEWEST_RESAMPLES, RESAMPLES_PER_CELL * len(cells)))
    return replace(compare(cells, embeddings, shared, baseline, split), left_out=left_out)


def _embed_all(cells: list[Cell], split: str, corpus: Path | None) -> dict[str, SplitEmbeddings]:
    runs = [run for cell in cells for run in cell.runs]
    return {
        str(run.path): split_embeddings(run, split, corpus, f"Embedding {number} of {len(runs)}")
        for number, run in enumerate(runs, start=1)
    }


def _labels_of(embedded: SplitEmbeddings, root: Path) -> dict[str, np.ndarray]:
    table = read_labels(root).reindex(embedded.paths, fill_value="")
    return {str(name): table[name].to_numpy(str) for name in table.columns}
