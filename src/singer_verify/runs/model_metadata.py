"""Model metadata: what a checkpoint carries besides weights, so that it alone is enough to embed audio."""

from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor

from singer_verify.evaluation.seen_singers import SeenSingers
from singer_verify.safe_loading import list_packages

METADATA_KEY = "singer_verify"  # in a checkpoint
METADATA_VERSION = 3
# Version 2 identified recordings by three blocks of their files, which are equal in clips padded with silence: its
# identifiers are compared with nothing.
READABLE_METADATA_VERSIONS = (2, 3)
NON_ARCHITECTURE_SETTINGS = ("dropout", "initialisation")  # of an encoder: two that differ in them fit each other


def _no_recording_ids() -> Tensor:
    return torch.zeros(0, dtype=torch.int64)


@dataclass(frozen=True, eq=False)
class ModelMetadata:
    """Settings that rebuild a model, and the singers it was trained and validated on.

    Checkpoints hold it as a plain dict, which also names the other `packages` that the parts come from.

    Attributes:
        recipe: settings of the feature and its preparation, as plain values.
        encoder: settings that rebuild the encoder, with `_target_`.
        window_frames: length of an evaluation window, in frames.
        train_singers: names of the training singers, in the order of their class numbers.
        val_singers: names of the singers on whom the best step was chosen.
        recordings: identities of the recordings of the splits `train` and `val`, see `audio.content`.
        frames_dtype: data type of the stored frames it was trained on, float16 or float32.
        pretraining_singers: training singers of all earlier trainings whose weights this one began with.
        pretraining_recordings: identifiers of their recordings.
    """

    recipe: dict[str, Any]
    encoder: dict[str, Any]
    window_frames: int
    train_singers: tuple[str, ...]
    val_singers: tuple[str, ...] = ()
    recordings: dict[str, Tensor] = field(default_factory=dict)
    frames_dtype: str = "float32"
    pretraining_singers: tuple[str, ...] = ()
    pretraining_recordings: Tensor = field(default_factory=_no_recording_ids)

    @classmethod
    def from_dict(cls, plain: dict[str, Any]) -> "ModelMetadata":
        """Restore what `to_dict` returned.

        Raises:
            KeyError: a field is missing.
        """
        values = {entry.name: plain[entry.name] for entry in fields(cls)}
        names = ("train_singers", "val_singers", "pretraining_singers")
        metadata = cls(**values | {name: tuple(plain[name]) for name in names})
        if plain.get("version") == METADATA_VERSION:
            return metadata
        return replace(metadata, recordings={}, pretraining_recordings=_no_recording_ids())

    def to_dict(self) -> dict[str, Any]:
        """Return plain values and tensors, which a checkpoint can hold."""
        values = {entry.name: getattr(self, entry.name) for entry in fields(self)}
        return {"version": METADATA_VERSION, "packages": list_packages([self.recipe, self.encoder])} | {
            name: list(value) if isinstance(value, tuple) else value for name, value in values.items()
        }

    def with_pretraining(self, parent: "ModelMetadata") -> "ModelMetadata":
        """Return this metadata for a training that began with the parent's weights."""
        recordings = (parent.recordings.get("train", _no_recording_ids()), parent.pretraining_recordings)
        return replace(
            self,
            pretraining_singers=tuple(sorted({*parent.train_singers, *parent.pretraining_singers})),
            pretraining_recordings=torch.unique(torch.cat(recordings)),
        )

    def with_recorded_pretraining(self, other: "ModelMetadata") -> "ModelMetadata":
        """Return this metadata with the earlier trainings that another one records, as for a run that is resumed."""
        return replace(
            self,
            pretraining_singers=other.pretraining_singers,
            pretraining_recordings=other.pretraining_recordings,
        )

    def collect_training_singers(self) -> SeenSingers | None:
        """Return all singers the weights were trained on, earlier trainings included.

        None where that is not recorded, for instance for imported weights.
        """
        seen = self.with_pretraining(self)
        return _build_seen_singers(seen.pretraining_singers, seen.pretraining_recordings)

    def collect_validation_singers(self) -> SeenSingers | None:
        """Return the singers on whom the best step was chosen; None where that is not recorded."""
        return _build_seen_singers(self.val_singers, self.recordings.get("val", _no_recording_ids()))


def _build_seen_singers(names: tuple[str, ...], recordings: Int[Tensor, " utterances"]) -> SeenSingers | None:
    seen = SeenSingers.from_names(names, recordings.tolist())
    return seen if seen.names or seen.recordings else None
