"""Frames of one utterance from its file, or the reason for skipping it."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from itertools import chain
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Num
from torch.utils.data import Dataset

from singer_verify.audio.channels import ChannelMix, choose_channel_mix
from singer_verify.audio.content import NO_CONTENT, ContentHasher, compute_frames_content
from singer_verify.audio.decoding import AudioBlock, decode_blocks
from singer_verify.audio.loading import downmix_and_resample
from singer_verify.audio.measures import RecordingMeasures, measure_recording
from singer_verify.corpora.corpus import Utterance
from singer_verify.corpora.duplicates import RecordingRegister
from singer_verify.errors import UtteranceError
from singer_verify.features.feature import Feature
from singer_verify.features.precomputed import PrecomputedFeature, read_precomputed_frames
from singer_verify.store.file_states import compute_file_hash
from singer_verify.store.packed import describe_rounding_loss

SampleChange = Callable[[Float[np.ndarray, " samples"], int], Float[np.ndarray, " changed"]]


@torch.inference_mode()
def extract_frames(
    path: Path,
    feature: Feature,
    hasher: ContentHasher | None = None,
    notes: "DecodingNotes | None" = None,
    change: SampleChange | None = None,
) -> Float[torch.Tensor, "frames bins"]:
    """Compute the frames of an audio file, or read them from an `.npy` file of precomputed features.

    Args:
        path: the file.
        feature: feature that computes the frames.
        hasher: watches the samples as they are decoded.
        notes: filled while the recording is decoded.
        change: changes the recording, mixed to one channel and at its own sample rate in Hz, before anything else.

    Raises:
        UtteranceError: the file cannot be used; the message starts with its path.
    """
    try:
        if isinstance(feature, PrecomputedFeature):
            return torch.from_numpy(feature.check_frames_fit(read_precomputed_frames(path)))
        mix, blocks = choose_channel_mix(lambda: decode_blocks(path))
        blocks = blocks if hasher is None else hasher.watch(blocks, mix)
        blocks = blocks if change is None else _change_recording(blocks, mix, str(path), change)
        samples = downmix_and_resample(blocks, mix, str(path), feature.sample_rate, feature.bandwidth_hz)
        whole = np.concatenate(list(samples))
        if notes is not None:
            notes.duration_s, notes.channel_remark = len(whole) / feature.sample_rate, mix.remark
            notes.measures = measure_recording(whole, feature.sample_rate) if notes.takes_measures else None
        frames = feature(torch.from_numpy(whole))
    except UtteranceError as error:
        message = str(error)
        raise UtteranceError(message if message.startswith(str(path)) else f"{path}: {message}") from error
    if not frames.isfinite().all():
        raise UtteranceError(f"{path}: its frames contain NaN or infinite values; check the recording.")
    return frames


def _change_recording(
    blocks: Iterator[AudioBlock], mix: ChannelMix, name: str, change: SampleChange
) -> Iterator[AudioBlock]:
    """Yield a recording as one changed block of one channel, at the sample rate of its beginning."""
    first = next(blocks, None)
    rate = 0 if first is None else first.sample_rate
    whole = chain([] if first is None else [first], blocks)
    samples = np.concatenate(list(downmix_and_resample(whole, mix, name, rate, 0.0)))
    yield AudioBlock(change(samples, rate)[:, None], rate)


@dataclass
class DecodingNotes:
    """Notes on a recording, made while it was decoded.

    Attributes:
        duration_s: duration of the recording, in seconds; 0 if it was not decoded.
        channel_remark: what had to be chosen to mix its channels, see `ChannelMix`.
        takes_measures: whether the recording is to be measured.
        measures: its measures; None if it was not measured.
    """

    duration_s: float = 0.0
    channel_remark: str = ""
    takes_measures: bool = False
    measures: RecordingMeasures | None = None


@dataclass(frozen=True)
class ExtractedFrames:
    """The frames of one utterance, or the reason for skipping it.

    Attributes:
        frames: rounded to the data type of the store; none if the utterance is skipped.
        skipped: reason for skipping it, which begins with the path of the file; else empty.
        content: identity of what it sounds like, see `audio.content`.
        file_hash: checksum of the file; empty if not asked for.
        is_out_of_range: whether it is skipped because the data type cannot hold its frames.
        notes: notes on the decoded recording.
    """

    frames: Num[torch.Tensor, "frames bins"]
    skipped: str = ""
    content: int = NO_CONTENT
    file_hash: str = ""
    is_out_of_range: bool = False
    notes: DecodingNotes = field(default_factory=DecodingNotes)


class UtteranceFrameDataset(Dataset[ExtractedFrames]):
    """The utterances of a split as frames; an unusable utterance yields a reason instead of an exception.

    Args:
        root: folder of the corpus.
        utterances: the utterances.
        feature: feature that computes the frames.
        dtype: data type that frames are rounded to.
        hashes_files: whether to compute the checksum of each file as well.
        change: changes each recording first, see `extract_frames`; its content stays that of the file.
        measures_recordings: whether to measure each recording as well, see `audio.measures`.
    """

    def __init__(
        self,
        root: Path,
        utterances: tuple[Utterance, ...],
        feature: Feature,
        dtype: torch.dtype,
        hashes_files: bool = False,
        change: SampleChange | None = None,
        measures_recordings: bool = False,
    ) -> None:
        self.root, self.utterances, self.feature, self.dtype = root, utterances, feature, dtype
        self.hashes_files, self.change, self.measures_recordings = hashes_files, change, measures_recordings

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> ExtractedFrames:
        path = self.root / self.utterances[index].path
        # Before it is decoded: of a file that is replaced meanwhile, the frames must not pass for those of the new one.
        file_hash = compute_file_hash(path) if self.hashes_files else ""
        none, hasher = torch.zeros(0, self.feature.num_bins, dtype=self.dtype), ContentHasher()
        notes = DecodingNotes(takes_measures=self.measures_recordings)
        try:
            frames = extract_frames(path, self.feature, hasher, notes, self.change)
        except UtteranceError as error:
            return ExtractedFrames(none, str(error), file_hash=file_hash)
        is_precomputed = isinstance(self.feature, PrecomputedFeature)
        content = compute_frames_content(frames.numpy()) if is_precomputed else hasher.compute()
        rounded = frames.to(self.dtype)
        if loss := describe_rounding_loss(frames, rounded):
            reason = f"{path}: {loss} ({self.feature.recipe['_target_']})"
            return ExtractedFrames(none, reason, content, file_hash, is_out_of_range=True)
        return ExtractedFrames(rounded, "", content, file_hash, notes=notes)


def skip_copy(utterance: Utterance, extracted: ExtractedFrames, register: RecordingRegister) -> ExtractedFrames:
    """Skip an utterance that sounds like an earlier one of its singer; add others to the register."""
    if extracted.skipped:
        return extracted
    if extracted.notes.measures is not None:
        register.measures[utterance.path] = extracted.notes.measures
    reason = register.add(utterance.path, utterance.singer, extracted.content)
    return replace(extracted, frames=extracted.frames[:0], skipped=reason) if reason else extracted
