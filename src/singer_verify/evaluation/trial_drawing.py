"""Draws a balanced list of trials: as many target as non-target ones, over all singers evenly."""

import numpy as np
from jaxtyping import Int

from singer_verify.errors import SingerVerifyError, require_at_least
from singer_verify.evaluation.pair_cells import PairCells
from singer_verify.evaluation.pair_sampling import sample_pairs
from singer_verify.evaluation.round_robin import pairs_in_rounds
from singer_verify.evaluation.trial_pool import Pool
from singer_verify.evaluation.trials import Trials

MOST_PER_KIND = 10_000  # unless more are asked for


def draw_trials(pool: Pool, num_per_kind: int, seed: int) -> Trials:
    """Draw target and non-target trials, none twice (a, b is b, a), no utterance against itself.

    Every singer has as many target trials as every other, and every pair of singers as many non-target trials; those
    who have too few utterances for their share have all of them. Where there are more pairs of singers than trials, the
    pairs are the rounds of a tournament (`round_robin`). The trials are in random order, their sides too.

    Args:
        pool: the utterances, and which of them make trials.
        num_per_kind: target trials, and as many non-target trials.
        seed: of the draw.

    Returns:
        by the numbers of `Pool.utterance`.

    Raises:
        SingerVerifyError: there are fewer trials than asked for.
    """
    require_at_least(1, num=num_per_kind)
    _require_available(pool, num_per_kind)
    generator = np.random.default_rng(seed)
    singers = generator.permutation(np.unique(pool.singer))
    targets = _drawn(PairCells(pool, singers, singers), num_per_kind, generator)
    nontargets = _drawn(_meeting_singers(pool, singers, num_per_kind), num_per_kind, generator)
    sides = generator.permuted(np.hstack([targets, nontargets]), axis=0)
    order = generator.permutation(2 * num_per_kind)
    left, right = pool.utterance[sides[:, order]]
    return Trials(left, right, order < num_per_kind)


def default_num(pool: Pool) -> int:
    """Trials of either kind where no number is asked for: all of the rarer kind, at most `MOST_PER_KIND`.

    Raises:
        SingerVerifyError: there are none.
    """
    _require_available(pool, 1)
    return min(MOST_PER_KIND, *pool.num_available)


def even_shares(capacity: Int[np.ndarray, " cells"], num: int) -> Int[np.ndarray, " cells"]:
    """`num` things in cells of limited capacity, none with two more than another that has room.

    Args:
        capacity: of each; together at least `num`.
        num: to share out; what cannot be divided goes to the first cells with room.
    """
    ascending = np.sort(capacity)
    filled = np.concatenate([[0], np.cumsum(ascending)])
    num_others = len(capacity) - np.arange(len(capacity))
    num_full = int(np.searchsorted(filled[:-1] + ascending * num_others, num, side="right"))
    if num_full == len(capacity):
        return capacity
    level = (num - int(filled[num_full])) // (len(capacity) - num_full)
    shares = np.minimum(capacity, level)
    shares[np.flatnonzero(capacity > level)[: num - int(shares.sum())]] += 1
    return shares


def _require_available(pool: Pool, num_per_kind: int) -> None:
    for kind, available in zip(("target", "non-target"), pool.num_available, strict=True):
        if available < num_per_kind:
            most, num_singers = min(pool.num_available), len(np.unique(pool.singer))
            needs = "expected singers with several utterances, and for hard trials several songs of each"
            raise SingerVerifyError(
                f"num={num_per_kind}: the {len(pool.utterance)} utterances of {num_singers} singers to draw from "
                f"make {available} {kind} trials; {f'ask for at most {most}' if most else needs}."
            )


def _drawn(cells: PairCells, num: int, generator: np.random.Generator) -> Int[np.ndarray, "sides trials"]:
    return np.stack(sample_pairs(cells, even_shares(cells.capacity, num), generator))


def _meeting_singers(pool: Pool, singers: Int[np.ndarray, " singers"], num: int) -> PairCells:
    """Pairs of singers for so many trials: no more pairs than trials, or all pairs there are."""
    group_of = np.zeros(int(pool.singer.max()) + 1, np.int64)
    group_of[pool.singer] = pool.group
    groups = [singers[group_of[singers] == group] for group in np.unique(pool.group)]
    num_pairs = sum(len(group) * (len(group) - 1) // 2 for group in groups)
    share = min(1.0, num / num_pairs)
    while True:
        cells = PairCells(pool, *pairs_in_rounds(groups, share))
        has_trials = np.flatnonzero(cells.capacity)
        if len(has_trials) >= num or share == 1.0:
            kept = has_trials[:num]
            return PairCells(pool, cells.first[kept], cells.second[kept])
        share = min(1.0, 2 * share)
