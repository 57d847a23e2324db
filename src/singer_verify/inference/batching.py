"""Work done in the background while what is done before is used."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from singer_verify.errors import UtteranceError

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(work: Callable[[Item], Result], items: Iterable[Item], num_threads: int) -> Iterator[Result]:
    """The results of all items, in their order, of which a few are computed before they are asked for.

    Args:
        work: what is done with an item; an exception of it is raised when its result is due.
        items: read only as far as needed.
        num_threads: that work at once; so many results, and one more, lie ready at most.
    """
    waiting: deque[Future[Result]] = deque()
    pool = ThreadPoolExecutor(num_threads)
    try:
        for item in items:
            waiting.append(pool.submit(work, item))
            if len(waiting) > num_threads:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(cancel_futures=True)


MAX_BATCH_WINDOWS = 64
MAX_PENDING_RECORDINGS = 64  # recordings whose windows wait for others of their length

Owner = TypeVar("Owner")
Frames = Float[torch.Tensor, "frames bins"]


class _PendingRecording(Generic[Owner]):
    """A recording of which some windows are not embedded yet."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.rows: list[np.ndarray | None] = []
        self.num_missing = 0
        self.error: UtteranceError | None = None


class WindowBatcher(Generic[Owner]):
    """Embeds windows, gathered over recordings into full batches; windows of different lengths never share one.

    What stands beside a window changes its embedding by rounding only, since encoders see each row for itself.

    Args:
        encoder: (batch, frames, bins) → (batch, embedding).
    """

    def __init__(self, encoder: nn.Module) -> None:
        self.encoder = encoder
        self.pending: list[_PendingRecording[Owner]] = []
        self.queued: dict[int, list[tuple[_PendingRecording[Owner], int, Frames]]] = defaultdict(list)

    def embed(
        self, recordings: Iterable[tuple[Owner, Iterable[Frames]]]
    ) -> Iterator[tuple[Owner, Float[np.ndarray, "windows embedding"] | UtteranceError]]:
        """The windows' embeddings of each recording, in the order of the recordings.

        Args:
            recordings: with each its windows, in order. Where reading them raises an UtteranceError, the recording has
                that in place of embeddings.
        """
        for owner, windows in recordings:
            whole = _PendingRecording(owner)
            self.pending.append(whole)
            try:
                for window in windows:
                    self._queue_window(whole, window)
            except UtteranceError as error:
                whole.error = error
            if len(self.pending) >= MAX_PENDING_RECORDINGS:
                self._flush()
            yield from self._pop_complete()
        self._flush()
        yield from self._pop_complete()

    def _queue_window(self, whole: _PendingRecording[Owner], window: Frames) -> None:
        group = self.queued[len(window)]
        group.append((whole, len(whole.rows), window))
        whole.rows.append(None)
        whole.num_missing += 1
        if len(group) == MAX_BATCH_WINDOWS:
            self._embed_batch(len(window))

    def _flush(self) -> None:
        for length in list(self.queued):
            self._embed_batch(length)

    @torch.inference_mode()
    def _embed_batch(self, length: int) -> None:
        group = self.queued.pop(length)
        rows = self.encoder(torch.stack([window for _, _, window in group])).numpy()
        for (whole, place, _), row in zip(group, rows, strict=True):
            whole.rows[place] = row
            whole.num_missing -= 1

    def _pop_complete(self) -> Iterator[tuple[Owner, Float[np.ndarray, "windows embedding"] | UtteranceError]]:
        """Those at the front of the queue of which nothing is missing."""
        while self.pending and not self.pending[0].num_missing:
            whole = self.pending.pop(0)
            yield whole.owner, whole.error or np.array(whole.rows)
