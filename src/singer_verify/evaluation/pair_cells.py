"""Pairs of utterances in cells: those of one singer against those of another, or among each other, numbered through."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Int

from singer_verify.evaluation.trial_pool import Pool


@dataclass(frozen=True)
class PairCells:
    """Every pair of utterances of every cell has a number, from which the pair is computed: none needs to be listed.

    Attributes:
        pool: of utterances.
        first: (cells,), number of a singer.
        second: (cells,), of another, or of the same.
    """

    pool: Pool
    first: Int[np.ndarray, " cells"]
    second: Int[np.ndarray, " cells"]

    @cached_property
    def size(self) -> Int[np.ndarray, " cells"]:
        """How many numbers each cell has, those of pairs that make no trial among them."""
        return self._num_utterances[self.first] * self._num_utterances[self.second]

    @cached_property
    def begin(self) -> Int[np.ndarray, " cells"]:
        """The first number of each cell."""
        return np.cumsum(self.size) - self.size

    @cached_property
    def capacity(self) -> Int[np.ndarray, " cells"]:
        """How many trials each cell has."""
        songs = self._shared_songs
        same_song = np.asarray(songs[self.first].multiply(songs[self.second]).sum(axis=1)).ravel()
        of_one = (self._num_utterances**2 - self._num_same_song) // 2
        return np.where(self.first == self.second, of_one[self.first], self.size - same_song)

    def cell_of(self, number: Int[np.ndarray, " numbers"]) -> Int[np.ndarray, " numbers"]:
        """In which cell a number is."""
        return np.searchsorted(self.begin, number, side="right") - 1

    def sides(
        self, number: Int[np.ndarray, " numbers"], cell: Int[np.ndarray, " numbers"]
    ) -> tuple[Int[np.ndarray, " numbers"], Int[np.ndarray, " numbers"]]:
        """The places in the pool of the two utterances of a number."""
        left, right = np.divmod(number - self.begin[cell], self._num_utterances[self.second[cell]])
        return self._order[self._begin[self.first[cell]] + left], self._order[self._begin[self.second[cell]] + right]

    def is_trial(
        self, number: Int[np.ndarray, " numbers"], cell: Int[np.ndarray, " numbers"]
    ) -> Bool[np.ndarray, " numbers"]:
        """Whether the pair of a number makes a trial. Of a singer's own pairs, one of the two orders does."""
        left, right = self.sides(number, cell)
        is_chosen_order = (self.first[cell] != self.second[cell]) | (left < right)
        return is_chosen_order & (self.pool.song[left] != self.pool.song[right])

    @cached_property
    def _num_utterances(self) -> Int[np.ndarray, " singers"]:
        return np.bincount(self.pool.singer)

    @cached_property
    def _order(self) -> Int[np.ndarray, " pool"]:
        return np.argsort(self.pool.singer, kind="stable")

    @cached_property
    def _begin(self) -> Int[np.ndarray, " singers"]:
        return np.cumsum(self._num_utterances) - self._num_utterances

    @cached_property
    def _songs(self) -> scipy.sparse.csr_array:
        """(singers, songs), how often each sings each."""
        ones = np.ones(len(self.pool.singer), np.int64)
        return scipy.sparse.coo_array((ones, (self.pool.singer, self.pool.song))).tocsr()

    @cached_property
    def _shared_songs(self) -> scipy.sparse.csr_array:
        """The same of songs that several singers sing."""
        num_singers_of = np.bincount(self._songs.indices, minlength=self._songs.shape[1])
        return self._songs[:, num_singers_of > 1]

    @cached_property
    def _num_same_song(self) -> Int[np.ndarray, " singers"]:
        """Ordered pairs of one song among a singer's own, each utterance with itself included."""
        return np.asarray(self._songs.multiply(self._songs).sum(axis=1)).ravel()
