"""Which singers, utterances and crops a batch holds: even use, no repetition, and nothing but (seed, step)."""

from collections import Counter

import numpy as np
import pytest

from singer_verify.data.sampler import SingerSampler, draw_cyclic_group
from singer_verify.errors import SingerVerifyError


def sampler(counts: list[int], frames: int = 50, **changes: int) -> SingerSampler:
    singer_index = np.repeat(np.arange(len(counts)), counts)
    settings = {"singers_per_batch": 4, "utterances_per_singer": 3, "num_frames": 20, "seed": 7} | changes
    return SingerSampler(singer_index, np.full(singer_index.size, frames), **settings)


@pytest.mark.parametrize(("num_items", "size"), [(8, 8), (9, 8), (12, 8), (15, 8), (17, 8), (64, 8), (5, 2), (7, 1)])
def test_draws_hold_distinct_items_and_use_all_equally(num_items: int, size: int) -> None:
    draws = [draw_cyclic_group(num_items, size, t, (1, 0, 0))[0].tolist() for t in range(3 * num_items)]
    assert all(len(set(draw)) == size for draw in draws)
    for first in range(0, len(draws), 5):
        for last in range(first + 1, len(draws) + 1, 7):
            counts = Counter(item for draw in draws[first:last] for item in draw)
            uses = [counts[item] for item in range(num_items)]
            assert max(uses) - min(uses) <= 2
    whole = Counter(item for draw in draws[:num_items] for item in draw)
    assert set(whole.values()) == {size}


def test_draws_count_earlier_uses() -> None:
    seen: Counter[int] = Counter()
    for t in range(40):
        for item, earlier in zip(*draw_cyclic_group(7, 3, t, (1, 0, 0)), strict=True):
            assert earlier == seen[item]
            seen[item] += 1


def test_order_is_random_and_changes_with_the_seed() -> None:
    orders = {tuple(draw_cyclic_group(10, 10, t, (seed, 0, 0))[0].tolist()) for t in range(5) for seed in range(5)}
    assert len(orders) == 25


def test_batches_hold_each_singer_once_with_own_utterances() -> None:
    """With too few singers an earlier encoder put one singer in a batch several times."""
    counts = [3, 5, 4, 8, 3, 6]
    batches = sampler(counts)
    owner = np.repeat(np.arange(6), counts)
    for step in range(60):
        plan = batches.plan_batch(step)
        assert len(set(plan.singers.tolist())) == 4
        np.testing.assert_array_equal(owner[plan.utterances], np.repeat(plan.singers[:, None], 3, axis=1))
        assert all(len(set(row)) == 3 for row in plan.utterances.tolist())
        assert ((plan.starts >= 0) & (plan.starts <= 30)).all()


def test_utterances_are_used_nearly_equally() -> None:
    batches = sampler([5, 7, 3, 11, 4, 6])
    uses = Counter(int(u) for step in range(600) for u in batches.plan_batch(step).utterances.ravel())
    first = 0
    for count in (5, 7, 3, 11, 4, 6):
        of_singer = [uses[number] for number in range(first, first + count)]
        assert max(of_singer) - min(of_singer) <= 2
        first += count


def test_a_batch_depends_on_seed_and_step_alone() -> None:
    forwards = [sampler([5, 7, 3, 11]).plan_batch(step) for step in range(30)]
    backwards = [sampler([5, 7, 3, 11]).plan_batch(step) for step in reversed(range(30))][::-1]
    for one, other in zip(forwards, backwards, strict=True):
        for left, right in zip(vars(one).values(), vars(other).values(), strict=True):
            np.testing.assert_array_equal(left, right)
    assert not np.array_equal(sampler([5, 7, 3, 11], seed=8).plan_batch(0).starts, forwards[0].starts)


def test_too_few_utterances_give_different_crops_of_the_same() -> None:
    batches = sampler([2, 2, 2, 2], utterances_per_singer=5)
    for step in range(50):
        plan = batches.plan_batch(step)
        for utterances, starts in zip(plan.utterances, plan.starts, strict=True):
            assert sorted(Counter(utterances.tolist()).values()) == [2, 3]
            crops = list(zip(utterances.tolist(), starts.tolist(), strict=True))
            assert len(set(crops)) == 5


def test_every_crop_start_is_reached() -> None:
    starts = {int(s) for step in range(200) for s in sampler([3, 3, 3, 3], frames=23).plan_batch(step).starts.ravel()}
    assert starts == {0, 1, 2, 3}


def test_short_utterances_start_at_their_beginning() -> None:
    assert not sampler([3, 3, 3, 3], frames=12).plan_batch(0).starts.any()


def test_refuses_more_singers_than_there_are() -> None:
    with pytest.raises(SingerVerifyError, match="singers_per_batch=4: expected 2 to 3"):
        sampler([3, 3, 3])


def test_each_batch_has_one_length_of_a_range() -> None:
    batches, alike = sampler([4] * 6, frames=25, min_frames=10), sampler([4] * 6, frames=25)
    plans = [batches.plan_batch(step) for step in range(300)]
    assert {plan.num_frames for plan in plans} == set(range(10, 21))
    assert all((plan.starts + plan.num_frames <= 25).all() for plan in plans)
    assert max(int(plan.starts.max()) for plan in plans) == 15  # shorter crops reach the end too
    for step in range(20):
        plan, other = batches.plan_batch(step), alike.plan_batch(step)
        assert plan.num_frames == plans[step].num_frames == batches.draw_num_frames(step)
        np.testing.assert_array_equal(plan.utterances, other.utterances)
        assert other.num_frames == 20
