"""Probes of the cells of a sweep, of the embeddings that its leaderboard compares."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.results import EvaluatedUtterances
from singer_verify.inference.evaluation import Progress, show_nothing
from singer_verify.inference.probing import (
    MEASURED_LABELS,
    ProbeOptions,
    ProbeReport,
    choose_labels,
    measure_labels,
    probe_embeddings,
)
from singer_verify.sweeps.cells import find_baseline_cell, read_sweep_cells
from singer_verify.sweeps.exported_results import export_measured_labels, read_measured_labels
from singer_verify.sweeps.judged_runs import (
    DEFAULT_SPLIT,
    JudgedRuns,
    list_exported_paths,
    load_fold_embeddings,
    load_run_embeddings,
    read_judged_labels,
)


def probe_sweep(
    sweep: Path,
    options: ProbeOptions,
    split: str = DEFAULT_SPLIT,
    baseline: str | None = None,
    progress: Progress = show_nothing,
    only: Sequence[str] = (),
    export_to: Path | None = None,
) -> ProbeReport:
    """Probe all cells of a sweep on the same utterances, and compare them with the baseline.

    Scores are means over seeds. With folds, each singer is embedded by the model that has not heard them. A probe then
    learns from and is tested on singers of the same fold, because models of two folds have no dimension in common;
    predictions in all folds are scored together.

    Args:
        sweep: folder of the runs, or of exported results.
        options: what is probed.
        split: name of the split; without effect on runs with folds.
        baseline: settings of the cell that the others are compared with; None takes `features=mel40`.
        progress: wrapper that reports the progress of long loops.
        only: settings of the runs to probe, see `read_sweep_cells`.
        export_to: folder of exported results that pitch and duration are added to, where they are measured; None
            exports nothing.

    Raises:
        SingerVerifyError: the runs cannot be compared, or what is asked for cannot be probed.
    """
    cells, _ = read_sweep_cells(sweep, only)
    first = find_baseline_cell(cells, baseline)
    if first is not None:
        cells = [first, *(cell for cell in cells if cell is not first)]
    runs = [run for cell in cells for run in cell.runs]
    has_folds = any(run.num_folds for run in runs)
    judged = load_fold_embeddings(cells) if has_folds else load_run_embeddings(cells, split, None)
    embedded = next(iter(judged.embeddings.values()))
    singers, singer_index = np.unique(embedded.singers.astype(str), return_inverse=True)
    labels = read_judged_labels(judged, sweep)
    measured = _measure_labels(judged, options, labels, sweep, progress)
    if export_to is not None:
        if judged.corpus is None or not measured:
            raise SingerVerifyError(
                f"--export-results {export_to}: nothing is measured; give runs whose corpus is there, and --label "
                f"pitch or duration. Embeddings are exported by leaderboard."
            )
        export_measured_labels(export_to, judged.split, list_exported_paths(judged), measured)
    labels |= measured
    utterances = EvaluatedUtterances(embedded.paths, tuple(singers.tolist()), singer_index, labels, embedded.embeddings)
    spaces = None
    if has_folds:
        fold_by_path = {
            path: run.fold
            for run in runs
            if run.num_folds
            for path in judged.run_embeddings[str(run.path)].paths.tolist()
        }
        spaces = np.array([fold_by_path[path] for path in embedded.paths.tolist()])
    corpus = judged.corpus
    is_measurable = corpus is not None and not corpus.has_precomputed_features
    plan = choose_labels(labels, embedded.singers, options, str(sweep), is_measurable, spaces)
    trainings = [[judged.embeddings[str(run.path)].embeddings for run in cell.runs] for cell in judged.cells]
    place = f"{sweep.resolve().name}, {'all folds' if has_folds else f'{split} split'}"
    root = Path() if corpus is None else corpus.root
    return probe_embeddings([cell.name for cell in cells], trainings, utterances, root, plan, place, progress, spaces)


def _measure_labels(
    judged: JudgedRuns, options: ProbeOptions, labels: dict[str, np.ndarray], sweep: Path, progress: Progress
) -> dict[str, np.ndarray]:
    """Measure the labels that are asked for and that the corpus does not have, or read them from exported results."""
    names = [name for name in options.labels or () if name in MEASURED_LABELS and name not in labels]
    if judged.corpus is None:
        known = read_measured_labels(sweep, judged.split, judged.paths) if names else {}
        return {name: known[name] for name in names if name in known}
    return {} if judged.corpus.has_precomputed_features else measure_labels(names, judged.audio_files, progress)
