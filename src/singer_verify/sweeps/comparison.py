"""The content of a leaderboard: the finished runs of a sweep folder, compared cell by cell on the same trials."""

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from rich.console import Console
from rich.progress import track

from singer_verify.data.degradations import Degradation
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.metrics.bootstrap import (
    Estimate,
    PairedDifference,
    compare_paired,
    compute_percentile_interval,
)
from singer_verify.evaluation.metrics.error_rates import build_false_alarm_grid, compute_miss_rates
from singer_verify.evaluation.metrics.power import PowerCurve, SingerPairCounts, compute_power_curves
from singer_verify.evaluation.metrics.registry import EER, METRICS
from singer_verify.evaluation.metrics.verification import verify_all_pairs
from singer_verify.evaluation.trials.trial_list import compute_cosine_scores
from singer_verify.inference import Model, load_model
from singer_verify.runs.folder import SWEEP_PLAN_FILENAME
from singer_verify.runs.tree import read_failure_reason, read_run_status
from singer_verify.sweeps.cells import SweepCell, find_baseline_cell, read_sweep_cells
from singer_verify.sweeps.corpus_comparison import (
    CorpusResult,
    CorpusSize,
    CorpusTrials,
    Winner,
    build_corpus_trials,
    compare_on_corpus,
    find_winner,
)
from singer_verify.sweeps.degraded_runs import CellRobustness, measure_robustness
from singer_verify.sweeps.exported_results import export_speed
from singer_verify.sweeps.jobs import read_sweep_plan
from singer_verify.sweeps.judged_runs import (
    JudgedRuns,
    export_judged_runs,
    load_judged_runs,
    load_unseen_embeddings,
    name_judged_corpus,
    read_judged_labels,
)
from singer_verify.sweeps.shared_trials import ConditionSize, SharedTrials, build_shared_trials, require_same_trials
from singer_verify.sweeps.split_embeddings import SplitEmbeddings

log = logging.getLogger(__name__)
NUM_CONDITION_RESAMPLES = 500  # intervals of the conditions need no p values, so fewer do
# Of the bootstrap over singers. No p is below 2 / resamples, and Holm multiplies it by the number of comparisons.
MIN_RESAMPLES, NUM_RESAMPLES_PER_CELL = 2000, 100
MIN_SPEED_SECONDS, MAX_SPEED_RECORDINGS = 30.0, 32  # of audio that is embedded to measure
NUM_SPEED_REPETITIONS = 2  # the faster one counts
MAX_POWER_CELLS = 8  # cells next to the best whose power is estimated


@dataclass(frozen=True)
class LeaderboardEntry:
    """One cell's line of the leaderboard; metrics are means over its seeds.

    Attributes:
        name: settings that distinguish it from other cells.
        varied: the same settings one by one.
        seeds: seeds of its runs.
        metrics: metrics of `metrics.registry.METRICS` by name.
        seed_eers: equal error rate of each run.
        miss: miss rates at the leaderboard's false-alarm rates.
        condition_eers: equal error rate by condition, where it has enough trials.
        num_parameters: number of parameters of the encoder.
        num_bins: number of bins of its frames.
        seconds: mean training time of its runs; None for imported weights.
        speed: seconds of audio that it embeds in a second on one core; None if that was not measured.
        compared: difference of its EER from the baseline's; None for the baseline, and without a baseline.
        corpora: EER and difference on each corpus by name.
        robustness: error rates after degradations; None if it was not evaluated after them.
        encoder: module of its encoder.
    """

    name: str
    varied: tuple[str, ...]
    seeds: tuple[int, ...]
    metrics: dict[str, Estimate]
    seed_eers: tuple[float, ...]
    miss: Float[np.ndarray, " points"]
    condition_eers: dict[str, Estimate]
    num_parameters: int
    num_bins: int
    seconds: float | None
    speed: float | None = None
    compared: PairedDifference | None = None
    corpora: dict[str, CorpusResult] = field(default_factory=dict)
    robustness: CellRobustness | None = None
    encoder: str = ""

    @property
    def eer(self) -> Estimate:
        """The equal error rate, by which cells are sorted and compared."""
        return self.metrics[EER]

    @property
    def difference(self) -> Estimate | None:
        return None if self.compared is None else self.compared.estimate

    @property
    def p(self) -> float | None:
        return None if self.compared is None else self.compared.p

    @property
    def p_holm(self) -> float | None:
        return None if self.compared is None else self.compared.p_holm


@dataclass(frozen=True)
class Leaderboard:
    """All cells of a sweep, the lowest EER first.

    Attributes:
        entries: entries of the cells.
        baseline: name of the cell that the others are compared with; None where there is only one.
        split: name of the split that they were evaluated on; `folds` where each singer was judged by the models that
            had not heard them.
        num_singers: number of singers of that split.
        num_utterances: number of utterances of that split.
        num_targets: number of target trials.
        num_nontargets: number of non-target trials.
        num_resamples: number of bootstrap resamples.
        conditions: conditions of the trials, from the corpus' labels.
        false_alarms: false-alarm rates at which each entry's `miss` is taken.
        skipped_runs: status of the runs that are not compared, by path.
        corpora: corpora that cells are compared on one by one, too; none where there is only one.
        winners: what can be said of the lowest EER, on all trials first, then on each corpus.
        degradations: those after which cells were evaluated again.
        max_unusable: largest number of recordings that one of them makes unusable.
        provenance: what the runs are, and when and by which command they were compared; empty where it is not told.
        corpus: name of the corpus whose singers were judged, of several joined by +; empty where it is not known.
        power: of the cells next to the best one, how many singers it takes to tell them from it; empty if not asked.
    """

    entries: tuple[LeaderboardEntry, ...]
    baseline: str | None
    split: str
    num_singers: int
    num_utterances: int
    num_targets: int
    num_nontargets: int
    num_resamples: int
    conditions: tuple[ConditionSize, ...]
    false_alarms: Float[np.ndarray, " points"]
    skipped_runs: dict[str, str] = field(default_factory=dict)
    corpora: tuple[CorpusSize, ...] = ()
    winners: tuple[Winner, ...] = ()
    degradations: tuple[Degradation, ...] = ()
    max_unusable: int = 0
    power: dict[str, PowerCurve] = field(default_factory=dict)
    provenance: str = ""
    corpus: str = ""


def compare_cells(
    cells: list[SweepCell],
    embeddings: dict[str, SplitEmbeddings],
    shared: SharedTrials,
    baseline: SweepCell | None,
    split: str,
    corpora: Sequence[CorpusTrials] = (),
) -> Leaderboard:
    """Compute the metrics of every cell with intervals over singers, and the differences from the baseline's EER.

    Args:
        cells: cells of the sweep.
        embeddings: embeddings by path of the run, of the same utterances in the same order.
        shared: trials and resamples to compare on.
        baseline: name of the cell to compare with.
        split: name of the embedded split.
        corpora: corpora that cells are compared on one by one, too.
    """
    false_alarms = build_false_alarm_grid()
    entries, resampled = [], {}
    for cell in track(cells, "Resampling singers", console=Console(stderr=True), transient=True):
        runs = [embeddings[str(run.path)] for run in cell.runs]
        entry, resampled[cell.name] = _build_entry(cell, runs, shared, false_alarms)
        entries.append(entry)
    eers, num_singers = {entry.name: entry.eer.value for entry in entries}, shared.draws.shape[1]
    compared = {} if baseline is None else compare_paired(eers, resampled, baseline.name, num_singers)
    by_corpus = [compare_on_corpus(corpus, None if baseline is None else baseline.name) for corpus in corpora]
    entries = [
        replace(
            entry,
            corpora={corpus.name: results[entry.name] for corpus, results, _ in by_corpus},
            compared=compared.get(entry.name),
        )
        for entry in entries
    ]
    num_targets = int(shared.trials.is_target.sum())
    return Leaderboard(
        entries=tuple(sorted(entries, key=lambda entry: (entry.eer.value, entry.name))),
        baseline=None if baseline is None else baseline.name,
        split=split,
        num_singers=num_singers,
        num_utterances=len(shared.singer_index),
        num_targets=num_targets,
        num_nontargets=len(shared.trials.is_target) - num_targets,
        num_resamples=len(shared.draws),
        conditions=shared.count_condition_trials(),
        false_alarms=false_alarms,
        corpora=tuple(corpus for corpus, _, _ in by_corpus),
        winners=(find_winner("", eers, resampled, num_singers), *(winner for _, _, winner in by_corpus)),
    )


def _build_entry(
    cell: SweepCell, runs: list[SplitEmbeddings], shared: SharedTrials, false_alarms: Float[np.ndarray, " points"]
) -> tuple[LeaderboardEntry, Float[np.ndarray, " resamples"]]:
    """Compute a cell's metrics, and its EER in every resample."""
    scores = [compute_cosine_scores(run.embeddings, shared.trials) for run in runs]
    verified = [verify_all_pairs(run.embeddings, shared.singer_index, shared.blocks).metrics for run in runs]
    resampled = shared.resample(scores, {name: metric for name, metric in METRICS.items() if not metric.is_slow})
    slow = {name: metric for name, metric in METRICS.items() if metric.is_slow}
    resampled |= shared.resample(scores, slow, NUM_CONDITION_RESAMPLES)
    entry = LeaderboardEntry(
        name=cell.name,
        varied=cell.varied,
        seeds=tuple(run.seed for run in cell.runs),
        metrics={
            name: compute_percentile_interval(
                float(np.mean([metrics[name].value for metrics in verified])), resampled[name]
            )
            for name in METRICS
        },
        seed_eers=tuple(metrics[EER].value for metrics in verified),
        miss=np.mean(
            [compute_miss_rates(seed_scores, shared.trials.is_target, false_alarms) for seed_scores in scores], axis=0
        ),
        condition_eers=_compute_condition_eers(scores, shared),
        num_parameters=runs[0].num_parameters,
        num_bins=runs[0].num_bins,
        seconds=float(np.mean(times)) if (times := [run.seconds for run in cell.runs if run.seconds]) else None,
        encoder=cell.runs[0].encoder,
        speed=cell.runs[0].speed,
    )
    return entry, resampled[EER]


def _compute_condition_eers(scores: list[np.ndarray], shared: SharedTrials) -> dict[str, Estimate]:
    eers = {}
    for condition in shared.count_condition_trials():
        if condition.has_enough_trials:
            chosen = shared.conditions[condition.name]
            resampled = shared.resample(scores, {EER: METRICS[EER]}, NUM_CONDITION_RESAMPLES, chosen)[EER]
            eers[condition.name] = compute_percentile_interval(shared.compute_eer(scores, chosen), resampled)
    return eers


def build_leaderboard(
    sweep: Path,
    wanted_baseline: str | None,
    split: str | None,
    corpus: Path | None,
    measures_speed: bool = False,
    export_to: Path | None = None,
    unseen: Sequence[Path] = (),
    degradations: tuple[Degradation, ...] = (),
    estimates_power: bool = False,
    only: Sequence[str] = (),
) -> Leaderboard:
    """Compare the finished runs of a sweep on one split, or each singer by the models that have not heard them.

    Args:
        sweep: folder of the runs, or of results that were exported from them.
        wanted_baseline: settings of the cell to compare with, separated by commas; None is `features=mel40`.
        split: evaluated split; None takes `val`, or the judged folds where the runs have folds.
        corpus: root folder of the corpus; None takes that of each run's configuration.
        measures_speed: whether the embedding speed of each cell is measured.
        export_to: folder for what the leaderboard needs of the runs; None exports nothing.
        unseen: further corpora, none of them trained on, that all models are evaluated on one by one. Exported results
            are compared on those that they hold.
        degradations: degradations of test recordings after which all cells are evaluated again. Exported results are
            evaluated after all that they hold, unless some are named.
        estimates_power: whether the number of singers is estimated that it takes to tell the next cells from the best.
        only: settings of the runs to compare, see `read_sweep_cells`.

    Raises:
        SingerVerifyError: nothing to compare, no such baseline, or runs whose trials differ.
    """
    cells, left_out = read_compared_cells(sweep, only)
    baseline = find_baseline_cell(cells, wanted_baseline)
    judged = load_judged_runs(cells, split, corpus)
    worlds = load_unseen_embeddings(cells, sweep, unseen)
    for world in (judged, *worlds):
        require_same_trials(world.embeddings)
        if export_to is not None:
            export_judged_runs(world, cells, sweep, export_to)
    singers = next(iter(judged.embeddings.values())).singers
    num_resamples = max(MIN_RESAMPLES, NUM_RESAMPLES_PER_CELL * len(cells))
    shared = build_shared_trials(singers, read_judged_labels(judged, sweep), num_resamples, judged.blocks)
    corpora = build_corpus_trials(judged, worlds, num_resamples)
    board = compare_cells(judged.cells, judged.embeddings, shared, baseline, judged.split, corpora)
    board = replace(board, skipped_runs=left_out, corpus=name_judged_corpus(judged.cells, corpus))
    robustness = measure_robustness(cells, judged, shared, degradations, sweep, export_to)
    entries = tuple(replace(entry, robustness=robustness.cells.get(entry.name)) for entry in board.entries)
    board = replace(board, entries=entries, degradations=robustness.degradations, max_unusable=robustness.max_unusable)
    if estimates_power:
        board = replace(board, power=_estimate_power(board, judged, shared))
    if measures_speed:
        board = _add_speeds(board, cells, judged.audio_files)
        speeds = {entry.name: entry.speed for entry in board.entries if entry.speed is not None}
        if export_to is not None:
            for cell in cells:
                export_speed(sweep, cell.runs, speeds[cell.name], export_to)
    return board


def _estimate_power(board: Leaderboard, judged: JudgedRuns, shared: SharedTrials) -> dict[str, PowerCurve]:
    """Estimate how many singers it takes to tell the cells with the lowest EERs from the best."""
    best, *others = [entry.name for entry in board.entries][: MAX_POWER_CELLS + 1]
    runs = {cell.name: [judged.embeddings[str(run.path)].embeddings for run in cell.runs] for cell in judged.cells}
    systems = {
        name: [
            SingerPairCounts.from_scores(compute_cosine_scores(embeddings, shared.trials), *shared.singers)
            for embeddings in runs[name]
        ]
        for name in (best, *others)
    }
    return dict(zip(others, compute_power_curves(systems, [(best, name) for name in others]), strict=True))


def _add_speeds(board: Leaderboard, cells: list[SweepCell], paths: list[Path]) -> Leaderboard:
    """Measure the embedding speed of each cell by its first run, one after another."""
    if not paths:
        raise SingerVerifyError("--speed: exported results hold no models; measure the runs that they come from.")
    speeds = {}
    for cell in track(cells, "Measuring speed", console=Console(stderr=True), transient=True):
        speeds[cell.name] = measure_embedding_speed(load_model(cell.runs[0].path, device="cpu"), paths)
    return replace(board, entries=tuple(replace(entry, speed=speeds[entry.name]) for entry in board.entries))


def read_compared_cells(sweep: Path, only: Sequence[str] = ()) -> tuple[list[SweepCell], dict[str, str]]:
    """Read the cells of a sweep, or some of them, and tell which of its runs are left out.

    Returns:
        the cells, and why a run is left out, by its path.

    Raises:
        SingerVerifyError: see `read_sweep_cells`.
    """
    cells, left_out = read_sweep_cells(sweep, only)
    reasons = {path: _format_run_status(sweep / path, status) for path, status in left_out.items()}
    reasons |= _find_unstarted_jobs(sweep)
    for path, reason in reasons.items():
        log.warning("Left out: %s (%s).", path, reason)
    return cells, reasons


def measure_embedding_speed(model: Model, paths: list[Path]) -> float:
    """Measure how many seconds of audio a model embeds in a second of processor time, on one core.

    Files are decoded, and frames computed, as `Model.embed` does. At least 30 s of audio are embedded, if the first 32
    recordings hold that much; before, one recording is embedded that does not count.

    Args:
        model: the model, on the CPU.
        paths: recordings that can be used, of which the first ones are embedded.
    """
    paths = paths[:MAX_SPEED_RECORDINGS]
    num_threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        model.embed(paths[0])
        return max(_embed_once(model, paths) for _ in range(NUM_SPEED_REPETITIONS))
    finally:
        torch.set_num_threads(num_threads)


def _embed_once(model: Model, paths: list[Path]) -> float:
    embedded_s, start = 0.0, time.process_time()
    for path in paths:
        embedded_s += model.embed_windows(path).seconds
        if embedded_s >= MIN_SPEED_SECONDS:
            break
    return embedded_s / (time.process_time() - start)


def _format_run_status(run: Path, status: str) -> str:
    return f"failed: {read_failure_reason(run)}" if status == "failed" else status


def _find_unstarted_jobs(sweep: Path) -> dict[str, str]:
    """Return the jobs of the sweep's plan, if there is one, that have no run yet."""
    jobs = read_sweep_plan(sweep).jobs if (sweep / SWEEP_PLAN_FILENAME).is_file() else None
    return {job: "not begun" for job in jobs or [] if read_run_status(sweep / job) == "waiting"}
