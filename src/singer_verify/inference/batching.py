"""Full batches of windows over many recordings, while the next recordings are decoded in the background."""

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from singer_verify.data.windows import count_windows_per_batch
from singer_verify.errors import UtteranceError

Item = TypeVar("Item")
Result = TypeVar("Result")
MAX_PENDING_RECORDINGS = 64  # recordings whose windows wait for others of their length
Owner = TypeVar("Owner")
Frames = Float[torch.Tensor, "frames bins"]


def prefetch(work: Callable[[Item], Result], items: Iterable[Item], num_threads: int) -> Iterator[Result]:
    """Yield the result of each item, in order, computing a few of them ahead in background threads.

    Args:
        work: function of an item; an exception it raises is raised when its result is due.
        items: items to process, read only as far as needed.
        num_threads: threads that work at once; at most one result more than that is kept ready.
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


class _PendingRecording(Generic[Owner]):
    """A recording some of whose windows are not embedded yet."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.rows: list[np.ndarray | None] = []
        self.num_missing = 0
        self.error: UtteranceError | None = None


class WindowBatcher(Generic[Owner]):
    """Embed windows in full batches gathered over recordings; windows of different lengths never share a batch.

    The other rows of a batch change an embedding by rounding only, since encoders treat each row independently.

    Args:
        encoder: (batch, frames, bins) → (batch, embedding).
        device: device of the encoder.
    """

    def __init__(self, encoder: nn.Module, device: torch.device | str = "cpu") -> None:
        self.encoder, self.device = encoder, device
        self.pending: list[_PendingRecording[Owner]] = []
        self.queued: dict[int, list[tuple[_PendingRecording[Owner], int, Frames]]] = defaultdict(list)

    def embed(
        self, recordings: Iterable[tuple[Owner, Iterable[Frames]]]
    ) -> Iterator[tuple[Owner, Float[np.ndarray, "windows embedding"] | UtteranceError]]:
        """Yield the window embeddings of each recording, in the order of the recordings.

        Args:
            recordings: an owner, and its windows in order. Where reading the windows raises an UtteranceError, that
                error is yielded in place of embeddings.
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
        if len(group) == count_windows_per_batch(len(window)):
            self._embed_batch(len(window))

    def _flush(self) -> None:
        for length in list(self.queued):
            self._embed_batch(length)

    @torch.inference_mode()
    def _embed_batch(self, length: int) -> None:
        group = self.queued.pop(length)
        frames = torch.stack([window for _, _, window in group]).to(self.device)
        rows = self.encoder(frames).cpu().numpy()
        for (whole, place, _), row in zip(group, rows, strict=True):
            whole.rows[place] = row
            whole.num_missing -= 1

    def _pop_complete(self) -> Iterator[tuple[Owner, Float[np.ndarray, "windows embedding"] | UtteranceError]]:
        """Yield the recordings at the front of the queue that are complete."""
        while self.pending and not self.pending[0].num_missing:
            whole = self.pending.pop(0)
            yield whole.owner, whole.error or np.array(whole.rows)
