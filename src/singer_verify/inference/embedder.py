"""The files that a model can embed, among paths and in folders."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import nn

from singer_verify.audio import AUDIO_SUFFIXES
from singer_verify.audio.clip import AudioClip, resolve_recording
from singer_verify.corpora.corpus import PRECOMPUTED_SUFFIX
from singer_verify.encoders.encoder import build_encoder
from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.features.feature import Feature
from singer_verify.features.normalisation import NO_NORMALISATION, Normalisation
from singer_verify.features.precomputed import PrecomputedFeature
from singer_verify.features.recipe import build_feature
from singer_verify.inference.batching import WindowBatcher, prefetch
from singer_verify.inference.frames import LoadedRecording, RecordingInfo, load_frames
from singer_verify.inference.windows import (
    RecordingEmbedding,
    WindowPlan,
    average_embeddings,
    build_recording_embedding,
    build_window_plan,
    iterate_windows,
)
from singer_verify.runs.checkpoints import compute_fingerprint, extract_encoder_state, find_checkpoint, read_checkpoint
from singer_verify.runs.model_metadata import METADATA_KEY
from singer_verify.worker_processes import count_available_cores


def find_embeddable_files(paths: list[Path], feature: Feature) -> list[Path]:
    """The files with frames or sound for this feature, among the given ones and in the given folders, recursively,
    sorted.

    Raises:
        SingerVerifyError: a path that does not exist, or nothing found.
    """
    suffixes = frozenset({PRECOMPUTED_SUFFIX}) if isinstance(feature, PrecomputedFeature) else AUDIO_SUFFIXES
    found = [file for path in paths for file in _iterate_files(path, suffixes)]
    if not found:
        raise SingerVerifyError(
            f"{' '.join(map(str, paths))}: no file to embed; expected {' '.join(sorted(suffixes))}."
        )
    return found


def _iterate_files(path: Path, suffixes: frozenset[str]) -> Iterator[Path]:
    if not path.exists():
        raise SingerVerifyError(f"{path}: no such file or folder.")
    if path.is_file():
        yield path
    else:
        files = (file for file in path.rglob("*") if not file.name.startswith("."))
        yield from sorted(file for file in files if file.suffix.lower() in suffixes)


log = logging.getLogger(__name__)


class Embedder:
    """A trained encoder with the feature it was trained on.

    Recordings are embedded in overlapping windows whose embeddings are averaged and brought to unit length, so an
    embedding never depends on what else is embedded. They last from half a second to hours: see `frames.load_frames` for
    what of them is held in memory.

        embedder = Embedder.load(Path("runs/first"))
        similarity = embedder.embed(Path("a.wav")) @ embedder.embed(samples, 44_100)

    Args:
        encoder: (batch, frames, bins) → (batch, embedding).
        feature: makes its frames.
        window_frames: length of a window.
        normalisation: of the frames of a recording.
        fingerprint: by which galleries know the model again; empty for one that comes from no file.
    """

    def __init__(
        self,
        encoder: nn.Module,
        feature: Feature,
        window_frames: int,
        normalisation: Normalisation = NO_NORMALISATION,
        fingerprint: str = "",
    ) -> None:
        self.encoder, self.feature, self.window_frames = encoder.eval(), feature, window_frames
        self.normalisation, self.fingerprint = normalisation, fingerprint

    @classmethod
    def load(cls, model: str | Path) -> "Embedder":
        """From a run folder (its best checkpoint), a `.ckpt` or a `saved_model.pt`.

        Raises:
            SingerVerifyError: not a model of ours, or weights and settings that do not agree.
        """
        path = find_checkpoint(Path(model))
        checkpoint = read_checkpoint(path)
        card = checkpoint[METADATA_KEY]
        encoder = build_encoder(card["encoder"])
        try:
            encoder.load_state_dict(extract_encoder_state(checkpoint))
        except RuntimeError as error:
            raise SingerVerifyError(f"{path}: its weights do not fit its own settings; the file is damaged.") from error
        feature, normalisation = build_feature(card["recipe"]), Normalisation.from_recipe(card["recipe"])
        return cls(encoder, feature, card["window_frames"], normalisation, compute_fingerprint(checkpoint))

    @property
    def window_s(self) -> float:
        """Length of the windows that the model was validated with."""
        return self.window_frames * self.feature.hop_ms / 1000.0

    def embed(
        self, recording: str | Path | Num[np.ndarray, " samples *channels"], sample_rate: int | None = None
    ) -> Float[np.ndarray, " embedding"]:
        """Embedding of one recording, of unit length. Channels that hold different voices are warned of.

        Args:
            recording: a file of audio, or of ready features (`.npy`) where the model was trained on those; or samples,
                (samples,) or (samples, channels), floats in [-1, 1] or whole numbers of 16 or 32 bits.
            sample_rate: of samples, in Hz.

        Raises:
            UtteranceError: the recording cannot be used: it is silent, shorter than half a second or than a frame,
                holds NaN, exceeds full scale by more than 24 dB, has a sample rate under the recipe's bandwidth, or is
                no audio.
            SingerVerifyError: samples without a sample rate or of another shape; the model was trained on ready
                features, and the recording is audio.
        """
        found = self.windows(recording, sample_rate)
        if found.has_two_voices:
            log.warning("%s", found.channel_warning)
        return found.embedding

    def windows(
        self,
        recording: str | Path | AudioClip | Num[np.ndarray, " samples *channels"],
        sample_rate: int | None = None,
        window_s: float | None = None,
        hop_s: float | None = None,
    ) -> RecordingEmbedding:
        """One recording with the embedding of each window, its time, and what makes it doubtful.

        Args:
            recording: as of `embed`.
            sample_rate: of samples, in Hz.
            window_s: length of a window; None takes the model's own.
            hop_s: from window to window; None is about half of the model's window.

        Raises:
            UtteranceError: as of `embed`.
            SingerVerifyError: as of `embed`; windows that would leave gaps.
        """
        plan = build_window_plan(window_s, hop_s, self.window_frames, self.feature.hop_ms)
        _, found = next(self._embed_recordings([resolve_recording(recording, sample_rate)], plan, 0))
        if isinstance(found, UtteranceError):
            raise found
        return found

    def embed_many(
        self, recordings: Iterable[str | Path | AudioClip], num_threads: int | None = None
    ) -> Iterator[tuple[Path | AudioClip, RecordingEmbedding | UtteranceError]]:
        """Many recordings in turn, each embedded as if it were alone, to rounding (1e-6).

        Windows of all recordings are gathered into full batches, while the next recordings are decoded in the
        background. A recording that cannot be used has its error in place of embeddings.

        Args:
            recordings: files, or samples as `AudioClip`; read only as far as needed.
            num_threads: that decode; 0 decodes in turn, None takes all cores but one, and at least one.

        Raises:
            SingerVerifyError: the model was trained on ready features, and a recording is audio.
        """
        threads = max(count_available_cores() - 1, 1) if num_threads is None else num_threads
        found = (resolve_recording(recording, None) for recording in recordings)
        return self._embed_recordings(found, WindowPlan(self.window_frames), threads)

    @torch.inference_mode()
    def embed_frames(self, frames: Float[torch.Tensor, "frames bins"]) -> Float[np.ndarray, " embedding"]:
        """Embedding of one recording from its frames, in single precision, as the feature makes them."""
        frames = torch.from_numpy(self.normalisation.normalised(frames.numpy()))
        plan = WindowPlan(self.window_frames)
        windows = iterate_windows([frames], plan.starts(len(frames)), plan.length(len(frames)))
        _, rows = next(WindowBatcher[None](self.encoder).embed([(None, windows)]))
        assert not isinstance(rows, UtteranceError)
        return average_embeddings(rows)

    def find_files(self, paths: list[Path]) -> list[Path]:
        """The files this model can embed, among the given ones and in the given folders, recursively, sorted.

        Raises:
            SingerVerifyError: a path that does not exist, or nothing found.
        """
        return find_embeddable_files(paths, self.feature)

    def _embed_recordings(
        self, recordings: Iterable[Path | AudioClip], plan: WindowPlan, num_threads: int
    ) -> Iterator[tuple[Path | AudioClip, RecordingEmbedding | UtteranceError]]:
        found = (
            prefetch(self._load_frames_or_error, recordings, num_threads)
            if num_threads
            else map(self._load_frames_or_error, recordings)
        )
        planned = (
            ((recording, _get_recording_info(opening)), _iterate_recording_windows(opening, plan))
            for recording, opening in found
        )
        for (recording, facts), rows in WindowBatcher[tuple[Path | AudioClip, RecordingInfo | None]](
            self.encoder
        ).embed(planned):
            if isinstance(rows, UtteranceError):
                yield recording, rows
            else:
                assert facts is not None
                yield recording, build_recording_embedding(facts, rows, plan, self.feature.hop_ms, self.window_s)

    def _load_frames_or_error(
        self, recording: Path | AudioClip
    ) -> tuple[Path | AudioClip, LoadedRecording | UtteranceError]:
        try:
            return recording, load_frames(recording, self.feature, self.normalisation)
        except UtteranceError as error:
            return recording, error


def _get_recording_info(opening: LoadedRecording | UtteranceError) -> RecordingInfo | None:
    return None if isinstance(opening, UtteranceError) else opening.recording_info


def _iterate_recording_windows(
    opening: LoadedRecording | UtteranceError, plan: WindowPlan
) -> Iterator[Float[torch.Tensor, "frames bins"]]:
    """The windows of a recording; what stands against it is raised when they are asked for."""
    if isinstance(opening, UtteranceError):
        raise opening
    facts, pieces = opening
    yield from iterate_windows(pieces(), plan.starts(facts.num_frames), plan.length(facts.num_frames))
