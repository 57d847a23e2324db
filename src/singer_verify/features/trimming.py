"""Trimming for any recipe: removes silence around the singing or unvoiced frames."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from singer_verify.errors import SingerVerifyError, UtteranceError, require_between
from singer_verify.features.f0 import detect_voiced_frames
from singer_verify.features.feature import Feature
from singer_verify.features.precomputed import PrecomputedFeature, read_feat_params
from singer_verify.features.recipe import get_frame_settings

TRIM_WINDOW_MS, TRIM_HOP_MS = 64, 16


class TrimmedFeature:
    """A feature restricted to a trimmed recording, to voiced frames, or both.

    Shape: samples (samples,) → (frames, bins). Raises UtteranceError if the trimmed recording is too short for
    the feature or has no voiced frame.

    Args:
        feature: feature that computes the frames.
        trim_silence_db: level below the loudest window at which leading and trailing audio is cut; None keeps it.
        voiced_only: whether to drop frames without pitch.
    """

    def __init__(self, feature: Feature, trim_silence_db: float | None, voiced_only: bool) -> None:
        self.feature, self.trim_silence_db, self.voiced_only = feature, trim_silence_db, voiced_only
        self.sample_rate, self.hop_ms, self.num_bins = feature.sample_rate, feature.hop_ms, feature.num_bins

    @property
    def bandwidth_hz(self) -> float:
        return self.feature.bandwidth_hz

    @property
    def recipe(self) -> dict[str, Any]:
        return self.feature.recipe | {"trim_silence_db": self.trim_silence_db, "voiced_only": self.voiced_only}

    def __call__(self, samples: Float[Tensor, " samples"]) -> Float[Tensor, "frames bins"]:
        return self.compute_with_times(samples)[0]

    def compute_with_times(
        self, samples: Float[Tensor, " samples"]
    ) -> tuple[Float[Tensor, "frames bins"], Float[Tensor, " frames"]]:
        """Compute the frames and the time of each in the recording, in seconds."""
        first, trimmed_samples = 0, samples
        if self.trim_silence_db is not None:
            first, end = find_trim_bounds(samples, self.sample_rate, self.trim_silence_db)
            trimmed_samples = samples[first:end]
        try:
            frames = self.feature(trimmed_samples)
        except UtteranceError as error:
            trimmed = "without the silence around it, " if len(trimmed_samples) < len(samples) else ""
            raise UtteranceError(f"{trimmed}{error}") from error
        times_s = first / self.sample_rate + torch.arange(len(frames), dtype=torch.float64) * (self.hop_ms / 1000.0)
        if not self.voiced_only:
            return frames, times_s
        voiced = detect_voiced_frames(trimmed_samples, self.sample_rate, self.hop_ms, len(frames))
        if not voiced.any():
            raise UtteranceError("has no voiced frame, and the recipe keeps no others (voiced_only=true).")
        return frames[voiced], times_s[voiced]


def with_trimming(feature: Feature, recipe: dict[str, Any]) -> Feature:
    """Wrap a feature with the trimming settings of its recipe; return it unchanged if both are off.

    Raises:
        SingerVerifyError: a setting is out of range, or set for precomputed features.
    """
    settings = get_frame_settings(recipe)
    trim_silence_db, voiced_only = settings["trim_silence_db"], settings["voiced_only"]
    if trim_silence_db is None and voiced_only is False:
        return feature
    if trim_silence_db is not None:
        require_between(1.0, 100.0, **{"features.trim_silence_db": trim_silence_db})
    if not isinstance(voiced_only, bool):
        raise SingerVerifyError(f"features.voiced_only={voiced_only}: expected true or false.")
    if isinstance(feature, PrecomputedFeature):
        raise SingerVerifyError(
            f"features.trim_silence_db={trim_silence_db}, features.voiced_only={voiced_only}: expected null and false, "
            f"because silence and voicing cannot be detected in precomputed features."
        )
    return TrimmedFeature(feature, trim_silence_db, voiced_only)


def substitute_precomputed_feature(feature: Feature, root: Path) -> PrecomputedFeature:
    """Return the recipe of a corpus of precomputed features instead of the configured one.

    Raises:
        SingerVerifyError: unusable `feat_params.yaml`, or trimming is requested.
    """
    precomputed = read_feat_params(root)
    with_trimming(precomputed, feature.recipe)
    return precomputed


def find_trim_bounds(samples: Float[Tensor, " samples"], sample_rate: int, trim_silence_db: float) -> tuple[int, int]:
    """Find the start of the first loud window and the end of the last, in samples; inner silences are kept.

    A window is loud if its mean power is less than `trim_silence_db` below that of the loudest one
    (`librosa.effects.trim`, with windows of 64 ms every 16 ms).

    Raises:
        UtteranceError: all samples are zero.
    """
    window, hop = (round(duration_ms * sample_rate / 1000) for duration_ms in (TRIM_WINDOW_MS, TRIM_HOP_MS))
    energy = torch.cat([samples.new_zeros(1, dtype=torch.float64), samples.double().square().cumsum(0)])
    centres = torch.arange(0, len(samples) + 1, hop)
    first = (centres - window // 2).clamp(min=0)
    end = (centres + window // 2).clamp(max=len(samples))
    power = energy[end] - energy[first]
    loud = (power > power.max() * 10.0 ** (-trim_silence_db / 10.0)).nonzero()
    if not len(loud):
        raise UtteranceError("is silent; delete it.")
    return int(loud[0]) * hop, min((int(loud[-1]) + 1) * hop, len(samples))
