"""Data sets of training and evaluation batches, and the augmentation that completes a batch on its device."""

import functools
import logging
from typing import NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float, Int
from pytorch_lightning.utilities import move_data_to_device
from torch import Tensor
from torch.utils.data import Dataset

from singer_verify.data.augmentation.augmentation import AugmentationChain, AugmentationDraw
from singer_verify.data.on_the_fly import CropFeatureExtractor, ResidentSamples, SampleBatch, SampleBatchDataset
from singer_verify.data.sampler import RankShard, SingerSampler
from singer_verify.data.windows import WindowGroup
from singer_verify.errors import SingerVerifyError
from singer_verify.logging_once import log_once
from singer_verify.store.packed import PackedStore

log = logging.getLogger(__name__)


@runtime_checkable
class CropSource(Protocol):
    """A source of crops: a packed store, or a store that processes its frames further."""

    def read_crops(
        self, utterances: Int[np.ndarray, " crops"], starts: Int[np.ndarray, " crops"], num_frames: int
    ) -> Float[np.ndarray, "crops num_frames bins"]: ...


class SingerBatch(NamedTuple):
    """Crops of several utterances of several singers, in the dtype of the store, or single precision if normalised.

    Attributes:
        features: (singers, utterances, frames, bins).
        singers: (singers,), indices into the sorted list of the split's singers.
    """

    features: Float[Tensor, "singers utterances frames bins"]
    singers: Int[Tensor, " singers"]


class WindowBatch(NamedTuple):
    """Evaluation windows of one length.

    Attributes:
        features: (windows, frames, bins).
        utterances: (windows,), index of the utterance of each window.
    """

    features: Float[Tensor, "windows frames bins"]
    utterances: Int[Tensor, " windows"]


class SingerBatchDataset(Dataset[SingerBatch]):
    """Training batches of a split, indexed by step; each rank loads its own part of a batch.

    Args:
        store: source of the frames.
        sampler: sampler that plans the batches of all ranks together.
        num_batches: number of batches.
        rank: index of this rank; it loads the `rank`-th part of the singers.
        num_ranks: number of equal parts of a batch.
    """

    def __init__(
        self, store: CropSource, sampler: SingerSampler, num_batches: int, rank: int = 0, num_ranks: int = 1
    ) -> None:
        self.store, self.sampler, self.num_batches = store, sampler, num_batches
        self.shard = RankShard(rank, num_ranks)

    def __len__(self) -> int:
        return self.num_batches

    def __getitem__(self, step: int) -> SingerBatch:
        plan = self.sampler.plan_batch(step)
        part = self.shard.compute_slice(len(plan.singers))
        utterances, starts = plan.utterances[part], plan.starts[part]
        crops = self.store.read_crops(utterances.ravel(), starts.ravel(), plan.num_frames)
        features = torch.from_numpy(crops.reshape(*utterances.shape, *crops.shape[1:]))
        return SingerBatch(features, torch.from_numpy(plan.singers[part]))


class WindowBatchDataset(Dataset[WindowBatch]):
    """All evaluation windows of a split, one group per batch."""

    def __init__(self, store: CropSource, groups: list[WindowGroup]) -> None:
        self.store, self.groups = store, groups

    def __len__(self) -> int:
        return len(self.groups)

    def __getitem__(self, index: int) -> WindowBatch:
        group = self.groups[index]
        crops = self.store.read_crops(group.utterances, group.starts, group.num_frames)
        return WindowBatch(torch.from_numpy(crops), torch.from_numpy(group.utterances))


class PackedDraws(NamedTuple):
    """The draws of all augmentations in two tensors, which are copied to a device faster than many small ones.

    Attributes:
        shapes: number of crops that each augmentation is applied to, and of random numbers per crop, by name.
        crop_indices: (chosen in total,), see `AugmentationDraw`.
        uniform: (numbers in total,).
    """

    shapes: dict[str, tuple[int, int]]
    crop_indices: Int[Tensor, " chosen"]
    uniform: Float[Tensor, " numbers"]

    @classmethod
    def pack(cls, draws: dict[str, AugmentationDraw]) -> "PackedDraws":
        """Pack the draws of augmentations by name."""
        return cls(
            {name: (draw.uniform.shape[0], draw.uniform.shape[1]) for name, draw in draws.items()},
            torch.cat([torch.empty(0, dtype=torch.int64), *(draw.crop_indices for draw in draws.values())]),
            torch.cat([torch.empty(0), *(draw.uniform.flatten() for draw in draws.values())]),
        )

    def unpack(self) -> dict[str, AugmentationDraw]:
        """Return the draws that were packed, as views."""
        crop_indices = self.crop_indices.split([chosen for chosen, _ in self.shapes.values()])
        uniform = self.uniform.split([chosen * numbers for chosen, numbers in self.shapes.values()])
        return {
            name: AugmentationDraw(indices, row.view(*shape))
            for (name, shape), indices, row in zip(self.shapes.items(), crop_indices, uniform, strict=True)
        }


class PendingBatch(NamedTuple):
    """A batch before augmentation, with the random numbers of its augmentation."""

    batch: SingerBatch | SampleBatch
    draws: PackedDraws


class PendingBatchDataset(Dataset[PendingBatch]):
    """Batches with the random numbers of their augmentation, a function of (seed, step, crop index)."""

    def __init__(
        self, batches: SingerBatchDataset | SampleBatchDataset, augmentation: AugmentationChain, seed: int
    ) -> None:
        self.batches, self.augmentation, self.seed = batches, augmentation, seed

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, step: int) -> PendingBatch:
        sampler = self.batches.sampler
        part, utterances_per_singer = (
            self.batches.shard.compute_slice(sampler.count_batch_singers(step)),
            sampler.utterances_per_singer,
        )
        crops = range(part.start * utterances_per_singer, part.stop * utterances_per_singer)
        draws = self.augmentation.draw(self.seed, step, crops)
        return PendingBatch(self.batches[step], PackedDraws.pack(draws))


@functools.lru_cache
def _get_stream_beside(device: torch.device) -> torch.cuda.Stream:
    return torch.cuda.Stream(device)


class TrainingBatchPipeline:
    """Build the data set of training batches, and augment a batch once it is on the device.

    Args:
        crop_extractor: extractor of frames from samples; None if frames are stored.
        augmentation: augmentation of the crops.
        seed: seed of the augmentation.

    Raises:
        SingerVerifyError: the augmentation changes samples, but frames are stored.
    """

    def __init__(self, crop_extractor: CropFeatureExtractor | None, augmentation: AugmentationChain, seed: int) -> None:
        if augmentation.samples and crop_extractor is None:
            raise SingerVerifyError(
                f"augmentation: {', '.join(augmentation.samples)} change samples, but this training reads stored "
                f"frames; set data.on_the_fly=true or choose an augmentation of frames (augmentation=spec_augment)."
            )
        self.crop_extractor, self.augmentation, self.seed = crop_extractor, augmentation, seed
        self.resident_samples: ResidentSamples | None = None

    def batches(
        self,
        store: CropSource,
        sampler: SingerSampler,
        num_batches: int,
        rank: int = 0,
        num_ranks: int = 1,
        device: torch.device | None = None,
    ) -> Dataset[SingerBatch] | Dataset[PendingBatch]:
        """Build the batches of one rank from a store of frames, or of samples for on-the-fly features.

        Args:
            store: source of the frames or the samples.
            sampler: sampler that plans the batches of all ranks together.
            num_batches: number of batches.
            rank: index of this rank.
            num_ranks: number of ranks.
            device: device that completes the batches; a GPU keeps the samples where they fit easily.
        """
        if self.crop_extractor is None:
            batches = SingerBatchDataset(store, sampler, num_batches, rank, num_ranks)
            return batches if self.augmentation.is_empty else PendingBatchDataset(batches, self.augmentation, self.seed)
        assert isinstance(store, PackedStore)
        self.resident_samples = None
        margin = self.augmentation.compute_margin_samples(self.crop_extractor.num_samples)
        if device is not None and ResidentSamples.fits(store, device):
            log_once(log, f"The GPU keeps the samples of the training split, {store.frames.nbytes / 1e6:.0f} MB.")
            self.resident_samples = ResidentSamples(store, device)
        is_resident = self.resident_samples is not None
        samples = SampleBatchDataset(
            store, sampler, self.crop_extractor, margin, num_batches, RankShard(rank, num_ranks), not is_resident
        )
        return PendingBatchDataset(samples, self.augmentation, self.seed)

    def complete_batch(self, pending: PendingBatch, device: torch.device) -> SingerBatch:
        """Copy a batch to a device, compute its frames if needed, and augment it.

        A GPU does so beside the training step that it still works on, most of which leaves most of it idle: the batch
        does not depend on that step.
        """
        if device.type != "cuda":
            return self.apply_augmentation(move_data_to_device(pending, device))
        training, beside = torch.cuda.current_stream(device), _get_stream_beside(device)
        with torch.cuda.stream(beside):
            batch = self.apply_augmentation(move_data_to_device(pending, device))
        training.wait_stream(beside)
        for tensor in batch:
            tensor.record_stream(training)  # its memory is not free before the training has read it
        return batch

    @torch.no_grad()
    def apply_augmentation(self, pending: PendingBatch) -> SingerBatch:
        """Compute the frames if needed and augment the batch, on the device of the batch."""
        batch, draws = pending.batch, pending.draws.unpack()
        features = (
            self._compute_frames(batch, draws) if isinstance(batch, SampleBatch) else batch.features.flatten(0, 1)
        )
        features = self.augmentation.augment_frames(features, draws)
        return SingerBatch(features.unflatten(0, (len(batch.singers), -1)), batch.singers)

    def _compute_frames(
        self, batch: SampleBatch, draws: dict[str, AugmentationDraw]
    ) -> Float[Tensor, "crops frames bins"]:
        assert self.crop_extractor is not None
        stored = self.crop_extractor.stored_samples
        num_samples, sample_rate = self.crop_extractor.num_samples, stored.sample_rate
        if batch.samples is not None:
            segments = batch.samples.flatten(0, 1)
        else:
            assert self.resident_samples is not None
            width = num_samples + 2 * self.augmentation.compute_margin_samples(num_samples)
            places = batch.utterances.flatten(), batch.first_samples.flatten()
            segments = self.resident_samples.read_reflected_segments(*places, width)
        samples = segments * self.crop_extractor.sample_unit
        augmented = self.augmentation.augment_samples(samples, draws, num_samples, sample_rate)
        recorded = None
        if self.augmentation.samples:
            margin = (samples.shape[1] - num_samples) // 2
            recorded = samples[:, margin : margin + num_samples]
        return self.crop_extractor(augmented, batch.frame_indices.flatten(0, 1), batch.utterances.flatten(), recorded)
