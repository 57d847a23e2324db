"""On-the-fly features: frames of training crops, computed on the training device from a store of samples."""

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, Num
from torch import Tensor
from torch.utils.data import Dataset

from singer_verify.data.sampler import RankShard, SingerSampler
from singer_verify.errors import SingerVerifyError
from singer_verify.features.feature import Feature, FramewiseFeature, count_frames, get_shortest_samples
from singer_verify.features.normalisation import (
    GLOBAL_NORMALISATIONS,
    NO_NORMALISATION,
    UTTERANCE_NORMALISATIONS,
    Normalisation,
    Scaling,
)
from singer_verify.features.precomputed import PrecomputedFeature
from singer_verify.features.raw_waveform import RawWaveform
from singer_verify.features.trimming import TrimmedFeature
from singer_verify.features.voice import VoiceFeature, split_voice_feature
from singer_verify.store.packed import PackedStore

MAX_MEMORY_SHARE = 0.25  # of the free memory of a GPU that samples may take
UPLOADED_BYTES = 1 << 26  # at a time
ON_THE_FLY_NORMALISATIONS = ("none", "utterance_mean", *GLOBAL_NORMALISATIONS)


class SampleBatch(NamedTuple):
    """Segments of samples that contain the context of each crop's frames, in the dtype of the store.

    Attributes:
        samples: (singers, utterances, samples); None where the device has all samples and cuts the segments itself.
        first_samples: (singers, utterances), where each segment begins in its utterance; may be negative.
        frame_indices: (singers, utterances, frames), which of the computed frames each frame of a crop is: one after
            another, an utterance shorter than its crop from its beginning again and again.
        utterances: (singers, utterances), indices into the store.
        singers: (singers,), indices into the sorted list of the split's singers.
    """

    samples: Num[Tensor, "singers utterances samples"] | None
    first_samples: Int[Tensor, "singers utterances"]
    frame_indices: Int[Tensor, "singers utterances frames"]
    utterances: Int[Tensor, "singers utterances"]
    singers: Int[Tensor, " singers"]


class CropFeatureExtractor:
    """Compute the frames of a crop from the segment of samples around it, equal to those of the whole utterance.

    A segment extends past the crop by whole hops on both sides, enough that no frame of the crop depends on the ends of
    the segment; the few extra frames are computed and dropped.

    Args:
        feature: the recipe.
        num_frames: frames per crop.
        samples_dtype: dtype of the samples on disk, int16 or float32.
        normalisation: normalisation of the frames; `prepare_normalisation` comes before crops are computed.

    Raises:
        SingerVerifyError: the recipe or its normalisation requires whole utterances.
    """

    def __init__(
        self, feature: Feature, num_frames: int, samples_dtype: str, normalisation: Normalisation = NO_NORMALISATION
    ) -> None:
        if normalisation.name not in ON_THE_FLY_NORMALISATIONS:
            raise SingerVerifyError(
                f"features.normalise={normalisation.name}: takes its statistics from whole utterances, but "
                f"data.on_the_fly=true computes frames of crops only; expected one of "
                f"{', '.join(ON_THE_FLY_NORMALISATIONS)}, or data.on_the_fly=false."
            )
        feature, preparation = split_voice_feature(feature)
        if isinstance(feature, PrecomputedFeature):
            raise SingerVerifyError(
                "data.on_the_fly=true: the corpus contains precomputed features; expected audio, to compute frames "
                "from; set data.on_the_fly=false."
            )
        if isinstance(feature, TrimmedFeature):
            raise SingerVerifyError(
                f"data.on_the_fly=true: features.trim_silence_db={feature.trim_silence_db} and "
                f"features.voiced_only={feature.voiced_only} look at whole utterances; leave both out, or set "
                f"data.on_the_fly=false."
            )
        context_samples = feature.context_samples if isinstance(feature, FramewiseFeature) else None
        if not isinstance(feature, FramewiseFeature) or context_samples is None:
            raise SingerVerifyError(
                f"data.on_the_fly=true: {type(feature).__name__}, with these settings, computes its frames from whole "
                f"utterances; expected a recipe like mel40, whose frames depend on their neighbourhood only; set "
                f"data.on_the_fly=false."
            )
        self.feature, self.num_frames, self.hop_samples = feature, num_frames, feature.hop_samples
        self.normalisation = normalisation
        self.scaling: tuple[Tensor, ...] | None = None  # offset and scale of each utterance
        self.context_frames = 1 + context_samples // feature.hop_samples
        self.num_samples = (num_frames + 2 * self.context_frames - 1) * feature.hop_samples
        waveform = RawWaveform(feature.sample_rate, samples_dtype, get_shortest_samples(feature), feature.bandwidth_hz)
        self.stored_samples: Feature = waveform if preparation is None else VoiceFeature(waveform, preparation)
        self.sample_unit = waveform.unit

    def count_frames(self, num_samples: Int[np.ndarray, " utterances"]) -> Int[np.ndarray, " utterances"]:
        return count_frames(self.feature, num_samples)

    @property
    def needs_stored_frames(self) -> bool:
        """Whether the normalisation takes statistics from the frames of whole utterances of the training split."""
        return self.normalisation.needs_training_split or self.normalisation.name in UTTERANCE_NORMALISATIONS

    def prepare_normalisation(
        self, normalisation: Normalisation, samples: PackedStore, frames: PackedStore | None
    ) -> None:
        """Take a fitted normalisation, and the statistics of utterances where it is one by the utterance.

        Args:
            normalisation: the fitted normalisation.
            samples: store that crops are cut from.
            frames: frames of the same split, where `needs_stored_frames`.

        Raises:
            SingerVerifyError: an utterance of the samples has no frames.
        """
        self.normalisation = normalisation
        if normalisation.name == "none":
            return
        if normalisation.name in GLOBAL_NORMALISATIONS:
            scaling = normalisation.compute_scaling(np.zeros((0, self.feature.num_bins)), np.zeros(2, np.int64))
        else:
            assert frames is not None
            scaling = frames.compute_scaling(normalisation)
            rows = {path: row for row, path in enumerate(frames.paths.tolist())}
            if missing := [path for path in samples.paths.tolist() if path not in rows]:
                raise SingerVerifyError(
                    f"{missing[0]}: its frames cannot be stored, so that data.on_the_fly=true cannot normalise them; "
                    f"set data.store_dtype=float32, or take the file out."
                )
            order = np.array([rows[path] for path in samples.paths.tolist()], np.int64)
            scaling = Scaling(*(part[order] for part in scaling))
        self.scaling = tuple(torch.from_numpy(part.astype(np.float32)) for part in scaling)

    def compute_first_frames(
        self, starts: Int[np.ndarray, " crops"], utterance_lengths: Int[np.ndarray, " crops"]
    ) -> Int[np.ndarray, " crops"]:
        """Return the first frame of every crop within its utterance; that of a shorter utterance is its own first."""
        return np.where(utterance_lengths >= self.num_frames, starts, 0)

    def compute_frame_indices(self, utterance_lengths: Int[np.ndarray, " crops"]) -> Int[np.ndarray, "crops frames"]:
        """Return which of the computed frames make up each crop; a shorter utterance is repeated, as when stored."""
        return np.arange(self.num_frames) % np.minimum(utterance_lengths, self.num_frames)[:, None]

    @torch.no_grad()
    def __call__(
        self,
        samples: Float[Tensor, "crops samples"],
        frame_indices: Int[Tensor, "crops frames"],
        utterances: Int[Tensor, " crops"],
        recorded: Float[Tensor, "crops samples"] | None = None,
    ) -> Float[Tensor, "crops frames bins"]:
        """Compute the normalised frames of crops.

        The mean of an utterance whose samples were changed is not known, as only a crop of it was. It is taken to have
        moved by as much as the mean of the crop.

        Args:
            samples: segments around the crops, augmented or as recorded.
            frame_indices: see `SampleBatch`.
            utterances: index of each crop's utterance in the store of samples.
            recorded: the segments before augmentation, if they were augmented.
        """
        frames = self._compute_frames(samples, frame_indices)
        if self.normalisation.name == "none":
            return frames
        assert self.scaling is not None
        # Kept on the device: the copy of a step would make the host wait for it.
        self.scaling = tuple(part.to(frames.device) for part in self.scaling)
        offset, scale = self.scaling
        if self.normalisation.name in GLOBAL_NORMALISATIONS:
            return (frames - offset) / scale
        offset = offset[utterances, None]
        if recorded is not None:
            before = self._compute_frames(recorded, frame_indices)
            offset = offset + frames.mean(dim=1, keepdim=True) - before.mean(dim=1, keepdim=True)
        return (frames - offset) / scale[utterances, None]

    def _compute_frames(
        self, samples: Float[Tensor, "crops samples"], frame_indices: Int[Tensor, "crops frames"]
    ) -> Float[Tensor, "crops frames bins"]:
        frames = self.feature.to(samples.device)(samples)
        wanted = frames[:, self.context_frames : self.context_frames + self.num_frames]
        return wanted.take_along_dim(frame_indices[..., None], dim=1)


class SampleBatchDataset(Dataset[SampleBatch]):
    """Training batches of samples, with the same singers, utterances and crops as `SingerBatchDataset`.

    Args:
        store: samples, as frames of one bin.
        sampler: sampler that plans the batches of all ranks together, in frames.
        crop_frames: extractor of the frames of a crop.
        margin_samples: extra samples on both sides, for the augmentation.
        num_batches: number of batches.
        part: part of each batch that this rank loads.
        reads_samples: whether batches contain the samples, or only say where they are.
    """

    def __init__(
        self,
        store: PackedStore,
        sampler: SingerSampler,
        crop_frames: CropFeatureExtractor,
        margin_samples: int,
        num_batches: int,
        part: RankShard,
        reads_samples: bool = True,
    ) -> None:
        self.store, self.sampler, self.crop_extractor = store, sampler, crop_frames
        self.margin_samples, self.num_batches, self.shard = margin_samples, num_batches, part
        self.num_samples = crop_frames.num_samples + 2 * margin_samples
        self.reads_samples = reads_samples

    def __len__(self) -> int:
        return self.num_batches

    def __getitem__(self, step: int) -> SampleBatch:
        plan, crop_frames = self.sampler.plan_batch(step), self.crop_extractor
        part = self.shard.compute_slice(len(plan.singers))
        utterances, starts = plan.utterances[part], plan.starts[part]
        utterance_lengths = crop_frames.count_frames(self.store.num_frames[utterances.ravel()])
        first_frames = crop_frames.compute_first_frames(starts.ravel(), utterance_lengths)
        frame_indices = crop_frames.compute_frame_indices(utterance_lengths)
        first_samples = (first_frames - crop_frames.context_frames) * crop_frames.hop_samples - self.margin_samples
        samples = None
        if self.reads_samples:
            segments = read_reflected_segments(self.store, utterances.ravel(), first_samples, self.num_samples)
            samples = torch.from_numpy(segments.reshape(*utterances.shape, -1))
        return SampleBatch(
            samples,
            torch.from_numpy(first_samples.reshape(utterances.shape)),
            torch.from_numpy(frame_indices.reshape(*utterances.shape, -1)),
            torch.from_numpy(utterances),
            torch.from_numpy(plan.singers[part]),
        )


def read_reflected_segments(
    store: PackedStore, utterances: Int[np.ndarray, " crops"], first: Int[np.ndarray, " crops"], num_samples: int
) -> Num[np.ndarray, "crops samples"]:
    """Read segments of utterances, reflected at the ends of the utterance as often as needed.

    Args:
        store: the samples, as frames of one bin.
        utterances: indices into the store.
        first: first sample of each segment within its utterance; may be negative.
        num_samples: samples per segment.
    """
    lengths = store.num_frames[utterances]
    is_inside = (first >= 0) & (first + num_samples <= lengths)
    segments = np.empty((len(utterances), num_samples), store.frames.dtype)
    if is_inside.any():
        segments[is_inside] = store.read_crops(utterances[is_inside], first[is_inside], num_samples)[..., 0]
    for crop in np.flatnonzero(~is_inside):
        last = int(lengths[crop]) - 1
        indices = np.abs((first[crop] + np.arange(num_samples) + last) % (2 * last) - last)
        segments[crop] = store.get_utterance_frames(int(utterances[crop]))[indices, 0]
    return segments


class ResidentSamples:
    """All samples of a store in the memory of a GPU, which then cuts the segments of a batch itself.

    A batch of 640 segments of 1.7 s is 36 MB, and takes a loader longer to read and to hand over than a fast GPU takes
    for its training step.

    Args:
        store: samples, as frames of one bin.
        device: the GPU.
    """

    def __init__(self, store: PackedStore, device: torch.device) -> None:
        parts = np.array_split(store.frames, 1 + store.frames.nbytes // UPLOADED_BYTES)
        self.samples = torch.cat([torch.from_numpy(part[:, 0].copy()).to(device) for part in parts])
        rows = np.arange(len(store.num_frames)) if store.rows is None else store.rows
        self.offsets = torch.from_numpy(store.offsets[rows]).to(device)
        self.lengths = torch.from_numpy(store.num_frames).to(device)

    @staticmethod
    def fits(store: PackedStore, device: torch.device) -> bool:
        """Whether the samples of a store take a small part of the memory that is free on a device, which is a GPU."""
        return device.type == "cuda" and store.frames.nbytes <= MAX_MEMORY_SHARE * torch.cuda.mem_get_info(device)[0]

    def read_reflected_segments(
        self, utterances: Int[Tensor, " crops"], first: Int[Tensor, " crops"], num_samples: int
    ) -> Num[Tensor, "crops samples"]:
        """Read what the function `read_reflected_segments` reads."""
        last = (self.lengths[utterances] - 1).to(torch.int32)[:, None]
        position = first.to(torch.int32)[:, None] + torch.arange(num_samples, dtype=torch.int32, device=first.device)
        position = ((position + last) % (2 * last) - last).abs()
        return self.samples[self.offsets[utterances][:, None] + position]
