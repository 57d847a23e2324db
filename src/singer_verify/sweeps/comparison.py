"""The content of a leaderboard: the finished runs of a sweep folder, compared cell by cell on the same trials."""

import logging
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int
from rich.console import Console
from rich.progress import track

from singer_verify.corpora.labels import read_utterance_labels
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.conditions import MIN_TRIALS_PER_KIND, Conditions, UtteranceMetadata
from singer_verify.evaluation.metrics.bootstrap import (
    Estimate,
    apply_holm_correction,
    build_trial_matrix,
    compute_percentile_interval,
    compute_resampled_metrics,
    compute_two_sided_p_value,
    draw_bootstrap_weights,
)
from singer_verify.evaluation.metrics.error_rates import build_false_alarm_grid, compute_miss_rates
from singer_verify.evaluation.metrics.registry import EER, METRICS, Metric
from singer_verify.evaluation.metrics.verification import verify_all_pairs
from singer_verify.evaluation.trials.trial_list import Trials, build_all_pairs, compute_cosine_scores
from singer_verify.inference import load_model
from singer_verify.runs.tree import read_run_status
from singer_verify.sweeps.cells import SweepCell, find_baseline_cell, read_sweep_cells
from singer_verify.sweeps.embedding_speed import measure_embedding_speed
from singer_verify.sweeps.jobs import PLAN_FILENAME, read_failure_reason, read_sweep_plan
from singer_verify.sweeps.judged_runs import load_fold_embeddings, load_run_embeddings
from singer_verify.sweeps.split_embeddings import (
    SplitEmbeddings,
)

log = logging.getLogger(__name__)
DEFAULT_SPLIT, FOLDS_SPLIT = "val", "folds"
NUM_CONDITION_RESAMPLES = 500  # intervals of the conditions need no p values, so fewer do
# Of the bootstrap over singers. No p is below 2 / resamples, and Holm multiplies it by the number of comparisons.
MIN_RESAMPLES, NUM_RESAMPLES_PER_CELL = 2000, 100


@dataclass(frozen=True)
class ConditionSize:
    """A named subset of the trials, and how many of either kind it has."""

    name: str
    num_targets: int
    num_nontargets: int

    @property
    def has_enough_trials(self) -> bool:
        return min(self.num_targets, self.num_nontargets) >= MIN_TRIALS_PER_KIND


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
        difference: difference of its EER from the baseline's; None for the baseline, and without a baseline.
        p: two-sided p value of that difference.
        p_holm: the same p value, corrected for the number of comparisons.
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
    difference: Estimate | None = None
    p: float | None = None
    p_holm: float | None = None

    @property
    def eer(self) -> Estimate:
        """The equal error rate, by which cells are sorted and compared."""
        return self.metrics[EER]


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


@dataclass(frozen=True)
class SharedTrials:
    """Trials and resamples that all cells are compared on.

    Attributes:
        trials: all pairs of utterances.
        singer_index: (utterances,), the singer of each, numbered from 0.
        draws: (resamples, singers), count of each singer; in the first row each singer counts once.
        conditions: named subsets of the trials.
        blocks: (utterances,), within which utterances are paired; None for one block.
    """

    trials: Trials
    singer_index: Int[np.ndarray, " utterances"]
    draws: Int[np.ndarray, "draws singers"]
    conditions: dict[str, Bool[np.ndarray, " trials"]]
    blocks: Int[np.ndarray, " utterances"] | None = None

    @property
    def singers(self) -> tuple[Int[np.ndarray, " trials"], Int[np.ndarray, " trials"]]:
        """The singers of both sides of each trial."""
        return self.singer_index[self.trials.left], self.singer_index[self.trials.right]

    def count_condition_trials(self) -> tuple[ConditionSize, ...]:
        """Count the target and non-target trials of each condition."""
        is_target = self.trials.is_target
        return tuple(
            ConditionSize(name, int((chosen & is_target).sum()), int((chosen & ~is_target).sum()))
            for name, chosen in self.conditions.items()
        )


def build_shared_trials(
    singers: np.ndarray,
    labels: dict[str, np.ndarray],
    num_resamples: int,
    blocks: Int[np.ndarray, " utterances"] | None = None,
) -> SharedTrials:
    """Build all pairs of a split's utterances, their conditions, and the draws of the bootstrap.

    Args:
        singers: (utterances,), name of the singer of each.
        labels: values of all utterances by label, empty where unknown.
        num_resamples: number of bootstrap resamples.
        blocks: fold and corpus of each utterance, as a number; only utterances of the same are paired.

    Raises:
        SingerVerifyError: fewer than two singers, or no singer with two utterances.
    """
    names, singer_index = np.unique(singers, return_inverse=True)
    trials = build_all_pairs(singer_index, blocks)
    left, right = singer_index[trials.left], singer_index[trials.right]
    drawn = draw_bootstrap_weights(build_trial_matrix(left, right, len(names)), num_resamples)
    draws = np.vstack([np.ones((1, len(names)), np.int64), drawn])
    conditions = dict(Conditions(UtteranceMetadata(labels)).iterate_masks(trials.left, trials.right))
    return SharedTrials(trials, singer_index, draws, conditions, blocks)


def require_same_trials(embeddings: dict[str, SplitEmbeddings]) -> None:
    """Check that all runs are compared on the same utterances by the same singers.

    Args:
        embeddings: embeddings by path of the run.

    Raises:
        SingerVerifyError: the utterances or singers of two runs differ; names examples.
    """
    (first, reference), *others = embeddings.items()
    expected = dict(zip(reference.paths.tolist(), reference.singers.tolist(), strict=True))
    for path, run in others:
        actual = dict(zip(run.paths.tolist(), run.singers.tolist(), strict=True))
        if actual == expected:
            continue
        missing, extra = sorted(expected.keys() - actual.keys()), sorted(actual.keys() - expected.keys())
        differing = sorted(file for file in expected.keys() & actual.keys() if expected[file] != actual[file])
        raise SingerVerifyError(
            f"{path} cannot be compared with {first}, because their trials differ: it "
            f"{_format_difference('lacks', missing)}, "
            f"{_format_difference('adds', extra)}, and "
            f"{_format_difference('has another singer for', differing)}; expected the same utterances by the same "
            f"singers; leave one of the runs out, or evaluate all on one corpus with --corpus."
        )


def _format_difference(verb: str, paths: list[str]) -> str:
    shown = f" ({', '.join(paths[:3])}{', ...' if len(paths) > 3 else ''})" if paths else ""
    return f"{verb} {len(paths)} utterances{shown}"


def compare_cells(
    cells: list[SweepCell],
    embeddings: dict[str, SplitEmbeddings],
    shared: SharedTrials,
    baseline: SweepCell | None,
    split: str,
) -> Leaderboard:
    """Compute the metrics of every cell with intervals over singers, and the differences from the baseline's EER.

    Args:
        cells: cells of the sweep.
        embeddings: embeddings by path of the run, of the same utterances in the same order.
        shared: trials and resamples to compare on.
        baseline: name of the cell to compare with.
        split: name of the embedded split.
    """
    false_alarms = build_false_alarm_grid()
    entries, resampled = [], {}
    for cell in track(cells, "Resampling singers", console=Console(stderr=True), transient=True):
        runs = [embeddings[str(run.path)] for run in cell.runs]
        entry, resampled[cell.name] = _build_entry(cell, runs, shared, false_alarms)
        entries.append(entry)
    if baseline is not None:
        entries = _add_differences(entries, resampled, baseline.name)
    num_targets = int(shared.trials.is_target.sum())
    return Leaderboard(
        entries=tuple(sorted(entries, key=lambda entry: (entry.eer.value, entry.name))),
        baseline=None if baseline is None else baseline.name,
        split=split,
        num_singers=shared.draws.shape[1],
        num_utterances=len(shared.singer_index),
        num_targets=num_targets,
        num_nontargets=len(shared.trials.is_target) - num_targets,
        num_resamples=len(shared.draws) - 1,
        conditions=shared.count_condition_trials(),
        false_alarms=false_alarms,
    )


def _build_entry(
    cell: SweepCell, runs: list[SplitEmbeddings], shared: SharedTrials, false_alarms: Float[np.ndarray, " points"]
) -> tuple[LeaderboardEntry, Float[np.ndarray, " resamples"]]:
    """Compute a cell's metrics, and its EER in every resample."""
    scores = [compute_cosine_scores(run.embeddings, shared.trials) for run in runs]
    verified = [verify_all_pairs(run.embeddings, shared.singer_index, shared.blocks).metrics for run in runs]
    resampled = _compute_resampled_means(
        scores, shared, {name: metric for name, metric in METRICS.items() if not metric.is_slow}
    )
    slow = {name: metric for name, metric in METRICS.items() if metric.is_slow}
    resampled |= _compute_resampled_means(scores, shared, slow, NUM_CONDITION_RESAMPLES)
    entry = LeaderboardEntry(
        name=cell.name,
        varied=cell.varied,
        seeds=tuple(run.seed for run in cell.runs),
        metrics={
            name: compute_percentile_interval(
                float(np.mean([metrics[name].value for metrics in verified])), resampled[name][1:]
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
    )
    return entry, resampled[EER][1:]


def _compute_resampled_means(
    scores: list[np.ndarray],
    shared: SharedTrials,
    metrics: dict[str, Metric],
    num_resamples: int | None = None,
    chosen: np.ndarray | slice = slice(None),
) -> dict[str, Float[np.ndarray, " draws"]]:
    """Compute metrics of some of the trials in each draw, as means over the seeds."""
    left, right = (singers[chosen] for singers in shared.singers)
    draws = shared.draws if num_resamples is None else shared.draws[: num_resamples + 1]
    by_seed = [compute_resampled_metrics(seed_scores[chosen], left, right, draws, metrics) for seed_scores in scores]
    return {name: np.mean([resampled[name] for resampled in by_seed], axis=0) for name in metrics}


def _compute_condition_eers(scores: list[np.ndarray], shared: SharedTrials) -> dict[str, Estimate]:
    eers = {
        condition.name: _compute_resampled_means(
            scores, shared, {EER: METRICS[EER]}, NUM_CONDITION_RESAMPLES, shared.conditions[condition.name]
        )[EER]
        for condition in shared.count_condition_trials()
        if condition.has_enough_trials
    }
    return {name: compute_percentile_interval(float(values[0]), values[1:]) for name, values in eers.items()}


def _add_differences(
    entries: list[LeaderboardEntry], resampled: dict[str, np.ndarray], baseline: str
) -> list[LeaderboardEntry]:
    """Add the difference of each entry's EER from the baseline's, on shared resamples."""
    level = next(entry.eer.value for entry in entries if entry.name == baseline)
    others = [entry for entry in entries if entry.name != baseline]
    differences = [resampled[entry.name] - resampled[baseline] for entry in others]
    p_values = [compute_two_sided_p_value(difference) for difference in differences]
    compared = {
        entry.name: replace(
            entry,
            difference=compute_percentile_interval(entry.eer.value - level, difference),
            p=p,
            p_holm=p_holm,
        )
        for entry, difference, p, p_holm in zip(
            others, differences, p_values, apply_holm_correction(p_values), strict=True
        )
    }
    return [compared.get(entry.name, entry) for entry in entries]


def build_leaderboard(
    sweep: Path, wanted_baseline: str | None, split: str | None, corpus: Path | None, measures_speed: bool = False
) -> Leaderboard:
    """Compare the finished runs of a sweep on one split, or each singer by the models that have not heard them.

    Args:
        sweep: folder of the runs.
        wanted_baseline: settings of the cell to compare with, separated by commas; None is `features=mel40`.
        split: evaluated split; None takes `val`, or the judged folds where the runs have folds.
        corpus: root folder of the corpus; None takes that of each run's configuration.
        measures_speed: whether the embedding speed of each cell is measured.

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
    pooled = corpus is None and split is None and any(run.num_folds for cell in cells for run in cell.runs)
    judged = load_fold_embeddings(cells) if pooled else load_run_embeddings(cells, split or DEFAULT_SPLIT, corpus)
    require_same_trials(judged.embeddings)
    first = next(iter(judged.embeddings.values()))
    every = [utterance.path for utterance in judged.corpus.splits[judged.split].utterances]
    labels = read_utterance_labels(first.paths.tolist(), judged.corpus.root, judged.corpus.part_roots, others=every)
    num_resamples = max(MIN_RESAMPLES, NUM_RESAMPLES_PER_CELL * len(cells))
    shared = build_shared_trials(first.singers, labels, num_resamples, judged.blocks)
    shown = FOLDS_SPLIT if pooled else judged.split
    board = compare_cells(judged.cells, judged.embeddings, shared, baseline, shown)
    board = replace(board, skipped_runs=left_out)
    paths = [judged.corpus.root / path for path in first.paths]
    return _add_speeds(board, cells, paths) if measures_speed else board


def _add_speeds(board: Leaderboard, cells: list[SweepCell], paths: list[Path]) -> Leaderboard:
    """Measure the embedding speed of each cell by its first run, one after another."""
    speeds = {}
    for cell in track(cells, "Measuring speed", console=Console(stderr=True), transient=True):
        speeds[cell.name] = measure_embedding_speed(load_model(cell.runs[0].path, device="cpu"), paths)
    return replace(board, entries=tuple(replace(entry, speed=speeds[entry.name]) for entry in board.entries))


def _format_run_status(run: Path, status: str) -> str:
    return f"failed: {read_failure_reason(run)}" if status == "failed" else status


def _find_unstarted_jobs(sweep: Path) -> dict[str, str]:
    """Return the jobs of the sweep's plan, if there is one, that have no run yet."""
    jobs = read_sweep_plan(sweep).jobs if (sweep / PLAN_FILENAME).is_file() else None
    return {job: "not begun" for job in jobs or [] if read_run_status(sweep / job) == "waiting"}
