"""Any recipe without the silence around the singing, or without its unvoiced frames."""

from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from singer_verify.errors import SingerVerifyError, UtteranceError, require_between
from singer_verify.features import Feature
from singer_verify.features.ready import Ready, read_feat_params
from singer_verify.features.recipe import preparation
from singer_verify.features.silence import sounding
from singer_verify.features.voicing import is_voiced


class Prepared:
    """A feature whose frames are those of a trimmed recording, or the voiced ones alone; never both settings off.

    Shape: samples (samples,) → (frames, bins). What is left of a recording may be too short for the feature, or no
    frame be voiced: an UtteranceError says so.

    Args:
        feature: makes the frames.
        trim_silence_db: silence before and after the singing that is this much under the loudest sound is cut off;
            None keeps it.
        voiced_only: leave out frames that have no pitch.
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
        return self.with_times(samples)[0]

    def with_times(
        self, samples: Float[Tensor, " samples"]
    ) -> tuple[Float[Tensor, "frames bins"], Float[Tensor, " frames"]]:
        """The frames, and when each of them is in the recording, in seconds."""
        first, kept = 0, samples
        if self.trim_silence_db is not None:
            first, end = sounding(samples, self.sample_rate, self.trim_silence_db)
            kept = samples[first:end]
        try:
            frames = self.feature(kept)
        except UtteranceError as error:
            trimmed = "without the silence around it, " if len(kept) < len(samples) else ""
            raise UtteranceError(f"{trimmed}{error}") from error
        times_s = first / self.sample_rate + torch.arange(len(frames), dtype=torch.float64) * (self.hop_ms / 1000.0)
        if not self.voiced_only:
            return frames, times_s
        voiced = is_voiced(kept, self.sample_rate, self.hop_ms, len(frames))
        if not voiced.any():
            raise UtteranceError("has no voiced frame; delete it, or set features.voiced_only=false.")
        return frames[voiced], times_s[voiced]


def prepared(feature: Feature, recipe: dict[str, Any]) -> Feature:
    """The feature with what a whole recipe says of silence and voicing; the feature itself where it says nothing.

    Raises:
        SingerVerifyError: a setting out of range, or one for ready features.
    """
    settings = preparation(recipe)
    trim_silence_db, voiced_only = settings["trim_silence_db"], settings["voiced_only"]
    if trim_silence_db is None and voiced_only is False:
        return feature
    if trim_silence_db is not None:
        require_between(1.0, 100.0, **{"features.trim_silence_db": trim_silence_db})
    if not isinstance(voiced_only, bool):
        raise SingerVerifyError(f"features.voiced_only={voiced_only}: expected true or false.")
    if isinstance(feature, Ready):
        raise SingerVerifyError(
            f"features.trim_silence_db={trim_silence_db}, features.voiced_only={voiced_only}: expected null and false, "
            f"because the features are ready-made: no samples tell where they are silent or voiced."
        )
    return Prepared(feature, trim_silence_db, voiced_only)


def ready_instead(feature: Feature, root: Path) -> Ready:
    """The recipe of a corpus of ready features, in place of the one that was asked for.

    Raises:
        SingerVerifyError: its `feat_params.yaml` cannot be used, or it is asked to be trimmed.
    """
    ready = read_feat_params(root)
    prepared(ready, feature.recipe)
    return ready
