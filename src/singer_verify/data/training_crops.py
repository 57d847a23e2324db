"""Training batches on their way to the model: drawn by the loader, finished on the device."""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.utils.data import Dataset

from singer_verify.data.augmentation.chain import Augmentation
from singer_verify.data.augmentation.draws import Draw
from singer_verify.data.batches import CropSource, SingerBatch, SingerBatches
from singer_verify.data.on_the_fly import CropFrames, SampleBatch, SampleBatches
from singer_verify.data.sampler import Part, SingerSampler
from singer_verify.errors import SingerVerifyError
from singer_verify.store.packed import PackedStore


class DrawnBatch(NamedTuple):
    """A batch that is not finished, and the random numbers that finish it."""

    batch: SingerBatch | SampleBatch
    draws: dict[str, Draw]


class DrawnBatches(Dataset[DrawnBatch]):
    """Batch t of a split with the random numbers of its augmentation, which depend on (seed, t) and a crop's number."""

    def __init__(self, batches: SingerBatches | SampleBatches, augmentation: Augmentation, seed: int) -> None:
        self.batches, self.augmentation, self.seed = batches, augmentation, seed

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, step: int) -> DrawnBatch:
        sampler = self.batches.sampler
        part, utterances_per_singer = self.batches.part.of(sampler.num_singers_of(step)), sampler.utterances_per_singer
        crops = range(part.start * utterances_per_singer, part.stop * utterances_per_singer)
        return DrawnBatch(self.batches[step], self.augmentation.draws(self.seed, step, crops))


class TrainingCrops:
    """What training batches are made of, and what is left to be done when one has reached the device.

    Args:
        crop_frames: computes frames from samples; None where frames are stored.
        augmentation: of the crops.
        seed: of the augmentation.

    Raises:
        SingerVerifyError: samples are to be augmented, and there are only frames.
    """

    def __init__(self, crop_frames: CropFrames | None, augmentation: Augmentation, seed: int) -> None:
        if augmentation.samples and crop_frames is None:
            raise SingerVerifyError(
                f"augmentation: {', '.join(augmentation.samples)} change samples, and this training reads stored "
                f"frames; set data.on_the_fly=true, or take an augmentation of frames (augmentation=spec_augment)."
            )
        self.crop_frames, self.augmentation, self.seed = crop_frames, augmentation, seed

    def batches(
        self, store: CropSource, sampler: SingerSampler, num_batches: int, rank: int, num_ranks: int
    ) -> Dataset[SingerBatch] | Dataset[DrawnBatch]:
        """Batches of a rank, read from a store of frames, or of samples where frames are computed from them."""
        if self.crop_frames is None:
            batches = SingerBatches(store, sampler, num_batches, rank, num_ranks)
            return batches if self.augmentation.is_empty else DrawnBatches(batches, self.augmentation, self.seed)
        assert isinstance(store, PackedStore)
        margin = self.augmentation.margin_samples(self.crop_frames.num_samples)
        samples = SampleBatches(store, sampler, self.crop_frames, margin, num_batches, Part(rank, num_ranks))
        return DrawnBatches(samples, self.augmentation, self.seed)

    @torch.no_grad()
    def finished(self, drawn: DrawnBatch) -> SingerBatch:
        """What the model receives, computed where the batch lies."""
        batch, draws = drawn
        features = self._frames_of(batch, draws) if isinstance(batch, SampleBatch) else batch.features.flatten(0, 1)
        features = self.augmentation.of_frames(features, draws)
        return SingerBatch(features.unflatten(0, (len(batch.singers), -1)), batch.singers)

    def _frames_of(self, batch: SampleBatch, draws: dict[str, Draw]) -> Float[Tensor, "crops frames bins"]:
        assert self.crop_frames is not None
        stored = self.crop_frames.stored
        samples = batch.samples.flatten(0, 1).to(torch.float32) * stored.unit
        num_samples, sample_rate = self.crop_frames.num_samples, stored.sample_rate
        samples = self.augmentation.of_samples(samples, draws, num_samples, sample_rate)
        return self.crop_frames(samples, batch.is_frame.flatten(0, 1))
