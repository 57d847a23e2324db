"""Similarity by system: means, intervals over singers and songs, paired differences."""

import numpy as np
import pytest

from singer_verify.evaluation.similarity import _choose_factors, compare_systems

ANNA_BEN = ["anna", "anna", "ben", "ben"]


def test_worked_example() -> None:
    scores = np.array([0.9, 0.7, 0.5, 0.3, 0.8, 0.6, 0.4, 0.2])
    result = compare_systems(
        scores,
        ["new"] * 4 + ["old"] * 4,
        ANNA_BEN * 2,
        ["one", "two"] * 4,
        probabilities=scores**2,
        threshold=0.5,
    )
    new, old = result.systems
    assert (new.system, new.num_pairs, new.num_singers, new.num_songs) == ("new", 4, 2, 2)
    assert new.score.value == pytest.approx(0.6)
    assert old.score.value == pytest.approx(0.5)
    assert new.accepted is not None
    assert new.accepted.value == 0.75
    assert new.probability is not None
    assert new.probability.value == pytest.approx((0.81 + 0.49 + 0.25 + 0.09) / 4)
    (difference,) = result.differences
    assert (difference.system, difference.other, difference.num_items) == ("new", "old", 4)
    # every pair is better by as much, so that resampling cannot change it
    assert (difference.score.value, difference.score.low, difference.score.high) == pytest.approx((0.1, 0.1, 0.1))
    assert difference.p == 0.5  # two singers cannot show more
    assert new.score.low == pytest.approx(0.3)
    assert new.score.high == pytest.approx(0.9)


def test_only_what_two_systems_have_in_common_is_compared() -> None:
    result = compare_systems(
        np.array([0.9, 0.1, 0.5, 0.5]), ["a", "a", "b", "c"], ["x", "y", "x", "z"], ["one", "one", "one", "two"]
    )
    ((one, other, num_items),) = [(item.system, item.other, item.num_items) for item in result.differences]
    assert ({one, other}, num_items) == ({"a", "b"}, 1)
    assert abs(result.differences[0].score.value) == pytest.approx(0.4)


def test_several_recordings_of_one_target_and_song_are_averaged_before_systems_are_compared() -> None:
    result = compare_systems(np.array([0.9, 0.5, 0.6]), ["a", "a", "b"], ["x"] * 3, ["one"] * 3)
    assert result.differences[0].score.value == pytest.approx(0.1)
    assert np.isnan(result.differences[0].score.low)
    assert result.differences[0].p is None


@pytest.mark.parametrize(
    ("singers", "songs", "expected"),
    [
        (ANNA_BEN, ["one", "two", "three", "four"], 1),  # each song is of one singer: singers
        (["anna", "ben", "cora", "dora"], ["one", "one", "two", "two"], 1),  # each singer has one song: songs
        (ANNA_BEN, ["one", "two", "one", "two"], 2),  # crossed: both
        (["anna"] * 4, ["one", "two", "three", "four"], 1),  # one singer: songs
        (["anna"] * 4, ["one"] * 4, 0),
    ],
)
def test_nested_labels_are_resampled_once(singers: list[str], songs: list[str], expected: int) -> None:
    factors = _choose_factors(singers, songs)
    assert len(factors) == expected
    if expected == 1:
        assert len(set(factors[0])) == min(n for n in (len(set(singers)), len(set(songs))) if n > 1)


def test_intervals_hold_the_mean_of_the_population() -> None:
    """Singers and songs each add to a score; in 95 % of the samples the interval should hold the mean of all."""
    generator = np.random.default_rng(1)
    held = 0
    for trial in range(120):
        singer_effects, song_effects = generator.normal(0, 0.1, 12), generator.normal(0, 0.05, 10)
        singers, songs = np.repeat(np.arange(12), 10), np.tile(np.arange(10), 12)
        scores = 0.6 + singer_effects[singers] + song_effects[songs] + generator.normal(0, 0.05, 120)
        (summary,) = compare_systems(
            scores, [""] * 120, list(map(str, singers)), list(map(str, songs)), num_resamples=300, seed=trial
        ).systems
        held += summary.score.low <= 0.6 <= summary.score.high
    assert 104 <= held <= 120


def test_one_pair_has_no_interval() -> None:
    (summary,) = compare_systems(np.array([0.5]), [""], ["anna"], ["one"]).systems
    assert summary.score.value == 0.5
    assert np.isnan(summary.score.low)
