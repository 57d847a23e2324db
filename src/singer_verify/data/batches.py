"""Batches as the model receives them, read from a packed store."""

from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.utils.data import Dataset

from singer_verify.data.sampler import Part, SingerSampler
from singer_verify.data.windows import WindowGroup


@runtime_checkable
class CropSource(Protocol):
    """What batches are read from: a packed store, or one that does more to its frames."""

    def crops(
        self, utterances: Int[np.ndarray, " crops"], starts: Int[np.ndarray, " crops"], num_frames: int
    ) -> Float[np.ndarray, "crops num_frames bins"]: ...


class SingerBatch(NamedTuple):
    """Crops of several utterances of several singers, in the dtype of the store, or single precision if normalised.

    Attributes:
        features: (singers, utterances, frames, bins).
        singers: (singers,), numbers of the singers in the sorted list of the split's singers.
    """

    features: Float[Tensor, "singers utterances frames bins"]
    singers: Int[Tensor, " singers"]


class WindowBatch(NamedTuple):
    """Evaluation windows of one length.

    Attributes:
        features: (windows, frames, bins).
        utterances: (windows,), the number of the utterance that each window is cut from.
    """

    features: Float[Tensor, "windows frames bins"]
    utterances: Int[Tensor, " windows"]


class SingerBatches(Dataset[SingerBatch]):
    """Batch t of a split, for t from 0 to `num_batches` - 1; where several ranks train together, a rank's part of it.

    Args:
        store: the frames.
        sampler: plans the batches of all ranks together.
        num_batches: that there are.
        rank: which takes the `rank`-th stretch of the batch's singers.
        num_ranks: equal parts, into which the batch is divided.
    """

    def __init__(
        self, store: CropSource, sampler: SingerSampler, num_batches: int, rank: int = 0, num_ranks: int = 1
    ) -> None:
        self.store, self.sampler, self.num_batches = store, sampler, num_batches
        self.part = Part(rank, num_ranks)

    def __len__(self) -> int:
        return self.num_batches

    def __getitem__(self, step: int) -> SingerBatch:
        plan = self.sampler.batch(step)
        part = self.part.of(len(plan.singers))
        utterances, starts = plan.utterances[part], plan.starts[part]
        crops = self.store.crops(utterances.ravel(), starts.ravel(), self.sampler.num_frames)
        features = torch.from_numpy(crops.reshape(*utterances.shape, *crops.shape[1:]))
        return SingerBatch(features, torch.from_numpy(plan.singers[part]))


class WindowBatches(Dataset[WindowBatch]):
    """All windows of all utterances of a split, a group at a time."""

    def __init__(self, store: CropSource, groups: list[WindowGroup]) -> None:
        self.store, self.groups = store, groups

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> WindowBatch:
        group = self.groups[index]
        crops = self.store.crops(group.utterances, group.starts, group.num_frames)
        return WindowBatch(torch.from_numpy(crops), torch.from_numpy(group.utterances))
