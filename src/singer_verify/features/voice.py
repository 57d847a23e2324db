"""The voice of a recording, for any recipe: pauses left out, the active level the same in every recording.

What a pause sounds like and how loud a recording is say nothing about the singer, so both are removed before a recipe
computes its frames.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from singer_verify.audio.activity import DEFAULT_ACTIVITY_DB, ActivityMeasures, ActivityMeter, VoiceActivity
from singer_verify.errors import require_between
from singer_verify.features.feature import Feature
from singer_verify.features.precomputed import PrecomputedFeature
from singer_verify.features.recipe import get_frame_settings
from singer_verify.features.trimming import TrimmedFeature, with_trimming

# Defaults of a training. The level is that of the softest singing of the example data's training singers (pianissimo,
# -40 dB): louder recordings are attenuated, so that no room noise is raised above the floor of the recipes.
DEFAULT_VOICE_SETTINGS: dict[str, Any] = {"activity_db": DEFAULT_ACTIVITY_DB, "pause_s": 0.0, "level_db": -40.0}


@dataclass(frozen=True)
class VoicePreparation:
    """Preparation of a recording before its recipe: pauses cut out, the active level set, or both.

    Attributes:
        activity_db: steps this far below the level of the voiced steps are pauses and left out, see
            `audio.activity`; None keeps pauses.
        level_db: active level that recordings are brought to, in dB relative to full scale; None keeps their own.
        pause_s: seconds of each pause that are kept all the same; where pauses are cut out.
    """

    activity_db: float | None
    level_db: float | None
    pause_s: float = 0.0

    @property
    def leaves_voice_alone(self) -> bool:
        """Whether nothing is left of a recording but its voice."""
        return self.activity_db is not None and not self.pause_s

    def decide(self, measures: ActivityMeasures) -> VoiceActivity:
        """Decide where a recording holds a voice.

        Raises:
            UtteranceError: less than half a second, and something is to be done to the recording.
        """
        activity = measures.find_voice(DEFAULT_ACTIVITY_DB if self.activity_db is None else self.activity_db)
        if self.activity_db is not None or self.level_db is not None:
            activity.require_voice()
        return replace(activity, pause_s=self.pause_s)

    def compute_gain(self, activity: VoiceActivity) -> float:
        """Compute the factor that brings a recording to the level."""
        return 1.0 if self.level_db is None else 10.0 ** ((self.level_db - activity.level_db) / 20.0)

    def prepare(
        self, blocks: Iterable[Float[np.ndarray, " _"]], activity: VoiceActivity
    ) -> Iterator[Float[np.ndarray, " _"]]:
        """Yield what recipes are given of a recording, block by block.

        Args:
            blocks: samples of the recording, in blocks of any lengths.
            activity: activity of the whole recording.
        """
        gain = np.float32(self.compute_gain(activity))
        for block in blocks if self.activity_db is None else activity.select(blocks):
            yield block if self.level_db is None else block * gain

    def count_samples(self, activity: VoiceActivity) -> int:
        """Count the samples that `prepare` yields."""
        return activity.num_samples if self.activity_db is None else activity.num_kept_samples

    def prepare_samples(self, samples: Float[Tensor, " samples"], sample_rate: int) -> Float[Tensor, " prepared"]:
        """Prepare a whole recording; differentiable, with the activity and the gain as constants.

        Raises:
            UtteranceError: less than half a second of voice.
        """
        meter = ActivityMeter(sample_rate)
        meter.update(samples.detach().cpu().numpy())
        activity = self.decide(meter.compute())
        if self.activity_db is not None:
            samples = torch.cat([samples[start:end] for start, end in activity.runs.tolist()])
        return samples if self.level_db is None else samples * self.compute_gain(activity)


class ActiveLevel(nn.Module):
    """Set the active level of samples that hold nothing but the voice, as `VoicePreparation` leaves them.

    Shape: (..., samples) → the same.

    Args:
        level_db: root mean square about the mean, in dB relative to full scale.
    """

    def __init__(self, level_db: float) -> None:
        super().__init__()
        self.deviation = 10.0 ** (level_db / 20.0)

    def forward(self, samples: Float[Tensor, "*batch samples"]) -> Float[Tensor, "*batch samples"]:
        centred = samples - samples.mean(dim=-1, keepdim=True)
        deviation = centred.square().mean(dim=-1, keepdim=True).clamp(min=1e-20).sqrt()  # clamped first: gradient at 0
        return samples * (self.deviation / deviation)


class VoiceFeature:
    """A feature of the voice of a recording.

    Shape: samples (samples,) → (frames, bins), of the prepared recording. Raises UtteranceError if the recording holds
    less than half a second of voice.

    Args:
        feature: feature that computes the frames.
        preparation: what is done to the recording first.
    """

    def __init__(self, feature: Feature, preparation: VoicePreparation) -> None:
        self.feature, self.preparation = feature, preparation
        self.sample_rate, self.hop_ms, self.num_bins = feature.sample_rate, feature.hop_ms, feature.num_bins

    @property
    def bandwidth_hz(self) -> float:
        return self.feature.bandwidth_hz

    @property
    def recipe(self) -> dict[str, Any]:
        return self.feature.recipe | {
            "activity_db": self.preparation.activity_db,
            "pause_s": self.preparation.pause_s,
            "level_db": self.preparation.level_db,
        }

    def __call__(self, samples: Float[Tensor, " samples"]) -> Float[Tensor, "frames bins"]:
        return self.feature(self.preparation.prepare_samples(samples, self.sample_rate))


def split_voice_feature(feature: Feature) -> tuple[Feature, VoicePreparation | None]:
    """Return the feature without the preparation of the voice, and that preparation, if any."""
    return (feature.feature, feature.preparation) if isinstance(feature, VoiceFeature) else (feature, None)


def build_voice_front_end(feature: Feature) -> nn.Module:
    """Return a feature as a module from samples of the voice alone, of any level.

    Raises:
        TypeError: the feature is computed outside torch.
    """
    front_end, preparation = split_voice_feature(feature)
    if not isinstance(front_end, nn.Module):
        raise TypeError(f"{type(front_end).__name__} is not a torch module")
    if preparation is None or preparation.level_db is None:
        return front_end
    return nn.Sequential(ActiveLevel(preparation.level_db), front_end)


def build_prepared_front_end(feature: Feature) -> nn.Module:
    """Return a feature as a module from samples as its preparation leaves them; of any level if they hold no pauses.

    Raises:
        TypeError: the feature is computed outside torch.
    """
    front_end, preparation = split_voice_feature(feature)
    if preparation is not None and preparation.leaves_voice_alone:
        return build_voice_front_end(feature)
    return build_voice_front_end(front_end)


def unwrap_feature(feature: Feature) -> Feature:
    """Return the feature itself, without what any feature may have done to its recording and frames."""
    while isinstance(feature, VoiceFeature | TrimmedFeature):
        feature = feature.feature
    return feature


def with_frame_settings(feature: Feature, recipe: dict[str, Any]) -> Feature:
    """Wrap a feature with what its recipe says that any feature may have done: voice, trimming, voiced frames.

    The settings of the voice do not apply to precomputed features, whose audio is unknown.

    Raises:
        SingerVerifyError: a setting is out of range, or one that precomputed features cannot have.
    """
    settings = get_frame_settings(recipe)
    activity_db, level_db, pause_s = settings["activity_db"], settings["level_db"], settings["pause_s"]
    require_between(0.0, 10.0, **{"features.pause_s": pause_s})
    if activity_db is not None:
        require_between(10.0, 100.0, **{"features.activity_db": activity_db})
    if level_db is not None:
        require_between(-60.0, -10.0, **{"features.level_db": level_db})
    trimmed = with_trimming(feature, recipe)
    if isinstance(feature, PrecomputedFeature) or (activity_db is None and level_db is None):
        return trimmed
    return VoiceFeature(trimmed, VoicePreparation(activity_db, level_db, float(pause_s)))
