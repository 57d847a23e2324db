"""Linear probes: what an embedding tells about labels besides the singer, and how well it tells the singer.

A probe is a linear model from a frozen embedding to a label, tested on utterances it was not fitted to (Alain & Bengio
2016, Understanding intermediate layers using linear classifier probes). Train and test never share a singer, because
all utterances of a singer are alike in voice and microphone: a label that is the same for all utterances of a singer
could otherwise be read off the singer's identity. A probe of the singer himself has the same singers on both sides,
which then never share a song, or, where songs are unknown, a recording.

Classes are predicted by a multinomial logistic regression whose classes weigh the same, numbers by a ridge regression,
both of scikit-learn, of features with zero mean and unit variance in the training part. The L2 penalty is the one of
`PENALTIES` that is best in an inner split of the training part, of the same kind.
"""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.metrics.bootstrap import (
    Estimate,
    apply_holm_correction,
    compute_percentile_interval,
    compute_two_sided_p_value,
    draw_bootstrap_weights,
)
from singer_verify.evaluation.probe_tasks import SINGER, ProbeTask

PENALTIES = (10_000.0, 1_000.0, 100.0, 10.0, 1.0)  # L2, of the summed loss; the strongest of equally good ones is taken
DEFAULT_PENALTY = 100.0  # where the training part is too small for an inner split
NUM_FOLDS, NUM_INNER_FOLDS = 5, 3
MAX_FOLD_DRAWS = 10  # draws of folds until each training part has all classes
MAX_ITERATIONS = 2_000
Fold = tuple[Int[np.ndarray, " _"], Int[np.ndarray, " _"]]  # numbers of the rows in train and test


@dataclass(frozen=True)
class ProbeScores:
    """How well the embeddings of one model tell a label, with intervals from resampled singers.

    Attributes:
        score: balanced accuracy (mean recall of the classes), or R² for a number.
        accuracy: share of right answers; None for a number.
        difference: the score minus that of the first model, in the same resamples; None for the first model.
        p: two-sided p value of the difference after Holm's correction for all differences of the call.
    """

    score: Estimate
    accuracy: Estimate | None
    difference: Estimate | None = None
    p: float | None = None


@dataclass(frozen=True)
class LabelProbes:
    """The probes of one label.

    Attributes:
        task: what was predicted.
        num_folds: number of parts that were tested in turn.
        scores: scores of each model.
    """

    task: ProbeTask
    num_folds: int
    scores: tuple[ProbeScores, ...]


def divide_task(task: ProbeTask, num_folds: int = NUM_FOLDS, seed: int = 0) -> list[Fold]:
    """Divide the utterances of a task into folds without common units, stratified by class, for each model's part.

    Args:
        task: what is predicted.
        num_folds: number of folds of a part; fewer where a fold would not hold two units.
        seed: seed of the draw.

    Returns:
        numbers of the rows in the training and in the test part of each fold; every row is tested once, and every class
        of a model's part is in every training part.
    """
    return [
        (rows[train], rows[test])
        for rows in task.list_space_rows()
        for train, test in _divide(
            _number_classes(task.targets[rows]), task.units[rows], num_folds, seed, task.is_number
        )
    ]


def _number_classes(targets: np.ndarray) -> Int[np.ndarray, " _"]:
    return np.unique(targets, return_inverse=True)[1]


def _divide(targets: np.ndarray, units: np.ndarray, num_folds: int, seed: int, is_number: bool) -> list[Fold]:
    from sklearn.model_selection import GroupKFold, LeaveOneGroupOut, StratifiedGroupKFold

    num_folds = max(2, min(num_folds, len(np.unique(units)) // 2))
    blank = np.zeros((len(targets), 1))
    if is_number:
        return list(GroupKFold(num_folds, shuffle=True, random_state=seed).split(blank, targets, units))
    num_classes = len(np.unique(targets))
    num_folds = min(num_folds, int(np.bincount(targets).max()))
    for draw in range(MAX_FOLD_DRAWS):
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The least populated class")  # which is rare, and still tested
            splitter = StratifiedGroupKFold(num_folds, shuffle=True, random_state=seed + draw)
            folds = [fold for fold in splitter.split(blank, targets, units) if len(fold[1])]
        if all(len(np.unique(targets[train])) == num_classes for train, _ in folds):
            return folds
    return list(LeaveOneGroupOut().split(blank, targets, units))


def predict_out_of_fold(
    embeddings: Float[np.ndarray, "utterances embedding"],
    task: ProbeTask,
    folds: Sequence[Fold],
    penalties: Sequence[float] = PENALTIES,
    seed: int = 0,
) -> Num[np.ndarray, " kept"]:
    """Predict each utterance of a task by a probe that was fitted to the training part of its fold.

    Args:
        embeddings: embeddings of all utterances.
        task: what is predicted.
        folds: folds of `divide_task`.
        penalties: L2 penalties to choose from, the strongest first.
        seed: seed of the inner folds.
    """
    rows = embeddings[task.rows].astype(np.float64)
    predicted = np.empty_like(task.targets)
    for train, test in folds:
        penalty = _choose_penalty(rows[train], task.targets[train], task.units[train], task.is_number, penalties, seed)
        probe = build_probe(task.is_number, penalty).fit(rows[train], task.targets[train])
        predicted[test] = probe.predict(rows[test])
    return predicted


def build_probe(is_number: bool, penalty: float):  # type: ignore[no-untyped-def]  # scikit-learn's Pipeline
    """Build a probe to be fitted: standardised features, and a ridge or a logistic regression."""
    from sklearn.linear_model import LogisticRegression, Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    regression = (
        Ridge(alpha=penalty)
        if is_number
        else LogisticRegression(C=1.0 / penalty, class_weight="balanced", max_iter=MAX_ITERATIONS)
    )
    return make_pipeline(StandardScaler(), regression)


def _choose_penalty(
    rows: np.ndarray, targets: np.ndarray, units: np.ndarray, is_number: bool, penalties: Sequence[float], seed: int
) -> float:
    """Return the penalty with the best score over inner folds; the default where a class has one unit only."""
    if len(penalties) == 1:
        return penalties[0]
    classes = np.unique(targets)
    fewest = len(np.unique(units)) if is_number else min(len(np.unique(units[targets == one])) for one in classes)
    if fewest < 2:
        return DEFAULT_PENALTY
    folds = _divide(_number_classes(targets), units, NUM_INNER_FOLDS, seed, is_number)
    scores = []
    for penalty in penalties:
        predicted = np.empty_like(targets)
        for train, test in folds:
            predicted[test] = build_probe(is_number, penalty).fit(rows[train], targets[train]).predict(rows[test])
        scores.append(compute_r2(targets, predicted) if is_number else compute_balanced_accuracy(targets, predicted))
    return penalties[int(np.argmax(scores))]


def compute_balanced_accuracy(targets: np.ndarray, predicted: np.ndarray) -> float:
    """Compute the mean recall of the classes."""
    return float(np.mean([(predicted[targets == one] == one).mean() for one in np.unique(targets)]))


def compute_r2(targets: np.ndarray, predicted: np.ndarray) -> float:
    """Compute the share of the variance that is explained: 0 for the mean of all, negative for worse than that."""
    return float(1.0 - np.square(targets - predicted).sum() / np.square(targets - targets.mean()).sum())


def resample_scores(
    task: ProbeTask, predicted: Num[np.ndarray, " kept"], counts: Num[np.ndarray, "resamples singers"]
) -> tuple[Float[np.ndarray, " resamples"], Float[np.ndarray, " resamples"] | None]:
    """Compute the score and the accuracy where each singer counts so many times; the probes are not fitted again.

    In a resample without the singers of a class, the balanced accuracy is the mean recall of the other classes.

    Args:
        task: what was predicted.
        predicted: predictions.
        counts: how often each singer of the task counts.

    Returns:
        balanced accuracy and accuracy, or R² and None; NaN where a resample has one class or one value only.
    """
    _, singers = np.unique(task.singer_index, return_inverse=True)
    num_singers = counts.shape[1]
    weights = counts.astype(np.float64)

    def add_up(values: np.ndarray) -> Float[np.ndarray, " resamples"]:
        return weights @ np.bincount(singers, values, num_singers)

    if task.is_number:
        centred = task.targets - task.targets.mean()
        number = add_up(np.ones(len(centred)))
        variation = add_up(centred**2) - add_up(centred) ** 2 / number
        with np.errstate(invalid="ignore", divide="ignore"):
            explained = 1.0 - add_up((task.targets - predicted) ** 2) / variation
        return np.where(variation > 0.0, explained, np.nan), None
    is_right = (predicted == task.targets).astype(np.float64)
    accuracy = add_up(is_right) / add_up(np.ones(len(is_right)))
    if task.label == SINGER:  # a class is a singer, and counts as often
        recalls = np.bincount(singers, is_right, num_singers) / np.bincount(singers, minlength=num_singers)
        return (weights @ recalls) / weights.sum(axis=1), accuracy
    shape = num_singers, len(task.classes)
    places = singers * shape[1] + task.targets
    num_right, totals = (np.bincount(places, part, shape[0] * shape[1]) for part in (is_right, np.ones(len(is_right))))
    with np.errstate(invalid="ignore"):
        by_class = (weights @ num_right.reshape(shape)) / (weights @ totals.reshape(shape))
    is_present = np.isfinite(by_class)
    balanced = np.where(is_present, by_class, 0.0).sum(axis=1) / is_present.sum(axis=1)
    return np.where(is_present.sum(axis=1) >= 2, balanced, np.nan), accuracy


def score_predictions(
    task: ProbeTask, predictions: Sequence[Sequence[Num[np.ndarray, " kept"]]], num_resamples: int, seed: int = 0
) -> tuple[ProbeScores, ...]:
    """Score the predictions of several models in the same resamples of the singers; p values are not corrected yet.

    The scores of a model are means over its trainings (seeds).

    Args:
        task: what was predicted.
        predictions: predictions from the embeddings of each training of each model; the first model is what others are
            compared with.
        num_resamples: number of bootstrap resamples.
        seed: seed of the resamples.
    """
    num_singers = task.num_singers
    draws = draw_bootstrap_weights(np.ones((num_singers, num_singers), bool), num_resamples, seed)
    counts = np.concatenate([np.ones((1, num_singers)), draws])
    scored: list[ProbeScores] = []
    values: list[tuple[float, np.ndarray]] = []
    for trainings in predictions:
        parts = [resample_scores(task, predicted, counts) for predicted in trainings]
        whole, *rest = np.mean([score for score, _ in parts], axis=0)
        resampled = np.array(rest)
        accuracies = [accuracy for _, accuracy in parts if accuracy is not None]
        accuracy = None
        if accuracies:
            first, *rest = np.mean(accuracies, axis=0)
            accuracy = compute_percentile_interval(float(first), np.array(rest))
        values.append((float(whole), resampled))
        difference, p = None, None
        if len(values) > 1:
            resampled_difference = resampled - values[0][1]
            difference = compute_percentile_interval(float(whole) - values[0][0], resampled_difference)
            valid = resampled_difference[np.isfinite(resampled_difference)]
            p = compute_two_sided_p_value(valid, num_singers) if np.isfinite(difference.low) else None
        score = compute_percentile_interval(float(whole), resampled)
        scored.append(ProbeScores(score, accuracy, difference, p))
    return tuple(scored)


def probe_label(
    embeddings: Sequence[Sequence[Float[np.ndarray, "utterances _"]]],
    task: ProbeTask,
    num_folds: int = NUM_FOLDS,
    num_resamples: int = 500,
    seed: int = 0,
    penalties: Sequence[float] = PENALTIES,
) -> LabelProbes:
    """Probe a label in the embeddings of each of several models, in the same folds and the same resamples.

    Args:
        embeddings: embeddings of the same utterances by each training (seed) of each model.
        task: what is predicted.
        num_folds: number of folds.
        num_resamples: number of bootstrap resamples of the singers.
        seed: seed of folds and resamples.
        penalties: L2 penalties to choose from, the strongest first.

    Raises:
        SingerVerifyError: an embedding is not finite.
    """
    folds = divide_task(task, num_folds, seed)
    if not all(np.isfinite(rows).all() for trainings in embeddings for rows in trainings):
        raise SingerVerifyError("an embedding is not finite; the model is broken.")
    predictions = [
        [predict_out_of_fold(rows, task, folds, penalties, seed) for rows in trainings] for trainings in embeddings
    ]
    return LabelProbes(task, len(folds), score_predictions(task, predictions, num_resamples, seed))


def correct_p_values(probes: Sequence[LabelProbes]) -> list[LabelProbes]:
    """Correct the p values of all differences for their number (Holm)."""
    values = [score.p for probe in probes for score in probe.scores if score.p is not None]
    corrected = iter(apply_holm_correction(values))
    return [
        LabelProbes(
            probe.task,
            probe.num_folds,
            tuple(
                score
                if score.p is None
                else ProbeScores(score.score, score.accuracy, score.difference, next(corrected))
                for score in probe.scores
            ),
        )
        for probe in probes
    ]
