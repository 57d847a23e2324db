"""Embeddings of recordings from a trained model."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from torch import nn

from singer_verify.audio import AUDIO_SUFFIXES
from singer_verify.card import CARD_KEY
from singer_verify.corpora.folder import READY_SUFFIX
from singer_verify.data.windows import mean_embeddings, windows_of
from singer_verify.encoders import encoder_from_settings
from singer_verify.errors import SingerVerifyError
from singer_verify.features import Feature, feature_from_recipe
from singer_verify.features.normalisation import NOT_NORMALISED, Normalisation
from singer_verify.features.ready import Ready
from singer_verify.runs.checkpoints import checkpoint_of, encoder_state, read_checkpoint
from singer_verify.store.utterances import frames_of_file

WINDOWS_AT_ONCE = 64


class Embedder:
    """A trained encoder with the feature it was trained on.

    Each recording is embedded by itself, in overlapping windows whose embeddings are averaged and brought to unit
    length, so an embedding never depends on what else is embedded.

    Args:
        encoder: (batch, frames, bins) → (batch, embedding).
        feature: makes its frames.
        window_frames: length of a window.
        normalisation: of the frames of a recording.
    """

    def __init__(
        self, encoder: nn.Module, feature: Feature, window_frames: int, normalisation: Normalisation = NOT_NORMALISED
    ) -> None:
        self.encoder, self.feature, self.window_frames = encoder.eval(), feature, window_frames
        self.normalisation = normalisation

    @classmethod
    def load(cls, model: Path) -> "Embedder":
        """From a run folder (its best checkpoint), a `.ckpt` or a `saved_model.pt`.

        Raises:
            SingerVerifyError: not a model of ours, or weights and settings that do not agree.
        """
        path = checkpoint_of(model)
        checkpoint = read_checkpoint(path)
        card = checkpoint[CARD_KEY]
        encoder = encoder_from_settings(card["encoder"])
        try:
            encoder.load_state_dict(encoder_state(checkpoint))
        except RuntimeError as error:
            raise SingerVerifyError(f"{path}: its weights do not fit its own settings; the file is damaged.") from error
        recipe = card["recipe"]
        return cls(encoder, feature_from_recipe(recipe), card["window_frames"], Normalisation.from_recipe(recipe))

    def embed_file(self, path: Path) -> Float[np.ndarray, " embedding"]:
        """Embedding of one recording, or of one file of ready features where the model was trained on those.

        Raises:
            UtteranceError: the file cannot be used.
            SingerVerifyError: the model was trained on ready features, and the file is audio.
        """
        return self.embed_frames(frames_of_file(path, self.feature))

    @torch.inference_mode()
    def embed_frames(self, frames: Float[torch.Tensor, "frames bins"]) -> Float[np.ndarray, " embedding"]:
        """Embedding of one recording from its frames, in single precision, as the feature makes them."""
        frames = torch.from_numpy(self.normalisation.normalised(frames.numpy()))
        windows = list(windows_of(frames, self.window_frames))
        groups = [windows[first : first + WINDOWS_AT_ONCE] for first in range(0, len(windows), WINDOWS_AT_ONCE)]
        embeddings = torch.cat([self.encoder(torch.stack(group)) for group in groups])
        whole: np.ndarray = mean_embeddings(embeddings, torch.zeros(len(embeddings), dtype=torch.long), 1)[0].numpy()
        return whole

    def files_below(self, paths: list[Path]) -> list[Path]:
        """The files this model can embed, among the given ones and in the given folders, recursively, sorted.

        Raises:
            SingerVerifyError: a path that does not exist, or nothing found.
        """
        found = [file for path in paths for file in self._files_of(path)]
        if not found:
            raise SingerVerifyError(f"{' '.join(map(str, paths))}: no file to embed; expected {self._suffixes()}.")
        return found

    def _files_of(self, path: Path) -> Iterator[Path]:
        if not path.exists():
            raise SingerVerifyError(f"{path}: no such file or folder.")
        if path.is_file():
            yield path
        else:
            files = (file for file in path.rglob("*") if not file.name.startswith("."))
            yield from sorted(file for file in files if file.suffix.lower() in self._suffixes().split())

    def _suffixes(self) -> str:
        return READY_SUFFIX if isinstance(self.feature, Ready) else " ".join(sorted(AUDIO_SUFFIXES))
