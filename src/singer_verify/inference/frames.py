"""Frames of a recording, of any length: piece by piece where it is too long to hold, and equal to the whole's."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from singer_verify.audio import AUDIO_SUFFIXES
from singer_verify.audio.activity import VoiceActivity
from singer_verify.audio.clip import AudioClip
from singer_verify.audio.content import NO_CONTENT, compute_frames_content
from singer_verify.audio.scanning import RecordingScan, scan_recording
from singer_verify.errors import UtteranceError
from singer_verify.features.feature import Feature, FramewiseFeature, count_frames
from singer_verify.features.normalisation import (
    GLOBAL_NORMALISATIONS,
    Normalisation,
    Scaling,
    compute_frame_statistics,
    merge_frame_statistics,
)
from singer_verify.features.precomputed import PrecomputedFeature
from singer_verify.features.trimming import TrimmedFeature
from singer_verify.features.voice import VoicePreparation, split_voice_feature
from singer_verify.store.utterance_frames import extract_frames

DEFAULT_CHUNK_FRAMES = 3000
MIN_RECORDING_S = 0.5
KEEP_RECORDING = VoicePreparation(None, None)
Frames = Float[torch.Tensor, "frames bins"]


def narrow_to_framewise(feature: Feature) -> FramewiseFeature | None:
    """Return the feature if its frames depend on their neighbourhood only; None if on the whole recording."""
    is_framewise = isinstance(feature, FramewiseFeature) and feature.context_samples is not None
    return feature if is_framewise else None  # type: ignore[return-value]


def compute_frame_chunks(
    feature: FramewiseFeature, blocks: Iterable[Float[Tensor, " _"]], piece_frames: int = DEFAULT_CHUNK_FRAMES
) -> Iterator[Float[Tensor, "frames bins"]]:
    """Yield all frames of a recording, in order.

    Each piece is computed with enough context on either side that only the recording's own ends are reflected, so the
    frames equal those of the whole recording.

    Args:
        feature: a recipe with `context_samples`.
        blocks: samples of the recording, in blocks of any lengths.
        piece_frames: minimum number of frames computed at once, except for the last.
    """
    assert feature.context_samples is not None
    hop, context = feature.hop_samples, max(1, -(-feature.context_samples // feature.hop_samples))
    held = torch.zeros(0)
    before = 0  # frames that the held samples begin with, of those given already
    for block in blocks:
        held = torch.cat([held, block])
        ready = (len(held) - 1) // hop + 1 - context - before  # frames that do not see the end of what is held
        if ready >= piece_frames:
            yield feature(held[: (before + ready + context) * hop])[before : before + ready]
            dropped = max(before + ready - context, 0)
            held, before = held[dropped * hop :], before + ready - dropped
    last = feature(held)[before:]
    if len(last):
        yield last


@dataclass(frozen=True)
class RecordingInfo:
    """Properties of a recording.

    Attributes:
        name: path or name of the recording.
        num_frames: number of its frames.
        times_s: (frames,), time of each frame within the recording; None where it is frame number × hop.
        seconds: duration of the recording.
        activity: where it holds a voice; None for precomputed frames.
        without_pauses: whether the frames are those of the voice alone.
        has_two_voices: whether its two channels hold different voices.
        content: identity of what it sounds like, see `audio.content`.
        channel_remark: what had to be chosen to mix its channels, see `ChannelMix`.
    """

    name: str
    num_frames: int
    times_s: Float[np.ndarray, " frames"] | None
    seconds: float
    activity: VoiceActivity | None
    without_pauses: bool
    has_two_voices: bool
    content: int = NO_CONTENT
    channel_remark: str = ""


class RecordingVoice:
    """A scanned recording as its recipe is given it: without pauses, at the active level, or as it is.

    Args:
        name: path or name of the recording.
        scan: result of the pass over it.
        preparation: what is done to it before the recipe.

    Raises:
        UtteranceError: the preparation finds too little voice.
    """

    def __init__(self, name: str, scan: RecordingScan, preparation: VoicePreparation) -> None:
        self.name, self.scan, self.preparation = name, scan, preparation
        self.activity = preparation.decide(scan.activity)

    @property
    def num_samples(self) -> int:
        return self.preparation.count_samples(self.activity)

    def iter_blocks(self) -> Iterator[Float[np.ndarray, " _"]]:
        """Yield the samples that the recipe is given, block by block."""
        blocks = self.scan.iter_blocks() if self.scan.samples is None else iter([self.scan.samples])
        return self.preparation.prepare(blocks, self.activity)

    def build_info(
        self, num_frames: int, hop_ms: float, times_s: Float[np.ndarray, " frames"] | None = None
    ) -> RecordingInfo:
        """Build the properties of the recording.

        Args:
            num_frames: number of frames.
            hop_ms: time from frame to frame.
            times_s: time of each frame within what the recipe was given, where it is not frame number × hop.
        """
        if self.num_samples < self.scan.num_samples:
            times_s = np.arange(num_frames) * (hop_ms / 1000.0) if times_s is None else times_s
            times_s = self.activity.map_to_recording(times_s)
        return RecordingInfo(
            self.name,
            num_frames,
            times_s,
            self.scan.duration_s,
            self.activity,
            self.preparation.activity_db is not None,
            self.scan.has_two_voices,
            self.scan.content,
            self.scan.channel_remark,
        )


class LoadedRecording(NamedTuple):
    """A recording prepared for embedding: its properties, and a function that yields its normalised frames."""

    recording_info: RecordingInfo
    pieces: Callable[[], Iterator[Frames]]


@torch.inference_mode()
def load_frames(recording: Path | AudioClip, feature: Feature, normalisation: Normalisation) -> LoadedRecording:
    """Prepare a recording to be embedded.

    Recordings of up to two minutes are decoded once. Of longer ones, only a few seconds are held in memory at a time:
    they are decoded twice, or three times where the normalisation needs statistics of the whole recording, and their
    frames are computed piece by piece. A recipe whose frames depend on the whole recording (WORLD, pitch, trimmed
    silence, high-pass, `cqt`, `pcen`) holds all samples and frames, even of an hour.

    Raises:
        UtteranceError: it cannot be used; the message begins with its name.
        SingerVerifyError: the model takes precomputed frames, and this is audio.
    """
    name = str(recording)
    if isinstance(feature, PrecomputedFeature):
        if isinstance(recording, AudioClip) or recording.suffix.lower() in AUDIO_SUFFIXES:
            feature(torch.zeros(0))  # raises the error
        return _load_precomputed_frames(recording, feature, normalisation)
    scan = scan_recording(recording, feature.sample_rate, feature.bandwidth_hz)
    if scan.duration_s < MIN_RECORDING_S:
        raise UtteranceError(
            f"{name}: lasts {scan.duration_s:.2f} s; expected at least {MIN_RECORDING_S:g} s of singing."
        )
    feature, preparation = split_voice_feature(feature)
    try:
        voice = RecordingVoice(name, scan, preparation or KEEP_RECORDING)
        if scan.samples is None and (framewise := narrow_to_framewise(feature)) is not None:
            return _stream_frames(voice, framewise, normalisation)
        return _load_whole_frames(voice, feature, normalisation)
    except UtteranceError as error:
        raise UtteranceError(f"{name}: {error}") from error


def _load_precomputed_frames(
    recording: Path | AudioClip, feature: PrecomputedFeature, normalisation: Normalisation
) -> LoadedRecording:
    extracted = extract_frames(Path(str(recording)), feature)
    frames, content = _normalise_frames(extracted, normalisation), compute_frames_content(extracted.numpy())
    seconds = len(frames) * feature.hop_ms / 1000
    return LoadedRecording(
        RecordingInfo(str(recording), len(frames), None, seconds, None, False, False, content), lambda: iter([frames])
    )


def _load_whole_frames(voice: RecordingVoice, feature: Feature, normalisation: Normalisation) -> LoadedRecording:
    samples = torch.from_numpy(np.concatenate(list(voice.iter_blocks())))
    times_s = None
    if isinstance(feature, TrimmedFeature):
        frames, times = feature.compute_with_times(samples)
        times_s = times.numpy()
    else:
        frames = feature(samples)
    frames = _normalise_frames(_require_finite_frames(frames), normalisation)
    return LoadedRecording(voice.build_info(len(frames), feature.hop_ms, times_s), lambda: iter([frames]))


def _stream_frames(voice: RecordingVoice, feature: FramewiseFeature, normalisation: Normalisation) -> LoadedRecording:
    info = voice.build_info(count_frames(feature, voice.num_samples), feature.hop_ms)

    def pieces() -> Iterator[Frames]:
        blocks = (torch.from_numpy(block) for block in voice.iter_blocks())
        return map(_require_finite_frames, compute_frame_chunks(feature, blocks))

    if normalisation.name == "none":
        return LoadedRecording(info, pieces)
    if normalisation.name in GLOBAL_NORMALISATIONS:
        scaling = normalisation.compute_scaling(np.zeros((0, feature.num_bins)), np.zeros(2, np.int64))
    else:
        of_pieces = [compute_frame_statistics(piece.numpy(), np.array([0, len(piece)])) for piece in pieces()]
        scaling = normalisation.compute_scaling_from_statistics(merge_frame_statistics(of_pieces))
    return LoadedRecording(info, lambda: (_scale_frames(piece, scaling) for piece in pieces()))


def _normalise_frames(frames: Frames, normalisation: Normalisation) -> Frames:
    return torch.from_numpy(normalisation.normalise(frames.numpy()))


def _scale_frames(frames: Frames, scaling: Scaling) -> Frames:
    return torch.from_numpy(scaling.apply(frames.numpy()[None], np.zeros(1, np.int64))[0])


def _require_finite_frames(frames: Frames) -> Frames:
    if not frames.isfinite().all():
        raise UtteranceError("its frames hold NaN or infinite values; check the recording.")
    return frames
