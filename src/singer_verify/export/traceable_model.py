"""The normalisation of frames in torch operations."""

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from singer_verify.errors import UtteranceError
from singer_verify.features.deltas import Deltas
from singer_verify.features.feature import Feature
from singer_verify.features.mel import MelSpectrogram
from singer_verify.features.mfcc import Mfcc
from singer_verify.features.normalisation import GLOBAL_NORMALISATIONS, MIN_RELATIVE_DEVIATION, Normalisation
from singer_verify.features.precomputed import PrecomputedFeature
from singer_verify.features.resemblyzer import Resemblyzer
from singer_verify.features.stack import FeatureStack
from singer_verify.features.trimming import TrimmedFeature


class FrameNormalisation(nn.Module):
    """`Normalisation.normalised` for a batch of recordings of one length, each by its own figures.

    Figures are taken in double precision, frames are scaled in single, as there.

    Shape: (recordings, frames, bins) → the same.

    Args:
        normalisation: with the figures of the training split, if it needs them.

    Raises:
        SingerVerifyError: it needs them, and they are not known.
    """

    offset: Tensor
    scale: Tensor

    def __init__(self, normalisation: Normalisation) -> None:
        super().__init__()
        self.name = normalisation.name
        if self.name in GLOBAL_NORMALISATIONS:
            scaling = normalisation.scaling(np.zeros((0, 0)), np.zeros(2, np.int64))  # the recording decides nothing
            for name, figures in scaling._asdict().items():
                self.register_buffer(name, torch.from_numpy(figures.astype(np.float32)), persistent=False)

    def forward(self, frames: Float[Tensor, "recordings frames bins"]) -> Float[Tensor, "recordings frames bins"]:
        if self.name == "none":
            return frames
        if self.name in GLOBAL_NORMALISATIONS:
            return (frames - self.offset) / self.scale
        level, spread = self._compute_statistics(frames.double())
        divisor = torch.where(spread <= MIN_RELATIVE_DEVIATION * level.abs(), 1.0, spread)
        return (frames - level.float()) / divisor.float()

    def _compute_statistics(
        self, frames: Float[Tensor, "recordings frames bins"]
    ) -> tuple[Float[Tensor, "recordings 1 width"], Float[Tensor, "recordings 1 width"]]:
        """What is subtracted, and what is divided by."""
        if self.name == "utterance_zero_one":
            lowest = frames.amin(dim=(1, 2), keepdim=True)
            return lowest, frames.amax(dim=(1, 2), keepdim=True) - lowest
        over = (1,) if self.name == "utterance_bins" else (1, 2)
        mean = frames.mean(dim=over, keepdim=True)
        return mean, (frames - mean).square().mean(dim=over, keepdim=True).sqrt()


MAX_SEARCH_S = 60  # within which every recipe makes a frame


def find_export_obstacle(feature: Feature) -> str | None:
    """What of a recipe happens outside torch, so that no graph of it can be made; None where nothing does."""
    if isinstance(feature, PrecomputedFeature):
        return "its frames come ready-made, and nothing here tells how to make them from samples"
    if isinstance(feature, TrimmedFeature):
        done = "silence is cut off" if feature.trim_silence_db is not None else "unvoiced frames are left out"
        return f"{done} as the recording has it"
    if isinstance(feature, Resemblyzer):
        return "Resemblyzer's recipe changes the length of a recording step by step in Python"
    if not isinstance(feature, nn.Module):
        return f"{type(feature).__name__} is computed by WORLD, outside torch"
    if isinstance(feature, MelSpectrogram) and feature.waveform_filter.high_pass_hz:
        return "its high-pass filter is computed by scipy, outside torch"
    return next(filter(None, map(find_export_obstacle, _get_inner_features(feature))), None)


def find_min_samples(feature: Feature) -> int:
    """The fewest samples that the recipe makes frames of, found by trying."""
    too_few, enough = 0, MAX_SEARCH_S * feature.sample_rate
    while enough - too_few > 1:
        tried = (too_few + enough) // 2
        try:
            feature(torch.zeros(tried))
            enough = tried
        except UtteranceError:
            too_few = tried
    return enough


def _get_inner_features(feature: Feature) -> list[Feature]:
    if isinstance(feature, FeatureStack):
        return feature.parts
    if isinstance(feature, Deltas):
        return [feature.of]
    return [feature.mel] if isinstance(feature, Mfcc) else []


class EndToEndModel(nn.Module):
    """What `Embedder` does to one recording, for recordings of one length at a time.

    Shape: samples (recordings, samples), or frames (recordings, frames, bins) where there is no front end
    → (recordings, embedding), rows of unit length.

    Args:
        front_end: samples (recordings, samples) → frames (recordings, frames, bins); None where frames are given.
        normalisation: of the frames of a recording.
        encoder: (windows, frames, bins) → (windows, embedding).
        window_frames: length of a window.
    """

    def __init__(
        self, front_end: nn.Module | None, normalisation: Normalisation, encoder: nn.Module, window_frames: int
    ) -> None:
        super().__init__()
        self.front_end = nn.Identity() if front_end is None else front_end
        self.scaling = FrameNormalisation(normalisation)
        self.encoder, self.window_frames = encoder, window_frames

    def forward(self, recordings: Float[Tensor, "*recordings"]) -> Float[Tensor, "batch embedding"]:
        frames = self.scaling(self.front_end(recordings))
        windows = cut_windows(frames, self.window_frames)
        embeddings = self.encoder(windows.flatten(0, 1)).unflatten(0, (frames.shape[0], -1))
        return normalize(embeddings.sum(dim=1), dim=1)


def cut_windows(
    frames: Float[Tensor, "recordings frames bins"], window_frames: int
) -> Float[Tensor, "recordings windows window_frames bins"]:
    """The windows of recordings of one length; one window of its own length where that is no longer than a window."""
    length = torch.sym_min(frames.shape[1], window_frames)
    starts = compute_traceable_window_starts(frames.shape[1], window_frames)
    places = starts[:, None] + torch.arange(length)
    return frames.index_select(1, places.flatten()).unflatten(1, (-1, length))


def compute_traceable_window_starts(num_frames: int, window_frames: int) -> Int[Tensor, " windows"]:
    """`data.windows.compute_window_starts` without branches, which a trace would decide once and for all.

    Args:
        num_frames: of a recording; may be a symbol.
        window_frames: length of a window.
    """
    hop = max(window_frames // 2, 1)
    beyond_first = num_frames - torch.sym_min(num_frames, window_frames)
    num_hops = (beyond_first + hop - 1) // hop
    last = torch.scalar_tensor(beyond_first, dtype=torch.float64)
    # in the order of operations of numpy.linspace, so that halves are rounded to the same side
    step = last / torch.scalar_tensor(torch.sym_max(num_hops, 1), dtype=torch.float64)
    return (torch.arange(num_hops + 1) * step).round().long()
