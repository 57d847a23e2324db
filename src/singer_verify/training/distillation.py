"""Distillation: a network learns what a teacher hears in unlabelled voices, and in voices made by changing them."""

import copy
import hashlib
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from singer_verify.audio import AUDIO_SUFFIXES
from singer_verify.corpora.corpus import Corpus, Split, Utterance, read_corpora
from singer_verify.corpora.file_search import find_recordings
from singer_verify.corpora.names import find_typed_path, normalise_name, require_table_name
from singer_verify.data.datamodule import SingerDataModule
from singer_verify.data.voice_changes import ChangedVoices, VoiceChanges, resample_excerpt
from singer_verify.errors import SingerVerifyError
from singer_verify.features.feature import Feature
from singer_verify.features.voice import VoicePreparation, build_voice_front_end, split_voice_feature
from singer_verify.inference.end_to_end import EndToEndModel, find_torch_obstacle
from singer_verify.inference.model import Model, load_model
from singer_verify.store.extraction import load_or_compute_store
from singer_verify.store.packed import PackedStore

log = logging.getLogger(__name__)
ALL_VOICES = "voices"  # recordings count as one singer's where only their sound matters
MIN_EXCERPTS = 2


def load_teacher(teacher: str | None) -> Model:
    """Load the model that a student learns from.

    Raises:
        SingerVerifyError: none is given, it is no model of singer_verify, or its recipe cannot hear changed voices.
    """
    if not isinstance(teacher, str) or not teacher.strip():
        raise SingerVerifyError(
            f"teacher={'null' if teacher is None else teacher}: expected a run folder, a .ckpt or a saved_model.pt, "
            f"whose embeddings are to be learned."
        )
    try:
        model = load_model(teacher, device="cpu")
    except SingerVerifyError as error:
        raise SingerVerifyError(f"teacher={error}") from error  # which begins with the path
    if (obstacle := find_torch_obstacle(model.feature)) is not None:
        raise SingerVerifyError(
            f"teacher={teacher}: cannot hear changed voices: {obstacle}; choose a teacher that takes mel frames or "
            f"another recipe computed in torch."
        )
    return model


class TeacherEmbeddings:
    """A feature whose frames are a teacher's embeddings of all excerpts of a recording.

    Excerpts hold nothing but the voice, so that the teacher does not look for pauses again.

    Shape: samples (samples,) → (excerpts, embedding).

    Args:
        teacher: the model, on the CPU.
        changes: excerpts and their changes.
        sample_rate: sample rate at which voices are changed, in Hz.
        activity_db: what is a pause in a recording, see `VoiceChanges.iterate_excerpts`.
    """

    def __init__(
        self, teacher: Model, changes: VoiceChanges, sample_rate: int, activity_db: float | None = None
    ) -> None:
        self.fingerprint, self.changes = teacher.fingerprint, changes
        self.sample_rate, self.activity_db = sample_rate, activity_db
        self.teacher_rate, self.bandwidth = teacher.feature.sample_rate, teacher.feature.bandwidth_hz
        self.hop_ms, self.num_bins = 1000.0 * changes.excerpt_s, teacher.embedding_size
        front_end = build_voice_front_end(copy.deepcopy(teacher.feature))
        self.module = EndToEndModel(front_end, teacher.normalisation, teacher.encoder, teacher.window_frames)

    @property
    def bandwidth_hz(self) -> float:
        return self.bandwidth

    @property
    def recipe(self) -> dict[str, Any]:
        return {
            "_target_": f"{__name__}.{type(self).__name__}",
            "teacher": self.fingerprint,
            "changes": self.changes.recipe,
            "sample_rate": self.sample_rate,
            "activity_db": self.activity_db,
        }

    @torch.no_grad()
    def __call__(self, samples: Float[Tensor, " samples"]) -> Float[Tensor, "excerpts embedding"]:
        batches = self.changes.iterate_excerpts(samples, self.sample_rate, self.activity_db)
        return torch.cat([self.module(self._resample(excerpts)) for excerpts in batches])

    def _resample(self, excerpts: Float[Tensor, "excerpts samples"]) -> Float[Tensor, "excerpts resampled"]:
        return torch.stack([resample_excerpt(excerpt, self.sample_rate, self.teacher_rate) for excerpt in excerpts])


@dataclass(frozen=True)
class UnlabelledVoices:
    """Recordings whose singers nobody has named.

    Attributes:
        root: folder that holds them, at any depth.
        paths: paths relative to the root, with forward slashes, sorted.
    """

    root: Path
    paths: tuple[str, ...]

    @classmethod
    def find(cls, root: object) -> "UnlabelledVoices":
        """Find the recordings below a folder.

        Raises:
            SingerVerifyError: no folder, one without audio, or a name that tables cannot hold.
        """
        if not isinstance(root, str) or not root.strip():
            raise SingerVerifyError(
                f"data.root={'null' if root is None else root}: expected one folder that holds audio at any depth; "
                f"links in it are followed."
            )
        folder = find_typed_path(Path(root))
        if not folder.is_dir():
            raise SingerVerifyError(f"data.root={root}: no such folder; expected one that holds audio at any depth.")
        paths = [path.relative_to(folder).as_posix() for path in find_recordings(folder, AUDIO_SUFFIXES)]
        if not paths:
            raise SingerVerifyError(
                f"data.root={root}: holds no audio ({' '.join(sorted(AUDIO_SUFFIXES))}); expected recordings of voices "
                f"at any depth."
            )
        for path in paths:
            require_table_name(path, folder)
        return cls(folder, tuple(paths))

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the voices that have a folder; a file beside the folders is a voice without a name."""
        folders = {path.rpartition("/")[0] for path in self.paths}
        return tuple(sorted({normalise_name(folder) for folder in folders if folder}))

    @property
    def num_voices(self) -> int:
        return len(self.names) + sum("/" not in path for path in self.paths)

    def build_corpus(self, paths: Sequence[str]) -> Corpus:
        """Build a corpus of some of the recordings, with one split."""
        return Corpus(self.root, {"train": Split("train", tuple(Utterance(path, ALL_VOICES) for path in paths), 0)})


class DistillationDataModule(SingerDataModule):
    """Excerpts of unlabelled voices with a teacher's embeddings, and labelled singers for validation.

    Each excerpt is a singer of its own: batches number excerpts, and `targets` holds the teacher's embedding of each.
    Frames and embeddings are computed once, into two stores, each continued after an interruption. Another teacher,
    another recipe and other changes have other stores.

    Args:
        root: folder of the unlabelled voices: any audio below it.
        teacher: run folder or checkpoint of the teacher.
        feature: feature that computes the student's frames.
        val_root: corpus whose split `val`, of labelled singers, decides which step is best; or a list of them.
        changes: settings of `VoiceChanges`.
        settings: those of `SingerDataModule`.

    Raises:
        SingerVerifyError: see `load_teacher`, `UnlabelledVoices`, `VoiceChanges` and `SingerDataModule`.
    """

    def __init__(
        self,
        root: str | None,
        teacher: str | None,
        feature: Feature,
        val_root: str | Sequence[str],
        changes: Mapping[str, Any],
        **settings: Any,
    ) -> None:
        self.voices = UnlabelledVoices.find(root)
        model = load_teacher(teacher)
        super().__init__(val_root, feature, **settings)
        if self.corpus.has_precomputed_features:
            raise SingerVerifyError(
                f"data.val_root={val_root}: contains precomputed features; expected audio, whose frames are computed "
                f"like those of the voices that are learned from."
            )
        if self.crop_extractor is not None:
            raise SingerVerifyError(
                "data.on_the_fly=true: voices are changed before the teacher hears them, once, so that their frames "
                "are stored; set data.on_the_fly=false."
            )
        built = VoiceChanges(**{name: value for name, value in changes.items() if name != "_target_"})
        sample_rate = max(self.feature.sample_rate, model.feature.sample_rate)  # what is lost cannot be restored
        self.changed_voices = ChangedVoices(self.feature, built, sample_rate)
        preparation = split_voice_feature(self.feature)[1] or VoicePreparation(None, None)
        self.teacher_embeddings = TeacherEmbeddings(model, built, sample_rate, preparation.activity_db)
        if self.num_frames > self.changed_voices.num_frames:
            raise SingerVerifyError(
                f"data.num_frames={self.num_frames}: an excerpt of data.changes.excerpt_s={built.excerpt_s:g} has "
                f"{self.changed_voices.num_frames} frames; expected crops that are no longer."
            )
        self.teacher_targets: Float[Tensor, "excerpts target"] | None = None

    def read_corpus(self, roots: list[Path]) -> Corpus:
        """List the validation corpus, which needs no training split.

        Raises:
            SingerVerifyError: folds or a subset of singers are asked for.
        """
        for name, limit in (("max_singers", self.max_singers), ("max_minutes", self.max_minutes)):
            if limit is not None:
                raise SingerVerifyError(
                    f"data.{name}={limit}: who sings in unlabelled voices is not known; set data.{name}=null."
                )
        if self.folds is not None:
            raise SingerVerifyError(f"data.folds={self.folds}: unlabelled voices have no folds; set data.folds=null.")
        return read_corpora(roots, required=("val",))

    @property
    def train_singers(self) -> tuple[str, ...]:
        """Names of the excerpts; before they are computed, of the voices."""
        return self.stores["train"].singers if self.stores else self.voices.names

    @property
    def seen_singers(self) -> tuple[str, ...]:
        return self.voices.names

    @property
    def targets(self) -> Float[Tensor, "excerpts target"]:
        """Return the teacher's embedding of each excerpt; zeros for two before they are computed."""
        if self.teacher_targets is None:
            return torch.zeros(MIN_EXCERPTS, self.teacher_embeddings.num_bins)
        return self.teacher_targets

    def describe_contents(self) -> dict[str, str]:
        """Summarise the recordings and excerpts learned from and the validation split, and name the teacher."""
        train = self.stores["train"]
        voices = f"{self.voices.num_voices} voices, {len(self.voices.paths)} recordings"
        return super().describe_contents() | {
            "train": f"{voices}, {len(train.paths)} excerpts, {train.fingerprint[:16]}",
            "teacher": self.teacher_embeddings.fingerprint[:16],
        }

    def _open_store(self, split: str) -> PackedStore:
        return super()._open_store(split) if split != "train" else self._open_excerpts()

    def _open_excerpts(self) -> PackedStore:
        """Open or compute the teacher's embeddings and the frames of all excerpts, as a store of one singer each."""
        log.info("%s: %d voices, %d recordings.", self.voices.root, self.voices.num_voices, len(self.voices.paths))
        teacher = self._load_or_compute(self.voices.paths, self.teacher_embeddings)
        usable = [str(path) for path in teacher.paths]  # what the teacher cannot use, the student does not need
        frames = self._load_or_compute(usable, self.changed_voices)
        lengths = self.changed_voices.num_frames, self.singers_per_batch
        excerpts, self.teacher_targets = join_excerpts(teacher, frames, *lengths, self.voices.root)
        log.info("%s: %d excerpts to learn from.", self.voices.root, len(excerpts.paths))
        return excerpts

    def _load_or_compute(self, paths: Sequence[str], feature: Feature) -> PackedStore:
        corpus, stores = self.voices.build_corpus(paths), self.split_stores
        return load_or_compute_store(corpus, "train", feature, stores.root, stores.dtype, stores.num_workers)


def join_excerpts(
    teacher: PackedStore, frames: PackedStore, num_frames: int, singers_per_batch: int, root: Path
) -> tuple[PackedStore, Float[Tensor, "excerpts target"]]:
    """Return the frames of excerpts as a store with one singer per excerpt, and the teacher's embedding of each.

    The last excerpts are left out where they do not fill a batch, so that every excerpt is used equally often.

    Args:
        teacher: store of `TeacherEmbeddings`.
        frames: store of `ChangedVoices` of the same recordings, or of some of them.
        num_frames: number of frames of an excerpt.
        singers_per_batch: number of excerpts in a batch.
        root: folder of the recordings.

    Raises:
        SingerVerifyError: the two stores disagree, or hold too few excerpts.
    """
    recordings = {str(path): number for number, path in enumerate(teacher.paths)}
    teacher_counts, counts = teacher.num_frames, frames.num_frames // num_frames
    rows, excerpt_names = list[int](), list[str]()
    for path, count in zip(frames.paths, counts.tolist(), strict=True):
        number = recordings[path]
        if count != teacher_counts[number]:
            raise SingerVerifyError(
                f"{root / path}: the teacher heard {teacher_counts[number]} excerpts and the student {count}; "
                f"the recording was replaced while they were computed: start again."
            )
        rows += range(int(teacher.offsets[number]), int(teacher.offsets[number + 1]))
        excerpt_names += [f"{Path(path).name}, excerpt {excerpt}" for excerpt in range(count)]
    total = len(rows)
    if total < MIN_EXCERPTS:
        raise SingerVerifyError(f"data.root={root}: gives {total} excerpts; expected at least {MIN_EXCERPTS}.")
    total -= total % singers_per_batch if total > singers_per_batch else 0
    targets = torch.from_numpy(np.array(teacher.frames[rows[:total]], np.float32))
    sources = np.repeat(np.arange(len(counts)), counts)[:total]
    identity = hashlib.sha256((teacher.fingerprint + frames.fingerprint).encode()).hexdigest()
    excerpts = replace(
        frames,
        offsets=np.arange(total + 1) * num_frames,
        singer_index=np.arange(total),
        singers=tuple(excerpt_names[:total]),
        paths=np.array([str(root / path) for path in frames.paths], object)[sources],
        contents=frames.contents[sources],
        fingerprint=identity,
    )
    return excerpts, targets
