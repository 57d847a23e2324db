"""A recording as the frames that a model takes, however long it is."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float

from singer_verify.audio import AUDIO_SUFFIXES
from singer_verify.audio.hearing import Heard, hear
from singer_verify.audio.sound import Sound
from singer_verify.errors import UtteranceError
from singer_verify.features import Feature, FramewiseFeature
from singer_verify.features.normalisation import GLOBAL, Normalisation, Scaling
from singer_verify.features.pieces import frame_pieces, in_pieces
from singer_verify.features.prepared import Prepared
from singer_verify.features.ready import Ready
from singer_verify.features.statistics import as_one, frame_statistics
from singer_verify.store.utterances import frames_of_file

SHORTEST_S = 0.5

Frames = Float[torch.Tensor, "frames bins"]


@dataclass(frozen=True)
class Facts:
    """What is known of a recording besides its frames.

    Attributes:
        name: its path, or what it is called.
        num_frames: that it has.
        times_s: (frames,), when each frame is, where that is not frame number × hop; else None.
        seconds: that it lasts.
        power: (steps,), mean square of its samples in each of equal steps of time; None for ready features.
        power_step_s: length of a step.
        has_two_voices: its channels differ as voices do.
    """

    name: str
    num_frames: int
    times_s: Float[np.ndarray, " frames"] | None
    seconds: float
    power: Float[np.ndarray, " steps"] | None
    power_step_s: float
    has_two_voices: bool


class Opened(NamedTuple):
    """A recording that can be embedded: what is known of it, and its frames, normalised, one piece after another, as
    often as they are called for."""

    facts: Facts
    pieces: Callable[[], Iterator[Frames]]


@torch.inference_mode()
def opened(recording: Path | Sound, feature: Feature, normalisation: Normalisation) -> Opened:
    """Make a recording ready to be embedded.

    Recordings of up to two minutes are decoded once. Of longer ones no more than some seconds are held at any time:
    they are decoded twice, three times where the normalisation takes its figures from the whole recording, and their
    frames are computed piece by piece. A recipe whose frames need the whole recording (WORLD, pitch, silence trimmed,
    high-pass, `cqt`) holds all of its samples and frames, also where it is an hour long.

    Raises:
        UtteranceError: it cannot be used; the sentence begins with its name.
        SingerVerifyError: the model takes ready features, and this is audio.
    """
    name = str(recording)
    if isinstance(feature, Ready):
        if isinstance(recording, Sound) or recording.suffix.lower() in AUDIO_SUFFIXES:
            feature(torch.zeros(0))  # which refuses
        return _opened_ready(recording, feature, normalisation)
    heard = hear(recording, feature.sample_rate, feature.bandwidth_hz)
    if heard.seconds < SHORTEST_S:
        raise UtteranceError(f"{name}: lasts {heard.seconds:.2f} s; expected at least {SHORTEST_S:g} s of singing.")
    try:
        if heard.samples is None and (framewise := in_pieces(feature)) is not None:
            return _opened_long(name, heard, framewise, normalisation)
        return _opened_whole(name, heard, feature, normalisation)
    except UtteranceError as error:
        raise UtteranceError(f"{name}: {error}") from error


def _opened_ready(recording: Path | Sound, feature: Ready, normalisation: Normalisation) -> Opened:
    frames = _normalised(frames_of_file(Path(str(recording)), feature), normalisation)
    seconds = len(frames) * feature.hop_ms / 1000
    return Opened(Facts(str(recording), len(frames), None, seconds, None, 1.0, False), lambda: iter([frames]))


def _opened_whole(name: str, heard: Heard, feature: Feature, normalisation: Normalisation) -> Opened:
    samples = torch.from_numpy(np.concatenate(list(heard.blocks())) if heard.samples is None else heard.samples)
    times_s = None
    if isinstance(feature, Prepared):
        frames, times = feature.with_times(samples)
        times_s = times.numpy()
    else:
        frames = feature(samples)
    frames = _normalised(_finite(frames), normalisation)
    return Opened(_facts(name, heard, len(frames), times_s), lambda: iter([frames]))


def _opened_long(name: str, heard: Heard, feature: FramewiseFeature, normalisation: Normalisation) -> Opened:
    facts = _facts(name, heard, 1 + heard.num_samples // feature.hop_samples)

    def pieces() -> Iterator[Frames]:
        blocks = (torch.from_numpy(block) for block in heard.blocks())
        return map(_finite, frame_pieces(feature, blocks))

    if normalisation.name == "none":
        return Opened(facts, pieces)
    if normalisation.name in GLOBAL:
        scaling = normalisation.scaling(np.zeros((0, feature.num_bins)), np.zeros(2, np.int64))
    else:
        of_pieces = [frame_statistics(piece.numpy(), np.array([0, len(piece)])) for piece in pieces()]
        scaling = normalisation.scaling_by(as_one(of_pieces))
    return Opened(facts, lambda: (_scaled(piece, scaling) for piece in pieces()))


def _facts(name: str, heard: Heard, num_frames: int, times_s: Float[np.ndarray, " frames"] | None = None) -> Facts:
    return Facts(name, num_frames, times_s, heard.seconds, heard.power, heard.power_step_s, heard.has_two_voices)


def _normalised(frames: Frames, normalisation: Normalisation) -> Frames:
    return torch.from_numpy(normalisation.normalised(frames.numpy()))


def _scaled(frames: Frames, scaling: Scaling) -> Frames:
    return torch.from_numpy(scaling.apply(frames.numpy()[None], np.zeros(1, np.int64))[0])


def _finite(frames: Frames) -> Frames:
    if not frames.isfinite().all():
        raise UtteranceError("its frames hold NaN or infinite values; check the recording.")
    return frames
