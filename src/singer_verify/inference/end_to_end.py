"""A model as one torch module, from samples to embeddings: differentiable, on any device, traceable for ONNX."""

import copy
from typing import Literal, get_args

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from singer_verify.audio.loading import MAX_PEAK, MIN_PEAK
from singer_verify.errors import SingerVerifyError, UtteranceError, require_choice
from singer_verify.features.deltas import Deltas
from singer_verify.features.feature import Feature
from singer_verify.features.mel import MelSpectrogram
from singer_verify.features.mfcc import Mfcc
from singer_verify.features.normalisation import GLOBAL_NORMALISATIONS, MIN_RELATIVE_DEVIATION, Normalisation
from singer_verify.features.precomputed import PrecomputedFeature
from singer_verify.features.resemblyzer import Resemblyzer
from singer_verify.features.stack import FeatureStack
from singer_verify.features.trimming import TrimmedFeature
from singer_verify.features.voice import ActiveLevel, VoiceFeature, VoicePreparation, split_voice_feature
from singer_verify.inference.frames import MIN_RECORDING_S

WithoutVoice = Literal["refuse", "whole"]
MAX_SEARCH_S = 60  # long enough for a frame of any recipe


class FrameNormalisation(nn.Module):
    """`Normalisation.normalise` for a batch of recordings of one length, each by its own statistics.

    Statistics are computed in double precision, frames are scaled in single precision, as there.

    Shape: (recordings, frames, bins) → the same.

    Args:
        normalisation: normalisation with the statistics of the training split, if it needs them.

    Raises:
        SingerVerifyError: it needs them and has none.
    """

    offset: Tensor
    scale: Tensor

    def __init__(self, normalisation: Normalisation) -> None:
        super().__init__()
        self.name = normalisation.name
        if self.name in GLOBAL_NORMALISATIONS:
            scaling = normalisation.compute_scaling(
                np.zeros((0, 0)), np.zeros(2, np.int64)
            )  # independent of the recording
            for name, values in scaling._asdict().items():
                self.register_buffer(name, torch.from_numpy(values.astype(np.float32)), persistent=False)

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
        """Return the offset and the divisor."""
        if self.name == "utterance_zero_one":
            lowest = frames.amin(dim=(1, 2), keepdim=True)
            return lowest, frames.amax(dim=(1, 2), keepdim=True) - lowest
        over = (1,) if self.name in ("utterance_bins", "utterance_mean") else (1, 2)
        mean = frames.mean(dim=over, keepdim=True)
        if self.name == "utterance_mean":
            return mean, torch.ones_like(mean)
        return mean, (frames - mean).square().mean(dim=over, keepdim=True).sqrt()


def find_torch_obstacle(feature: Feature) -> str | None:
    """Describe what part of a recipe is computed outside torch; None where nothing is.

    The preparation of the voice is left aside: it decides outside torch, but what it changes is differentiable.
    """
    if isinstance(feature, VoiceFeature):
        return find_torch_obstacle(feature.feature)
    if isinstance(feature, PrecomputedFeature):
        return "its frames are precomputed, and how to compute them from samples is not known"
    if isinstance(feature, TrimmedFeature):
        done = "silence is trimmed" if feature.trim_silence_db is not None else "unvoiced frames are dropped"
        return f"{done}, which depends on the recording"
    if isinstance(feature, Resemblyzer):
        return "Resemblyzer's recipe changes the length of a recording step by step in Python"
    if not isinstance(feature, nn.Module):
        return (
            f"{type(feature).__name__} is no torch.nn.Module; one that maps (..., samples) to (..., frames, bins) in "
            f"torch can"
        )
    if isinstance(feature, MelSpectrogram) and feature.waveform_filter.high_pass_hz:
        return "its high-pass filter is computed by scipy, outside torch"
    return next(filter(None, map(find_torch_obstacle, _get_inner_features(feature))), None)


def find_min_samples(feature: Feature) -> int:
    """Return the smallest number of samples of voice for which the recipe computes a frame, by bisection."""
    feature, _ = split_voice_feature(feature)
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
        return [feature.base]
    return [feature.mel] if isinstance(feature, Mfcc) else []


class EndToEndModel(nn.Module):
    """`Model.embed` as a torch module, for a batch of recordings of one length.

    Shape: samples (recordings, samples), or frames (recordings, frames, bins) without a front end
    → (recordings, embedding), rows of unit length.

    Args:
        front_end: samples (recordings, samples) → frames (recordings, frames, bins); None where frames are given.
        normalisation: normalisation of the frames of a recording.
        encoder: (windows, frames, bins) → (windows, embedding).
        window_frames: length of a window.
        preparation: what is done to samples before the front end, to each recording by itself; None does nothing.
        sample_rate: sample rate of the samples, in Hz.
        without_voice: what is done about a recording without half a second of voice: `refuse` it, or embed it as a
            `whole`, at the active level that voices are brought to.
    """

    def __init__(
        self,
        front_end: nn.Module | None,
        normalisation: Normalisation,
        encoder: nn.Module,
        window_frames: int,
        preparation: VoicePreparation | None = None,
        sample_rate: int = 16_000,
        without_voice: WithoutVoice = "refuse",
    ) -> None:
        super().__init__()
        self.front_end = nn.Identity() if front_end is None else front_end
        self.scaling = FrameNormalisation(normalisation)
        self.encoder, self.window_frames = encoder, window_frames
        self.preparation, self.sample_rate, self.without_voice = preparation, sample_rate, without_voice
        self.eval()

    def train(self, mode: bool = True) -> "EndToEndModel":
        """Stay in evaluation mode, whatever the mode of a module around it.

        Dropout or batch statistics would change the meaning of embeddings.
        """
        return super().train(False)

    def forward(self, recordings: Float[Tensor, "*recordings"]) -> Float[Tensor, "batch embedding"]:
        if self.preparation is None:
            return self._embed_equally_long(recordings)
        voices = [self._prepare_voice(number, recording) for number, recording in enumerate(recordings)]
        return torch.cat([self._embed_equally_long(voice[None]) for voice in voices])

    def _prepare_voice(self, number: int, recording: Float[Tensor, " samples"]) -> Float[Tensor, " voice"]:
        assert self.preparation is not None
        try:
            return self.preparation.prepare_samples(recording, self.sample_rate)
        except UtteranceError as error:
            if self.without_voice == "refuse":
                raise UtteranceError(f"samples, row {number}: {error}") from error
        level_db = self.preparation.level_db
        return recording if level_db is None else ActiveLevel(level_db)(recording)

    def _embed_equally_long(self, recordings: Float[Tensor, "*recordings"]) -> Float[Tensor, "batch embedding"]:
        frames = self.scaling(self.front_end(recordings))
        windows = cut_windows(frames, self.window_frames)
        embeddings = self.encoder(windows.flatten(0, 1)).unflatten(0, (frames.shape[0], -1))
        return normalize(embeddings.sum(dim=1), dim=1)


class DifferentiableModel(EndToEndModel):
    """An `EndToEndModel` whose recurrent layers can be differentiated on a GPU too.

    cuDNN computes gradients through recurrent layers in training mode only, which differs from evaluation mode by
    dropout between layers alone; so these layers are in training mode, without dropout.
    """

    def train(self, mode: bool = True) -> "DifferentiableModel":
        super().train(False)
        for part in self.modules():
            if isinstance(part, nn.RNNBase):
                part.dropout, part.training = 0.0, True
        return self


def build_end_to_end_model(
    feature: Feature,
    normalisation: Normalisation,
    encoder: nn.Module,
    window_frames: int,
    without_voice: WithoutVoice = "refuse",
) -> DifferentiableModel:
    """Build a differentiable module from samples to embeddings, with a copy of the feature and of the encoder.

    Raises:
        SingerVerifyError: the recipe is computed outside torch, or `without_voice` is none of the choices.
    """
    require_choice(get_args(WithoutVoice), without_voice=without_voice)
    if (obstacle := find_torch_obstacle(feature)) is not None:
        raise SingerVerifyError(
            f"the recipe cannot run inside torch: {obstacle}; compute its frames beforehand and use model.encoder."
        )
    front_end, preparation = split_voice_feature(copy.deepcopy(feature))
    assert isinstance(front_end, nn.Module)
    return DifferentiableModel(
        front_end,
        normalisation,
        copy.deepcopy(encoder),
        window_frames,
        preparation,
        feature.sample_rate,
        without_voice,
    )


def require_usable_samples(batch: Float[Tensor, "batch samples"], sample_rate: int) -> None:
    """Refuse what `load_audio` and `load_frames` refuse of a recording.

    Raises:
        UtteranceError: a row holds NaN, is silent, too loud or too short.
    """
    if batch.shape[1] < MIN_RECORDING_S * sample_rate:
        raise UtteranceError(
            f"samples: {batch.shape[1] / sample_rate:.2f} s; expected at least {MIN_RECORDING_S:g} s of singing."
        )
    for row, peak in enumerate(batch.abs().amax(dim=1).tolist()):
        if not MIN_PEAK <= peak <= MAX_PEAK:  # false for NaN as well
            raise UtteranceError(
                f"samples, row {row}: peak {peak:g}; expected floats in [-1, 1] that are not silent throughout."
            )


def cut_windows(
    frames: Float[Tensor, "recordings frames bins"], window_frames: int
) -> Float[Tensor, "recordings windows window_frames bins"]:
    """Cut recordings of one length into windows; a recording no longer than a window is one shorter window."""
    length = torch.sym_min(frames.shape[1], window_frames)
    starts = compute_traceable_window_starts(frames.shape[1], window_frames, frames.device)
    places = starts[:, None] + torch.arange(length, device=frames.device)
    return frames.index_select(1, places.flatten()).unflatten(1, (-1, length))


def compute_traceable_window_starts(
    num_frames: int, window_frames: int, device: torch.device | None = None
) -> Int[Tensor, " windows"]:
    """Compute `data.windows.compute_window_starts` without branches, which a trace would decide once and for all.

    Args:
        num_frames: number of frames of a recording; may be a symbol.
        window_frames: length of a window.
        device: device of the result.
    """
    hop = max(window_frames // 2, 1)
    beyond_first = num_frames - torch.sym_min(num_frames, window_frames)
    num_hops = (beyond_first + hop - 1) // hop
    last = torch.scalar_tensor(beyond_first, dtype=torch.float64, device=device)
    # in the order of operations of numpy.linspace, so that halves are rounded to the same side
    step = last / torch.scalar_tensor(torch.sym_max(num_hops, 1), dtype=torch.float64, device=device)
    return (torch.arange(num_hops + 1, device=device) * step).round().long()
