"""Embeddings of recordings from a trained model."""

import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import nn

from singer_verify.audio.sound import Sound, as_recording
from singer_verify.card import CARD_KEY
from singer_verify.encoders import encoder_from_settings
from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.features import Feature, feature_from_recipe
from singer_verify.features.normalisation import NOT_NORMALISED, Normalisation
from singer_verify.recognition.ahead import ahead
from singer_verify.recognition.batching import WindowBatches
from singer_verify.recognition.embedded import Embedded, embedded, mean_direction
from singer_verify.recognition.model_files import files_below
from singer_verify.recognition.opening import Facts, Opened, opened
from singer_verify.recognition.window_plan import WindowPlan, plan_in_seconds, windows_of_pieces
from singer_verify.runs.checkpoints import checkpoint_of, encoder_state, read_checkpoint
from singer_verify.runs.fingerprint import fingerprint
from singer_verify.workers import num_cores

log = logging.getLogger(__name__)


class Embedder:
    """A trained encoder with the feature it was trained on.

    Recordings are embedded in overlapping windows whose embeddings are averaged and brought to unit length, so an
    embedding never depends on what else is embedded. They last from half a second to hours: see `opening.opened` for
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
        normalisation: Normalisation = NOT_NORMALISED,
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
        path = checkpoint_of(Path(model))
        checkpoint = read_checkpoint(path)
        card = checkpoint[CARD_KEY]
        encoder = encoder_from_settings(card["encoder"])
        try:
            encoder.load_state_dict(encoder_state(checkpoint))
        except RuntimeError as error:
            raise SingerVerifyError(f"{path}: its weights do not fit its own settings; the file is damaged.") from error
        feature, normalisation = feature_from_recipe(card["recipe"]), Normalisation.from_recipe(card["recipe"])
        return cls(encoder, feature, card["window_frames"], normalisation, fingerprint(checkpoint))

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
            log.warning("%s", found.two_voices)
        return found.embedding

    def windows(
        self,
        recording: str | Path | Sound | Num[np.ndarray, " samples *channels"],
        sample_rate: int | None = None,
        window_s: float | None = None,
        hop_s: float | None = None,
    ) -> Embedded:
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
        plan = plan_in_seconds(window_s, hop_s, self.window_frames, self.feature.hop_ms)
        _, found = next(self._embedded([as_recording(recording, sample_rate)], plan, 0))
        if isinstance(found, UtteranceError):
            raise found
        return found

    def embed_many(
        self, recordings: Iterable[str | Path | Sound], num_threads: int | None = None
    ) -> Iterator[tuple[Path | Sound, Embedded | UtteranceError]]:
        """Many recordings in turn, each embedded as if it were alone, to rounding (1e-6).

        Windows of all recordings are gathered into full batches, while the next recordings are decoded in the
        background. A recording that cannot be used has its error in place of embeddings.

        Args:
            recordings: files, or samples as `Sound`; read only as far as needed.
            num_threads: that decode; 0 decodes in turn, None takes all cores but one, and at least one.

        Raises:
            SingerVerifyError: the model was trained on ready features, and a recording is audio.
        """
        threads = max(num_cores() - 1, 1) if num_threads is None else num_threads
        found = (as_recording(recording, None) for recording in recordings)
        return self._embedded(found, WindowPlan(self.window_frames), threads)

    @torch.inference_mode()
    def embed_frames(self, frames: Float[torch.Tensor, "frames bins"]) -> Float[np.ndarray, " embedding"]:
        """Embedding of one recording from its frames, in single precision, as the feature makes them."""
        frames = torch.from_numpy(self.normalisation.normalised(frames.numpy()))
        plan = WindowPlan(self.window_frames)
        windows = windows_of_pieces([frames], plan.starts(len(frames)), plan.length(len(frames)))
        _, rows = next(WindowBatches[None](self.encoder).embed([(None, windows)]))
        assert not isinstance(rows, UtteranceError)
        return mean_direction(rows)

    def files_below(self, paths: list[Path]) -> list[Path]:
        """The files this model can embed, among the given ones and in the given folders, recursively, sorted.

        Raises:
            SingerVerifyError: a path that does not exist, or nothing found.
        """
        return files_below(paths, self.feature)

    def _embedded(
        self, recordings: Iterable[Path | Sound], plan: WindowPlan, num_threads: int
    ) -> Iterator[tuple[Path | Sound, Embedded | UtteranceError]]:
        found = ahead(self._opened, recordings, num_threads) if num_threads else map(self._opened, recordings)
        planned = (((recording, _facts_of(opening)), _windows(opening, plan)) for recording, opening in found)
        for (recording, facts), rows in WindowBatches[tuple[Path | Sound, Facts | None]](self.encoder).embed(planned):
            if isinstance(rows, UtteranceError):
                yield recording, rows
            else:
                assert facts is not None
                yield recording, embedded(facts, rows, plan, self.feature.hop_ms, self.window_s)

    def _opened(self, recording: Path | Sound) -> tuple[Path | Sound, Opened | UtteranceError]:
        try:
            return recording, opened(recording, self.feature, self.normalisation)
        except UtteranceError as error:
            return recording, error


def _facts_of(opening: Opened | UtteranceError) -> Facts | None:
    return None if isinstance(opening, UtteranceError) else opening.facts


def _windows(opening: Opened | UtteranceError, plan: WindowPlan) -> Iterator[Float[torch.Tensor, "frames bins"]]:
    """The windows of a recording; what stands against it is raised when they are asked for."""
    if isinstance(opening, UtteranceError):
        raise opening
    facts, pieces = opening
    yield from windows_of_pieces(pieces(), plan.starts(facts.num_frames), plan.length(facts.num_frames))
