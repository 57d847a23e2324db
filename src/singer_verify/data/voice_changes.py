"""Excerpts of recordings changed into other voices, and the frames of such excerpts.

An excerpt is a few seconds of a recording's voice, pauses left out. Some are taken as they are; the others are changed
by augmentations of samples whose ranges are so wide that pitch and formants become those of somebody else. Which
excerpts, and which changes, is a pure function of (seed, recording), so that two recipes compute the frames of the very
same excerpts, each into a store of its own.
"""

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import soxr
import torch
from hydra.utils import instantiate
from jaxtyping import Float, Int
from torch import Tensor

from singer_verify.audio.activity import DEFAULT_ACTIVITY_DB
from singer_verify.data.augmentation.augmentation import AugmentationChain
from singer_verify.errors import SingerVerifyError, require_at_least, require_attributes, require_between
from singer_verify.features.feature import Feature
from singer_verify.features.voice import ActiveLevel, VoicePreparation, split_voice_feature

EXCERPTS_PER_BATCH = 8
CHANGES_VERSION = 2  # raised whenever the same settings and seed give other excerpts, so that no old store is used
MAX_EXCERPTS = 4096  # of one recording; spread over all of it where it is longer
START_STREAM = 1 << 31  # between the sampler's streams and those of the augmentations
AUGMENTER_ATTRIBUTES = {
    "p": "the probability that an excerpt is changed",
    "num_draws": "the number of random numbers it takes per excerpt, an int",
    "context_ratio": "input length divided by valid output length, at least 1",
}


class VoiceChanges:
    """What is made of a recording: excerpts of its voice, as they are and changed.

    The number of excerpts follows from the duration of the voice: all of it is heard once unchanged, and `num_changes`
    times changed, each excerpt differently.

    Args:
        samples: settings of the augmentations of samples, by name, in their order.
        num_changes: number of times that a recording is heard changed.
        excerpt_s: duration of an excerpt, in seconds; shorter where a recording is.
        seed: seed of excerpts and changes.

    Raises:
        SingerVerifyError: a setting is out of range, or an augmentation lacks what `SampleAugmenter` asks for.
    """

    def __init__(self, samples: Mapping[str, Any], num_changes: int = 8, excerpt_s: float = 4.0, seed: int = 1) -> None:
        require_at_least(0, **{"data.changes.num_changes": num_changes, "data.changes.seed": seed})
        require_between(0.5, 60.0, **{"data.changes.excerpt_s": excerpt_s})
        self.settings = {
            "samples": {name: dict(augmenter) for name, augmenter in samples.items()},
            "num_changes": num_changes,
            "excerpt_s": float(excerpt_s),
            "seed": seed,
        }
        augmenters = {name: instantiate(dict(augmenter)) for name, augmenter in samples.items()}
        for name, augmenter in augmenters.items():
            require_attributes(f"data.changes.samples.{name}", augmenter, AUGMENTER_ATTRIBUTES)
        if num_changes and not augmenters:
            raise SingerVerifyError(
                f"data.changes.num_changes={num_changes}: data.changes.samples names no augmentation that could change "
                f"a voice; name some, or set num_changes=0."
            )
        self.chain = AugmentationChain(augmenters, {})
        self.num_changes, self.excerpt_s, self.seed = num_changes, float(excerpt_s), seed

    @property
    def recipe(self) -> dict[str, Any]:
        """What decides which excerpts there are and what they sound like, for the key of a store."""
        return self.settings | {"version": CHANGES_VERSION}

    def iterate_excerpts(
        self, samples: Float[Tensor, " samples"], sample_rate: int, activity_db: float | None = None
    ) -> Iterator[Float[Tensor, "excerpts samples"]]:
        """Yield all excerpts of a recording in batches; all have the same length.

        Args:
            samples: the recording.
            sample_rate: its sample rate, in Hz.
            activity_db: what is this far below the level of the voice is a pause, see `VoicePreparation`; None takes
                the default, so that no excerpt is silent.

        Raises:
            UtteranceError: the recording holds less than half a second of voice.
        """
        preparation = VoicePreparation(DEFAULT_ACTIVITY_DB if activity_db is None else activity_db, None)
        voice = preparation.prepare_samples(samples, sample_rate)
        length = self._fit_length(len(voice), sample_rate)
        margin = self.chain.compute_margin_samples(length)
        num_unchanged, num_excerpts = self._count_excerpts(len(voice) / sample_rate)
        recording = int.from_bytes(hashlib.blake2b(voice.numpy().tobytes(), digest_size=7).digest(), "big")
        starts = self._draw_starts(len(voice) - length - 2 * margin, num_unchanged, num_excerpts, recording)
        for first in range(0, num_excerpts, EXCERPTS_PER_BATCH):
            end = min(first + EXCERPTS_PER_BATCH, num_excerpts)
            wide = torch.stack([voice[start : start + length + 2 * margin] for start in starts[first:end].tolist()])
            first_changed = min(max(num_unchanged, first), end)
            excerpts = [wide[: first_changed - first, margin : margin + length]]
            if first_changed < end:
                draws = self.chain.draw(self.seed, recording, range(first_changed, end))
                changed = wide[first_changed - first :]
                excerpts.append(self.chain.augment_samples(changed, draws, length, sample_rate))
            yield torch.cat(excerpts)

    def _fit_length(self, num_samples: int, sample_rate: int) -> int:
        """Return the length of an excerpt; with the margins of its changes it fits into the voice."""
        length = min(round(self.excerpt_s * sample_rate), num_samples)
        while length + 2 * self.chain.compute_margin_samples(length) > num_samples:
            length -= 1 + length // 100
        return length

    def _count_excerpts(self, voice_s: float) -> tuple[int, int]:
        """Return the number of unchanged excerpts, which come first, and of all."""
        times = 1 + self.num_changes
        num_excerpts = min(max(round(times * voice_s / self.excerpt_s), 1), MAX_EXCERPTS)
        return max(round(num_excerpts / times), 1), num_excerpts

    def _draw_starts(
        self, last_start: int, num_unchanged: int, num_excerpts: int, recording: int
    ) -> Int[np.ndarray, " excerpts"]:
        """Spread the excerpts over the recording: evenly the unchanged, at random within equal parts the others."""
        generator = np.random.Generator(np.random.Philox(key=[self.seed, START_STREAM], counter=[0, 0, 0, recording]))
        num_changed = num_excerpts - num_unchanged
        unchanged = (np.arange(num_unchanged) + 0.5) / num_unchanged
        changed = (np.arange(num_changed) + generator.random(num_changed)) / max(num_changed, 1)
        return (np.concatenate([unchanged, changed]) * (last_start + 1)).astype(np.int64)


def resample_excerpt(excerpt: Float[Tensor, " samples"], given: int, wanted: int) -> Float[Tensor, " resampled"]:
    """Return an excerpt at another sample rate, in Hz."""
    if given == wanted:
        return excerpt
    return torch.from_numpy(np.ascontiguousarray(soxr.resample(excerpt.numpy(), given, wanted, quality="HQ")))


class ChangedVoices:
    """A feature whose frames are those of all excerpts of a recording, one after another, each of `num_frames` frames.

    What the feature does to any recording is done to each excerpt; an excerpt with fewer frames is repeated.

    Shape: samples (samples,) → (excerpts × num_frames, bins).

    Args:
        feature: feature that computes the frames.
        changes: excerpts and their changes.
        sample_rate: sample rate at which voices are changed, in Hz.
    """

    def __init__(self, feature: Feature, changes: VoiceChanges, sample_rate: int) -> None:
        self.whole_feature, self.changes, self.sample_rate = feature, changes, sample_rate
        self.feature, preparation = split_voice_feature(feature)
        self.preparation = VoicePreparation(None, None) if preparation is None else preparation
        self.hop_ms, self.num_bins = feature.hop_ms, feature.num_bins
        self.num_frames = round(1000.0 * changes.excerpt_s / feature.hop_ms)
        level_db = self.preparation.level_db
        self.set_level = torch.nn.Identity() if level_db is None else ActiveLevel(level_db)

    @property
    def bandwidth_hz(self) -> float:
        return self.feature.bandwidth_hz

    @property
    def recipe(self) -> dict[str, Any]:
        return {
            "_target_": f"{__name__}.{type(self).__name__}",
            "feature": self.whole_feature.recipe,
            "changes": self.changes.recipe,
            "sample_rate": self.sample_rate,
        }

    def __call__(self, samples: Float[Tensor, " samples"]) -> Float[Tensor, "frames bins"]:
        batches = self.changes.iterate_excerpts(samples, self.sample_rate, self.preparation.activity_db)
        return torch.cat([self._compute_frames(excerpt) for excerpts in batches for excerpt in excerpts])

    def _compute_frames(self, excerpt: Float[Tensor, " samples"]) -> Float[Tensor, "num_frames bins"]:
        resampled = resample_excerpt(excerpt, self.sample_rate, self.feature.sample_rate)
        frames = self.feature(self.set_level(resampled))
        return frames[torch.arange(self.num_frames) % len(frames)]
