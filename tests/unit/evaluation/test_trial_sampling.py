"""Drawn trials: balanced, even over singers, seeded, none twice; hard ones; and fewer than asked for."""

import time
from collections import Counter
from itertools import combinations, combinations_with_replacement

import numpy as np
import pytest

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.conditions import HARD, Conditions, UtteranceMetadata
from singer_verify.evaluation.trials.sampling import (
    DEFAULT_MAX_TRIALS_PER_KIND,
    TrialPool,
    TrialSampler,
    allocate_evenly,
    build_full_pool,
    build_hard_pool,
    compute_default_num_trials,
    draw_trials,
    list_all_trials,
    order_singer_pairs,
)
from singer_verify.evaluation.trials.trial_list import Trials, build_all_pairs

EVEN = np.repeat(np.arange(6), 10)
UNEVEN = np.repeat(np.arange(5), [1, 2, 5, 20, 40])


def pairs_of(trials: Trials) -> set[frozenset[int]]:
    return {frozenset(pair) for pair in zip(trials.left.tolist(), trials.right.tolist(), strict=True)}


def check(trials: Trials, singers: np.ndarray, num: int) -> None:
    """What holds of every draw."""
    assert (len(trials.is_target), trials.is_target.sum()) == (2 * num, num)
    np.testing.assert_array_equal(trials.is_target, singers[trials.left] == singers[trials.right])
    assert len(pairs_of(trials)) == 2 * num  # none twice
    assert all(len(pair) == 2 for pair in pairs_of(trials))  # none against itself


def labels_for(singers: np.ndarray, seed: int) -> dict[str, np.ndarray]:
    generator = np.random.default_rng(seed)
    song = generator.choice(["kids", "dogs", "row", ""], len(singers), p=[0.4, 0.3, 0.2, 0.1])
    gender = np.array(["female", "male", "male"], object)[singers % 3]
    return {"song": song.astype(object), "gender": np.where(singers == 4, "", gender).astype(object)}


@pytest.mark.parametrize("num", [1, 7, 60, 270])
@pytest.mark.parametrize("seed", range(3))
def test_singers_and_pairs_of_singers_are_used_evenly(num: int, seed: int) -> None:
    trials = draw_trials(build_full_pool(EVEN), num, seed)
    check(trials, EVEN, num)
    targets = Counter(EVEN[trials.left[trials.is_target]].tolist())
    assert max(targets.values()) - min(targets.get(singer, 0) for singer in range(6)) <= 1
    is_nontarget = ~trials.is_target
    sides = EVEN[trials.left[is_nontarget]], EVEN[trials.right[is_nontarget]]
    used = Counter(np.concatenate(sides).tolist())
    assert max(used.values()) - min(used.get(singer, 0) for singer in range(6)) <= 1
    pairs = Counter(frozenset(pair) for pair in zip(*(side.tolist() for side in sides), strict=True))
    assert max(pairs.values()) - min(pairs.get(frozenset(pair), 0) for pair in combinations(range(6), 2)) <= 1


def test_who_has_few_utterances_gives_all_and_the_others_share_the_rest() -> None:
    trials = draw_trials(build_full_pool(UNEVEN), 251, 0)
    check(trials, UNEVEN, 251)
    targets = Counter(UNEVEN[trials.left[trials.is_target]].tolist())
    assert (targets[0], targets[1], targets[2]) == (0, 1, 10)
    assert sorted((targets[3], targets[4])) == [120, 120]


def test_everything_there_is_can_be_asked_for() -> None:
    singers = np.repeat([0, 1], [8, 1])
    trials = draw_trials(build_full_pool(singers), 8, 3)
    check(trials, singers, 8)
    assert {pair for pair in pairs_of(trials) if 8 in pair} == {frozenset((8, other)) for other in range(8)}


def test_a_draw_is_decided_by_its_seed() -> None:
    pool = build_full_pool(EVEN)
    one, again, other = (draw_trials(pool, 100, seed) for seed in (5, 5, 6))
    for name in ("left", "right", "is_target"):
        np.testing.assert_array_equal(getattr(one, name), getattr(again, name))
    assert pairs_of(one) != pairs_of(other)


def test_order_and_sides_tell_nothing() -> None:
    trials = draw_trials(build_full_pool(np.repeat(np.arange(20), 30)), 2000, 0)
    assert abs(trials.is_target[:2000].mean() - 0.5) < 0.05
    assert abs((trials.left < trials.right).mean() - 0.5) < 0.05


@pytest.mark.parametrize("seed", range(5))
def test_hard_trials_are_those_of_the_condition(seed: int) -> None:
    singers = np.random.default_rng(seed).integers(9, size=120)
    labels = labels_for(singers, seed)
    every = build_all_pairs(singers)
    is_hard = dict(Conditions(UtteranceMetadata(labels)).iterate_masks(every.left, every.right))[HARD]
    pool = build_hard_pool(singers, labels)
    assert pool.num_available == (int(every.is_target[is_hard].sum()), int((~every.is_target[is_hard]).sum()))
    hard = Trials(every.left[is_hard], every.right[is_hard], every.is_target[is_hard])
    assert pairs_of(list_all_trials(pool)) == pairs_of(hard)
    for num in (1, 20, min(pool.num_available)):
        trials = draw_trials(pool, num, seed)
        check(trials, singers, num)
        assert pairs_of(trials) <= pairs_of(hard)


def test_singers_who_share_their_only_song_never_meet() -> None:
    singers = np.array([0, 0, 1, 1, 2, 2])
    labels = {"song": np.array(["a", "a", "a", "a", "a", "b"], object), "gender": np.full(6, "male", object)}
    pool = build_hard_pool(singers, labels)
    assert pool.num_available == (1, 4)
    assert pairs_of(draw_trials(pool, 1, 0)) <= {frozenset((4, 5)), *(frozenset((5, other)) for other in range(4))}


def test_every_choice_is_equally_likely() -> None:
    """Of 6 × 4 pairs of two singers, 3 at a time, and of 15 pairs of one: each as often as chance has it."""
    sampler = TrialSampler(build_full_pool(np.repeat([0, 1], [6, 4])))
    for first, second, num, num_pairs in ((0, 1, 3, 24), (0, 1, 20, 24), (0, 0, 3, 15)):
        assert sampler.count_trials(first, second) == num_pairs
        counts: Counter[tuple[int, int]] = Counter()
        for seed in range(600):
            left, right = sampler.draw(first, second, num, np.random.default_rng(seed))
            counts.update(zip(left.tolist(), right.tolist(), strict=True))
        assert len(counts) == num_pairs
        expected = 600 * num / num_pairs
        assert all(abs(count - expected) < 5 * expected**0.5 for count in counts.values())


@pytest.mark.parametrize("seed", range(3))
def test_trials_are_those_a_slow_loop_finds(seed: int) -> None:
    generator = np.random.default_rng(seed)
    singer, song = generator.integers(5, size=60), generator.integers(4, size=60)
    sampler = TrialSampler(TrialPool(np.arange(60), singer, song, np.zeros(60, np.int64)))
    for first, second in combinations_with_replacement(range(5), 2):
        expected = {
            frozenset((i, j))
            for i, j in combinations(range(60), 2)
            if {singer[i], singer[j]} == {first, second} and song[i] != song[j]
        }
        num = sampler.count_trials(first, second)
        drawn = sampler.draw(first, second, num, generator)
        assert num == len(expected)
        assert {frozenset(pair) for pair in drawn.T.tolist()} == expected


def test_singers_of_almost_one_song_are_drawn_in_seconds() -> None:
    singers = np.repeat(np.arange(2), 15_000)
    song = np.zeros(30_000, np.int64)
    song[[0, -1]] = 1
    pool = TrialPool(np.arange(30_000), singers, song, np.zeros(30_000, np.int64))
    assert pool.num_available == (2 * 14_999, 2 * 14_999)
    trials = draw_trials(pool, 2 * 14_999, 0)
    check(trials, singers, 2 * 14_999)


@pytest.mark.parametrize("num_singers", [2, 3, 8, 9])
def test_everyone_meets_everyone_once_and_once_a_round(num_singers: int) -> None:
    first, second = order_singer_pairs([np.arange(num_singers)], 1.0)
    for start in range(0, len(first), num_singers // 2):
        part = slice(start, start + num_singers // 2)
        assert len({*first[part].tolist(), *second[part].tolist()}) == 2 * (num_singers // 2)
    pairs = Counter(frozenset(pair) for pair in zip(first.tolist(), second.tolist(), strict=True))
    assert pairs == Counter(frozenset(pair) for pair in combinations(range(num_singers), 2))


def test_groups_advance_side_by_side_and_never_meet() -> None:
    groups = [np.arange(10), np.arange(10, 14), np.array([14])]
    first, second = order_singer_pairs(groups, 1.0)
    assert len(first) == 45 + 6
    assert ((first < 10) == (second < 10)).all()
    half = first[: len(first) // 2]
    assert 20 <= (half < 10).sum() <= 24


@pytest.mark.parametrize("seed", range(5))
def test_even_shares(seed: int) -> None:
    generator = np.random.default_rng(seed)
    capacity = generator.integers(0, 12, 30)
    for num in range(int(capacity.sum()) + 1):
        shares = allocate_evenly(capacity, num)
        assert shares.sum() == num
        assert (shares <= capacity).all()
        has_room = shares < capacity
        assert not has_room.any() or shares.max() <= shares[has_room].min() + 1


def test_the_default_is_all_of_the_rarer_kind_up_to_a_limit() -> None:
    assert compute_default_num_trials(build_full_pool(EVEN)) == 6 * 45
    assert compute_default_num_trials(build_full_pool(np.repeat([0, 1], 500))) == DEFAULT_MAX_TRIALS_PER_KIND


@pytest.mark.slow
def test_a_million_trials_of_thirty_thousand_utterances_take_seconds() -> None:
    singers = np.repeat(np.arange(300), 100)
    began = time.perf_counter()
    trials = draw_trials(build_full_pool(singers), 500_000, 0)
    assert time.perf_counter() - began < 20  # 1.3 s alone on one core; listing all 4.5e8 pairs takes minutes
    assert trials.is_target.sum() == 500_000


def test_refusals() -> None:
    every = {"song": np.array(["a", "b", "a", "b"], object), "gender": np.array(["f", "f", "m", "m"], object)}
    singers = np.array(["x", "x", "y", "y"], object)
    for pool, num, sentence in (
        (
            build_full_pool(EVEN),
            271,
            "num=271: the 60 utterances of 6 singers .* make 270 target trials; ask for at most 270",
        ),
        (build_full_pool(singers[:2]), 1, "make 0 non-target trials; expected"),
        (build_full_pool(singers[::2]), 1, "make 0 target trials; expected"),
        (build_hard_pool(singers, every), 1, "make 0 non-target trials"),
        (build_full_pool(singers), 0, "num=0: expected an integer of at least 1"),
    ):
        with pytest.raises(SingerVerifyError, match=sentence):
            draw_trials(pool, num, 0)
    with pytest.raises(SingerVerifyError, match="make 0 target trials"):
        compute_default_num_trials(build_full_pool(singers[::2]))
    with pytest.raises(SingerVerifyError, match="10000 utterances make 49995000 pairs"):
        list_all_trials(build_full_pool(np.zeros(10000, np.int64)))
    with pytest.raises(SingerVerifyError, match=r"no song is known \(labels found: gender\)"):
        build_hard_pool(singers, {"gender": every["gender"]})
    with pytest.raises(SingerVerifyError, match="no gender is known"):
        build_hard_pool(singers, every | {"gender": np.full(4, "", object)})
    with pytest.raises(SingerVerifyError, match="singer x: has utterances of 2 genders"):
        build_hard_pool(singers, every | {"gender": np.array(["f", "m", "m", "m"], object)})


def test_no_utterance_of_known_song_and_gender_makes_no_trial() -> None:
    labels = {"song": np.array(["a", ""], object), "gender": np.array(["", "f"], object)}
    assert build_hard_pool(np.array(["x", "y"], object), labels).num_available == (0, 0)
