"""Windows of many recordings embedded in batches."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Generic, TypeVar

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from singer_verify.errors import UtteranceError

WINDOWS_AT_ONCE = 64
MOST_WAITING = 64  # recordings whose windows wait for others of their length

Owner = TypeVar("Owner")
Frames = Float[torch.Tensor, "frames bins"]


class _Waiting(Generic[Owner]):
    """A recording of which some windows are not embedded yet."""

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.rows: list[np.ndarray | None] = []
        self.num_missing = 0
        self.error: UtteranceError | None = None


class WindowBatches(Generic[Owner]):
    """Embeds windows, gathered over recordings into full batches; windows of different lengths never share one.

    What stands beside a window changes its embedding by rounding only, since encoders see each row for itself.

    Args:
        encoder: (batch, frames, bins) → (batch, embedding).
    """

    def __init__(self, encoder: nn.Module) -> None:
        self.encoder = encoder
        self.waiting: list[_Waiting[Owner]] = []
        self.gathered: dict[int, list[tuple[_Waiting[Owner], int, Frames]]] = defaultdict(list)

    def embed(
        self, recordings: Iterable[tuple[Owner, Iterable[Frames]]]
    ) -> Iterator[tuple[Owner, Float[np.ndarray, "windows embedding"] | UtteranceError]]:
        """The windows' embeddings of each recording, in the order of the recordings.

        Args:
            recordings: with each its windows, in order. Where reading them raises an UtteranceError, the recording has
                that in place of embeddings.
        """
        for owner, windows in recordings:
            whole = _Waiting(owner)
            self.waiting.append(whole)
            try:
                for window in windows:
                    self._gather(whole, window)
            except UtteranceError as error:
                whole.error = error
            if len(self.waiting) >= MOST_WAITING:
                self._embed_all()
            yield from self._finished()
        self._embed_all()
        yield from self._finished()

    def _gather(self, whole: _Waiting[Owner], window: Frames) -> None:
        group = self.gathered[len(window)]
        group.append((whole, len(whole.rows), window))
        whole.rows.append(None)
        whole.num_missing += 1
        if len(group) == WINDOWS_AT_ONCE:
            self._embed_group(len(window))

    def _embed_all(self) -> None:
        for length in list(self.gathered):
            self._embed_group(length)

    @torch.inference_mode()
    def _embed_group(self, length: int) -> None:
        group = self.gathered.pop(length)
        rows = self.encoder(torch.stack([window for _, _, window in group])).numpy()
        for (whole, place, _), row in zip(group, rows, strict=True):
            whole.rows[place] = row
            whole.num_missing -= 1

    def _finished(self) -> Iterator[tuple[Owner, Float[np.ndarray, "windows embedding"] | UtteranceError]]:
        """Those at the front of the queue of which nothing is missing."""
        while self.waiting and not self.waiting[0].num_missing:
            whole = self.waiting.pop(0)
            yield whole.owner, whole.error or np.array(whole.rows)
