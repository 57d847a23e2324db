"""Draws pairs of utterances from cells, so many from each, none twice, every choice equally likely.

Where few of a cell's pairs are wanted, numbers are drawn until there are enough; where most of them are, all are
listed. Either costs a few times what is wanted, however many pairs there are.
"""

from collections.abc import Iterator

import numpy as np
from jaxtyping import Int

from singer_verify.evaluation.pair_cells import PairCells

MOST_LISTED = 4_000_000  # pairs at once, unless one cell has more
MOST_DRAWS = 8  # of numbers for one that makes a trial, on average


def sample_pairs(
    cells: PairCells, wanted: Int[np.ndarray, " cells"], generator: np.random.Generator
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """
    Args:
        cells: to draw from.
        wanted: (cells,), how many from each, at most its capacity.
        generator: of random numbers.

    Returns:
        the places in the pool of the two utterances of each pair, cell by cell.
    """
    is_listed = (2 * wanted > cells.capacity) | (MOST_DRAWS * cells.capacity < cells.size)
    to_list = np.flatnonzero(is_listed & (wanted > 0))
    drawn = _drawn(cells, np.where(is_listed, 0, wanted), generator)
    listed = [_thinned(cells, numbers, wanted, generator) for numbers in _listed(cells, to_list)]
    numbers = np.sort(np.concatenate([drawn, *listed]))
    return cells.sides(numbers, cells.cell_of(numbers))


def _drawn(
    cells: PairCells, wanted: Int[np.ndarray, " cells"], generator: np.random.Generator
) -> Int[np.ndarray, " pairs"]:
    numbers = np.empty(0, np.int64)
    lacking = wanted
    while lacking.any():
        cell = np.repeat(np.arange(len(wanted)), 3 * lacking)
        fresh = cells.begin[cell] + generator.integers(cells.size[cell])
        fresh = fresh[cells.is_trial(fresh, cell)]
        numbers = _thinned(cells, _distinct(np.concatenate([numbers, fresh])), wanted, generator)
        lacking = wanted - np.bincount(cells.cell_of(numbers), minlength=len(wanted))
    return numbers


def _distinct(numbers: Int[np.ndarray, " numbers"]) -> Int[np.ndarray, " distinct"]:
    ascending = np.sort(numbers)  # np.unique hashes, which takes ten times as long here
    return ascending[np.append(True, ascending[1:] != ascending[:-1])] if len(ascending) else ascending


def _listed(cells: PairCells, chosen: Int[np.ndarray, " chosen"]) -> Iterator[Int[np.ndarray, " numbers"]]:
    """All numbers of the chosen cells that make trials, so many at once as memory allows."""
    batch = np.cumsum(cells.size[chosen]) // MOST_LISTED
    for part in np.split(chosen, np.flatnonzero(np.diff(batch)) + 1):
        size = cells.size[part]
        cell = np.repeat(part, size)
        numbers = np.arange(size.sum()) + np.repeat(cells.begin[part] - (np.cumsum(size) - size), size)
        yield numbers[cells.is_trial(numbers, cell)]


def _thinned(
    cells: PairCells,
    numbers: Int[np.ndarray, " numbers"],
    wanted: Int[np.ndarray, " cells"],
    generator: np.random.Generator,
) -> Int[np.ndarray, " kept"]:
    """At random, no more of each cell than wanted."""
    cell = cells.cell_of(numbers)
    order = np.lexsort((generator.random(len(numbers)), cell))
    counts = np.bincount(cell, minlength=len(wanted))
    rank = np.arange(len(numbers)) - np.repeat(np.cumsum(counts) - counts, counts)
    return numbers[order[rank < wanted[cell[order]]]]
