"""Pairs of singers in an order that uses all singers evenly, wherever it is cut off: the rounds of a tournament.

In a round everyone meets one other (of an odd number, one sits out); after all rounds everyone has met everyone once.
The circle method (Kirkman 1847) gives any round without those before it, so the pairs of thousands of singers need not
be listed for a few thousand trials.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int


def meetings(
    num_players: int, num_rounds: int
) -> tuple[Int[np.ndarray, "rounds pairs"], Int[np.ndarray, "rounds pairs"]]:
    """The first rounds of a tournament of at least two players: who meets whom."""
    num_seats = num_players + num_players % 2
    circle = num_seats - 1
    turn = np.arange(num_rounds)[:, None]
    place = np.arange(1, num_seats // 2)
    first, second = (turn + place) % circle, (turn - place) % circle
    if num_players == num_seats:  # else the last seat is empty, and who would meet it sits out
        first = np.hstack([first, np.full_like(turn, circle)])
        second = np.hstack([second, turn])
    return first, second


def pairs_in_rounds(
    groups: Sequence[np.ndarray], share: float
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """The pairs of each group's first rounds, the groups advancing side by side.

    Args:
        groups: singers who may meet, at random places.
        share: of all rounds, above 0, at most 1: all pairs.
    """
    first, second, progress = [], [], []
    for singers in groups:
        if len(singers) > 1:
            total = len(singers) - 1 + len(singers) % 2
            left, right = meetings(len(singers), int(np.ceil(share * total)))
            first.append(singers[left.ravel()])
            second.append(singers[right.ravel()])
            progress.append(np.repeat(np.arange(1, len(left) + 1) / total, left.shape[1]))
    if not first:
        return np.empty(0, np.int64), np.empty(0, np.int64)
    order = np.argsort(np.concatenate(progress), kind="stable")
    return np.concatenate(first)[order], np.concatenate(second)[order]
