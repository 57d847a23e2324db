"""Which corpus the singers of a batch come from, so that all singers of all corpora are used equally often."""

import math

import numpy as np


class Turns:
    """Corpora take turns, each as often as it needs for its singers to be drawn as often as those of the others.

    A corpus of S singers in batches of B of them uses each singer B / S times per batch, so its share of the batches is
    proportional to S / B. The turns repeat after a cycle in which every singer of every corpus comes equally often;
    within it a corpus' turns are spread evenly.

    Args:
        num_singers: of each corpus.
        batch_sizes: singers of each corpus' batches.
    """

    def __init__(self, num_singers: list[int], batch_sizes: list[int]) -> None:
        common = math.lcm(*batch_sizes)
        turns = [singers * (common // size) for singers, size in zip(num_singers, batch_sizes, strict=True)]
        turns = [count // math.gcd(*turns) for count in turns]
        places = np.concatenate([(np.arange(count) + 0.5) / count for count in turns])
        corpora = np.repeat(np.arange(len(turns)), turns)
        self.order = corpora[np.argsort(places, kind="stable")]
        self.turns = turns
        self.before = [np.concatenate([[0], (self.order == corpus).cumsum()]) for corpus in range(len(turns))]

    def of(self, step: int) -> tuple[int, int]:
        """The corpus of batch `step`, and how many batches it had before."""
        cycle, place = divmod(step, len(self.order))
        corpus = int(self.order[place])
        return corpus, cycle * self.turns[corpus] + int(self.before[corpus][place])
