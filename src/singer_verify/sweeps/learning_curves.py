"""Learning curves: the error rate of a sweep's runs against how many singers, and how many minutes, they learned from.

The logit of the equal error rate is fitted by a straight line in the logarithm of the size, so that every doubling
multiplies the odds of an error, EER / (1 - EER), by the same factor. For small error rates this is the power law that
error rates of learners follow over wide ranges of sizes (Cortes et al. 1993, Learning curves: asymptotic values and
rate of convergence, NIPS 6; Hestness et al. 2017, Deep learning scaling is predictable, empirically, arXiv:1712.00409).
"""

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float
from rich.console import Console
from rich.progress import track

from singer_verify.errors import SingerVerifyError, require_between
from singer_verify.evaluation.metrics.bootstrap import Estimate, compute_percentile_interval
from singer_verify.evaluation.metrics.registry import EER, METRICS
from singer_verify.evaluation.trials.trial_list import compute_cosine_scores
from singer_verify.runs.folder import METRICS_FILENAME
from singer_verify.runs.settings import get_override_name, read_settings, select_result_settings
from singer_verify.sweeps.cells import SweepCell
from singer_verify.sweeps.comparison import MIN_RESAMPLES, read_compared_cells
from singer_verify.sweeps.judged_runs import JudgedRuns, load_judged_runs
from singer_verify.sweeps.shared_trials import SharedTrials, build_shared_trials, require_same_trials
from singer_verify.sweeps.split_embeddings import SplitEmbeddings

SINGERS, MINUTES = "singers", "minutes"
SIZE_SETTINGS = ("data.max_singers", "data.max_minutes")
# Settings that runs of one curve need not share: what their size and fold decide, and where their corpora lie.
NOT_COMPARED = (*SIZE_SETTINGS, "seed", "data.fold", "data.root", "corpus")
MIN_FITTED_SIZES = 3  # through two points there is always a line
MIN_TARGET_EER, MAX_TARGET_EER = 0.01, 49.0  # in percent
MAX_LOG2_SIZE = 60.0


@dataclass(frozen=True)
class CurveFit:
    """A straight line, logit(EER) = offset + slope × log2(size), and the lines of all resamples.

    Attributes:
        offset: logit of the EER at a size of 1.
        slope: change of the logit with each doubling.
        resampled_offsets: offset in each resample.
        resampled_slopes: slope in each resample.
    """

    offset: float
    slope: float
    resampled_offsets: Float[np.ndarray, " resamples"]
    resampled_slopes: Float[np.ndarray, " resamples"]

    @property
    def odds_factor(self) -> Estimate:
        """What each doubling multiplies the odds of an error by; 1 where it changes nothing."""
        return compute_percentile_interval(float(np.exp(self.slope)), np.exp(self.resampled_slopes))

    @property
    def is_falling(self) -> bool:
        """Whether the interval of the slope is below zero."""
        return self.odds_factor.high < 1.0

    def predict(self, sizes: Float[np.ndarray, " sizes"]) -> list[Estimate]:
        """Predict the EER at some sizes."""
        positions = np.log2(sizes)
        values = 1.0 / (1.0 + np.exp(-(self.offset + self.slope * positions)))
        lines = self.resampled_offsets[:, None] + self.resampled_slopes[:, None] * positions
        resampled = 1.0 / (1.0 + np.exp(-lines))
        return [
            compute_percentile_interval(float(value), column) for value, column in zip(values, resampled.T, strict=True)
        ]

    def find_size(self, target_eer: float) -> Estimate | None:
        """Find the size at which the line reaches an EER; None where the error rate cannot be said to fall.

        The upper bound is infinite where too many resamples have no such size.
        """
        if not self.is_falling:
            return None
        goal = compute_logit(np.array(target_eer))
        with np.errstate(divide="ignore"):
            reached = np.where(
                self.resampled_slopes < 0, (goal - self.resampled_offsets) / self.resampled_slopes, np.inf
            )
        low, high = np.quantile(reached, [0.025, 0.975], method="closest_observation")
        position = float((goal - self.offset) / self.slope)
        return Estimate(*(float(2.0**value) if value < MAX_LOG2_SIZE else np.inf for value in (position, low, high)))


def compute_logit(rates: Float[np.ndarray, "*rates"]) -> Float[np.ndarray, "*rates"]:
    """Return the logarithm of the odds."""
    return np.asarray(np.log(rates) - np.log1p(-rates))


def fit_learning_curve(
    sizes: Float[np.ndarray, " sizes"],
    eers: Float[np.ndarray, " sizes"],
    resampled: Float[np.ndarray, "resamples sizes"],
    min_eer: float,
) -> CurveFit:
    """Fit a line to error rates by least squares, and one in each resample.

    Args:
        sizes: numbers of singers, or of minutes.
        eers: error rate at each size.
        resampled: error rates in each resample of the judged singers, the same resamples for all sizes.
        min_eer: what an error rate of zero is taken for, because its logarithm is infinite.
    """
    logits = compute_logit(np.clip(np.vstack([eers, resampled]), min_eer, 1.0 - min_eer))
    slopes, offsets = np.polyfit(np.log2(sizes), logits[np.isfinite(logits).all(axis=1)].T, 1)
    return CurveFit(float(offsets[0]), float(slopes[0]), offsets[1:], slopes[1:])


@dataclass(frozen=True)
class CurvePoint:
    """What runs that differ in seed and fold only learned from, and their mean error rate.

    Attributes:
        max_singers: their setting data.max_singers.
        max_minutes: their setting data.max_minutes.
        num_singers: number of singers that a run learned from, a mean over folds.
        minutes: number of minutes of each singer, a mean over singers and runs; None if the runs do not record it.
        seeds: seeds of the runs.
        eer: mean over seeds, with its interval over judged singers.
        resampled: the same in each resample.
    """

    max_singers: int | None
    max_minutes: float | None
    num_singers: float
    minutes: float | None
    seeds: tuple[int, ...]
    eer: Estimate
    resampled: Float[np.ndarray, " resamples"]

    def get_size(self, against: str) -> float:
        """Return the number of singers or of minutes."""
        size = self.num_singers if against == SINGERS else self.minutes
        return np.nan if size is None else float(size)


@dataclass(frozen=True, eq=False)
class LearningCurve:
    """Error rates against one of the two sizes, at a fixed limit of the other.

    Attributes:
        against: singers or minutes.
        settings: settings of the runs that distinguish them from those of other curves.
        points: sizes in ascending order.
        fit: None with fewer than three sizes.
    """

    against: str
    settings: tuple[str, ...]
    points: tuple[CurvePoint, ...]
    fit: CurveFit | None

    @property
    def sizes(self) -> Float[np.ndarray, " sizes"]:
        return np.array([point.get_size(self.against) for point in self.points])

    def is_measured(self, size: float) -> bool:
        """Return whether a size is between the smallest and the largest of the curve."""
        return bool(self.sizes[0] <= size <= self.sizes[-1])


@dataclass(frozen=True)
class LearningCurves:
    """All curves of a sweep.

    Attributes:
        points: all points by the settings that distinguish them besides their size.
        curves: the curves, those against singers first.
        target_eer: an error rate that sizes are looked for at.
        split: evaluated split; `folds` where each singer was judged by the models that had not heard them.
        num_singers: number of judged singers.
        num_utterances: number of their utterances.
        num_resamples: number of bootstrap resamples.
        left_out: why runs are left out, by path.
    """

    points: dict[tuple[str, ...], tuple[CurvePoint, ...]]
    curves: tuple[LearningCurve, ...]
    target_eer: float
    split: str
    num_singers: int
    num_utterances: int
    num_resamples: int
    left_out: dict[str, str]


def build_learning_curves(
    sweep: Path, target_eer: float, split: str | None, corpus: Path | None, only: Sequence[str] = ()
) -> LearningCurves:
    """Evaluate the finished runs of a sweep over sizes, and fit their error rates.

    Args:
        sweep: folder of the runs.
        target_eer: an error rate in percent whose size is looked for.
        split: evaluated split; None takes `val`, or the judged folds where the runs have folds.
        corpus: root folder of the corpus; None takes that of each run's configuration.
        only: settings of the runs to take, see `read_sweep_cells`.

    Raises:
        SingerVerifyError: the runs do not differ in size, or cannot be evaluated on the same trials.
    """
    require_between(MIN_TARGET_EER, MAX_TARGET_EER, **{"--target-eer": target_eer})
    cells, left_out = read_compared_cells(sweep, only)
    for cell in [cell for cell in cells if "root" not in cell.runs[0].data]:
        left_out |= {str(run.path.relative_to(sweep)): "imported weights, of no known size" for run in cell.runs}
        cells.remove(cell)
    require_sizes(cells, sweep)
    groups = group_by_training(cells)
    for cell in [cell for cell in cells if list(groups.values()).count(groups[cell.settings]) == 1]:
        left_out |= {cell.name: "no other size of it"}
        cells.remove(cell)
    if not cells:
        raise SingerVerifyError(
            f"{sweep}: its runs differ in more than data.max_singers and data.max_minutes; expected two sizes or more "
            f"of the same recipe, encoder and budget."
        )
    judged = load_judged_runs(cells, split, corpus)
    require_same_trials(judged.embeddings)
    first = next(iter(judged.embeddings.values()))
    shared = build_shared_trials(first.singers, {}, MIN_RESAMPLES, judged.blocks)
    points = measure_points(cells, judged, shared, groups)
    return LearningCurves(
        points=points,
        curves=tuple(join_curves(points, 0.5 / int(shared.trials.is_target.sum()))),
        target_eer=target_eer / 100,
        split=judged.split,
        num_singers=shared.draws.shape[1],
        num_utterances=len(shared.singer_index),
        num_resamples=len(shared.draws),
        left_out=left_out,
    )


def require_sizes(cells: list[SweepCell], sweep: Path) -> None:
    """Check that the cells of a sweep learned from several sizes.

    Raises:
        SingerVerifyError: they all have the same limits.
    """
    limits = {(cell.runs[0].data.get("max_singers"), cell.runs[0].data.get("max_minutes")) for cell in cells}
    if len(limits) < 2:
        found = (
            "its runs all learned from everything" if limits <= {(None, None)} else "its runs all have the same limits"
        )
        raise SingerVerifyError(
            f"{sweep}: {found}; expected runs that differ in data.max_singers or data.max_minutes, as those of "
            f"python train.py -m sweep=data_size do."
        )


def group_by_training(cells: list[SweepCell]) -> dict[frozenset[str], frozenset[str]]:
    """Find the cells that differ in nothing but their size, whatever was typed to train them.

    So the largest size may be that of another sweep, whose experiment sets the same.

    Returns:
        by the settings of a cell, what all cells of its group have in common, without the limits.
    """
    by_training: defaultdict[str, list[SweepCell]] = defaultdict(list)
    for cell in cells:
        decisive = select_result_settings(read_settings(cell.runs[0].path), NOT_COMPARED)
        by_training[repr(decisive)].append(cell)
    groups: dict[frozenset[str], frozenset[str]] = {}
    for of_group in by_training.values():
        shared = frozenset.intersection(*(_drop_size_settings(cell.settings) for cell in of_group))
        groups |= {cell.settings: shared for cell in of_group}
    if len(set(groups.values())) == len(by_training):
        return groups
    return {cell.settings: _drop_size_settings(cell.settings) for cell in cells}


def measure_points(
    cells: list[SweepCell],
    judged: JudgedRuns,
    shared: SharedTrials,
    groups: Mapping[frozenset[str], frozenset[str]],
) -> dict[tuple[str, ...], tuple[CurvePoint, ...]]:
    """Compute the sizes and error rates of all cells by group, named by what tells it from other groups.

    Args:
        cells: the cells.
        judged: their embeddings.
        shared: trials and resamples.
        groups: settings of each cell's group, see `group_by_training`.
    """
    common = frozenset.intersection(*(groups[cell.settings] for cell in cells))
    pooled = {cell.settings: cell for cell in judged.cells}
    points: defaultdict[tuple[str, ...], list[CurvePoint]] = defaultdict(list)
    for cell in track(cells, "Resampling singers", console=Console(stderr=True), transient=True):
        runs = pooled[cell.settings].runs
        eer, resampled = _estimate_eer([judged.embeddings[str(run.path)] for run in runs], shared)
        num_singers, minutes = _read_sizes(cell)
        data, seeds = cell.runs[0].data, tuple(run.seed for run in runs)
        limits = data.get("max_singers"), data.get("max_minutes")
        point = CurvePoint(*limits, num_singers, minutes, seeds, eer, resampled)
        points[tuple(sorted(groups[cell.settings] - common))].append(point)
    return {
        settings: tuple(sorted(of_group, key=lambda point: (point.num_singers, point.minutes or 0.0)))
        for settings, of_group in sorted(points.items())
    }


def _drop_size_settings(settings: Iterable[str]) -> frozenset[str]:
    return frozenset(setting for setting in settings if get_override_name(setting) not in SIZE_SETTINGS)


def _read_sizes(cell: SweepCell) -> tuple[float, float | None]:
    """Read how many singers, and minutes of each, the runs of a cell learned from."""
    metrics = [json.loads((run.path / METRICS_FILENAME).read_text(encoding="utf-8")) for run in cell.runs]
    singers = [run["num_train_singers"] for run in metrics]
    total = [run.get("train_minutes") for run in metrics]
    if None in total:  # of an earlier version
        return float(np.mean(singers)), None
    return float(np.mean(singers)), float(np.mean(np.divide(total, singers)))


def _estimate_eer(
    runs: list[SplitEmbeddings], shared: SharedTrials
) -> tuple[Estimate, Float[np.ndarray, " resamples"]]:
    """Compute the mean EER over seeds, with its interval over singers, and in every resample."""
    scores = [compute_cosine_scores(run.embeddings, shared.trials) for run in runs]
    resampled = shared.resample(scores, {EER: METRICS[EER]})[EER]
    return compute_percentile_interval(shared.compute_eer(scores), resampled), resampled


def join_curves(points: dict[tuple[str, ...], tuple[CurvePoint, ...]], min_eer: float) -> list[LearningCurve]:
    """Join points that differ in one of the two limits into curves, and fit each that has enough of them.

    Points of the same size, where a limit was not reached, count once.

    Args:
        points: points by the settings that distinguish them besides their size.
        min_eer: what an error rate of zero is taken for.
    """
    curves = []
    for against in (SINGERS, MINUTES):
        for settings, of_group in points.items():
            by_limit: defaultdict[float, dict[float, CurvePoint]] = defaultdict(dict)
            for point in of_group:
                other = point.max_minutes if against == SINGERS else point.max_singers
                size = point.get_size(against)
                if np.isfinite(size):
                    by_limit[np.inf if other is None else other].setdefault(size, point)
            for limit in sorted(by_limit):
                ordered = tuple(by_limit[limit][size] for size in sorted(by_limit[limit]))
                if len(ordered) > 1:
                    curves.append(LearningCurve(against, settings, ordered, _fit_points(ordered, against, min_eer)))
    return curves


def _fit_points(points: tuple[CurvePoint, ...], against: str, min_eer: float) -> CurveFit | None:
    if len(points) < MIN_FITTED_SIZES:
        return None
    sizes = np.array([point.get_size(against) for point in points])
    eers = np.array([point.eer.value for point in points])
    return fit_learning_curve(sizes, eers, np.stack([point.resampled for point in points], axis=1), min_eer)
