"""Singers who were met before: known again by their recordings, or by nothing but their names."""

import pytest

from singer_verify.evaluation.seen_singers import (
    CALIBRATION,
    MODEL_SELECTION,
    THRESHOLD,
    TRAINING,
    SeenSingers,
    SingerOverlap,
    compute_singer_overlap,
)
from singer_verify.reports.evaluation.text import describe_overlaps, find_fitted_metrics

FIGURES = ("eer", "miss_at_threshold", "false_alarm_at_threshold", "actual_dcf_0.01", "actual_dcf_0.5")


def test_worked_example() -> None:
    """Anna is recognised by one of two recordings, 01 has a name that is known, Bea is a stranger."""
    seen = SeenSingers.from_names(["corpus/Anna", "corpus/01"], [1, 2, 3])
    assert seen.names == {"Anna", "01"}
    assert compute_singer_overlap(seen, ["Anna", "Anna", "01", "Bea"], [3, 9, 8, 7]) == SingerOverlap(3, 1, 1)
    assert compute_singer_overlap(seen, ["other", "01"], [1, 2]) == SingerOverlap(2, 2, 0)
    assert compute_singer_overlap(SeenSingers(frozenset(), frozenset()), ["Anna"], [1]) == SingerOverlap(1, 0, 0)


def test_what_is_certain_and_what_may_be_chance_is_said_differently() -> None:
    met = {
        TRAINING: SingerOverlap(12, 3, 1),
        MODEL_SELECTION: SingerOverlap(4, 4, 0),
        THRESHOLD: SingerOverlap(4, 0, 2),
        CALIBRATION: None,
    }
    training, choosing, threshold, calibration = describe_overlaps(met)
    assert training.startswith(
        "The model was trained on 3 of these 12 singers, as the recordings show; metrics on them are too good"
    )
    assert choosing.startswith("The best step of the model was chosen on exactly these singers")
    assert threshold.startswith(
        "2 of 4 singers have the names of singers the threshold was fitted to. This may be coincidence"
    )
    assert calibration.startswith("Which singers the calibration was fitted to is not recorded")
    assert describe_overlaps({TRAINING: SingerOverlap(12, 0, 0)}) == []


@pytest.mark.parametrize(
    ("met", "is_calibrated", "expected"),
    [
        ({THRESHOLD: SingerOverlap(4, 4, 0)}, False, list(FIGURES[1:])),
        ({THRESHOLD: SingerOverlap(4, 1, 0)}, True, list(FIGURES[1:3])),
        ({CALIBRATION: SingerOverlap(4, 4, 0)}, True, [*FIGURES[3:], "cllr"]),
        ({THRESHOLD: SingerOverlap(4, 0, 4), CALIBRATION: None, TRAINING: SingerOverlap(4, 4, 0)}, True, []),
        ({}, False, []),
    ],
)
def test_figures_at_a_threshold_that_was_fitted_here_are_named(
    met: dict[str, SingerOverlap | None], is_calibrated: bool, expected: list[str]
) -> None:
    assert find_fitted_metrics([*FIGURES, "cllr"] if is_calibrated else FIGURES, met) == expected


def test_singers_are_compared_by_name_without_their_corpus() -> None:
    seen = SeenSingers.from_names(["a/01", "02"], [7])
    singers = ["b/01", "02", "a/02", "03", "b/04"]
    assert compute_singer_overlap(seen, singers, [1, 2, 3, 4, 7]) == SingerOverlap(5, 1, 3)
