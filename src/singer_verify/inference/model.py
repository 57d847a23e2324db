"""A trained model: loaded once, it embeds recordings, and is handed to whatever needs it."""

import copy
import logging
from collections.abc import Iterable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, overload

import numpy as np
import torch
from jaxtyping import Float, Num
from torch import Tensor, nn

from singer_verify.audio import AUDIO_SUFFIXES
from singer_verify.audio.clip import AudioClip, resolve_recording
from singer_verify.corpora.corpus import PRECOMPUTED_SUFFIX
from singer_verify.corpora.file_search import find_recordings
from singer_verify.encoders.encoder import build_encoder
from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.evaluation.averaging import average_embeddings
from singer_verify.features.feature import Feature
from singer_verify.features.normalisation import NO_NORMALISATION, Normalisation
from singer_verify.features.precomputed import PrecomputedFeature
from singer_verify.features.recipe import build_feature
from singer_verify.features.voice import split_voice_feature, unwrap_feature
from singer_verify.inference.batching import WindowBatcher, prefetch
from singer_verify.inference.frames import LoadedRecording, RecordingInfo, load_frames
from singer_verify.inference.windows import (
    RecordingEmbedding,
    WindowPlan,
    build_recording_embedding,
    build_window_plan,
    iterate_windows,
)
from singer_verify.runs.checkpoints import Checkpoint, extract_encoder_state
from singer_verify.runs.packaged_model import require_packaged_model
from singer_verify.safe_loading import trust as trust_packages
from singer_verify.worker_processes import count_available_cores

if TYPE_CHECKING:
    from singer_verify.inference.end_to_end import EndToEndModel, WithoutVoice

log = logging.getLogger(__name__)


def load_model(
    path: str | Path | None = None, device: str | torch.device = "auto", trust: Iterable[str] = ()
) -> "Model":
    """Load a trained model. Its file is read and hashed once.

        model = load_model("runs/first")  # or load_model(), the model that comes with the package
        similarity = model.embed("a.wav") @ model.embed("b.wav")

    Args:
        path: a run folder (its best checkpoint), a `.ckpt` or a `saved_model.pt`; None for the model that comes with
            the package.
        device: device of the encoder: `cpu`, `cuda`, `cuda:1`, ..., or `auto`, the GPU if there is one.
        trust: packages, besides this one, whose classes the model may use.

    Raises:
        SingerVerifyError: not a model of singer_verify, a damaged one, a device that does not exist, or no path where
            no model comes with the package.
    """
    trust_packages(trust)
    device = resolve_device(device)
    checkpoint = Checkpoint.read(require_packaged_model().path if path is None else path)
    metadata = checkpoint.metadata
    encoder = build_encoder(metadata.encoder)
    try:
        encoder.load_state_dict(extract_encoder_state(checkpoint.content))
    except RuntimeError as error:
        raise SingerVerifyError(
            f"{checkpoint.path}: its weights do not fit its own settings; the file is damaged."
        ) from error
    normalisation = Normalisation.from_recipe(metadata.recipe)
    feature = build_feature(metadata.recipe)
    return Model(encoder, feature, metadata.window_frames, normalisation, checkpoint.without_weights(), device)


def resolve_device(device: str | torch.device) -> torch.device:
    """Return the device of a name, where `auto` is the GPU if there is one.

    Raises:
        SingerVerifyError: no such device on this machine.
    """
    if device == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        resolved = torch.device(device)
    except RuntimeError as error:
        raise SingerVerifyError(f"device={device}: expected auto, cpu, cuda or cuda:N.") from error
    if resolved.type == "cuda" and (resolved.index or 0) >= torch.cuda.device_count():
        raise SingerVerifyError(
            f"device={device}: this machine has {torch.cuda.device_count()} CUDA GPUs that torch can use; expected "
            f"device=cpu or device=auto."
        )
    return resolved


class Model:
    """A trained encoder with the feature and normalisation it was trained on.

    Recordings are embedded in overlapping windows whose embeddings are averaged and scaled to unit length, so an
    embedding never depends on what else is embedded. Recordings may last from half a second to hours: see
    `frames.load_frames` for how much of them is held in memory.

        model = load_model("runs/first")
        model.embed("a.wav") @ model.embed(samples, 44_100)     # cosine similarity of two recordings
        model.embed(batch)                                      # (batch, samples) tensor → (batch, embedding) tensor
        for path, result in model.embed_many(paths): ...        # a folder, in full batches
        loss = 1 - (model.torch_module()(samples) * target).sum(-1)     # differentiable

    Args:
        encoder: an `nn.Module`, (batch, frames, bins) → (batch, embedding).
        feature: feature that computes its frames.
        window_frames: length of a window, in frames.
        normalisation: normalisation of the frames of a recording.
        checkpoint: the file it came from, if any, without weights.
        device: device of the encoder. Frames of recordings are computed on the CPU.
    """

    def __init__(
        self,
        encoder: nn.Module,
        feature: Feature,
        window_frames: int,
        normalisation: Normalisation = NO_NORMALISATION,
        checkpoint: Checkpoint | None = None,
        device: str | torch.device = "cpu",
    ) -> None:
        self.device = resolve_device(device)
        self.encoder, self.feature, self.window_frames = encoder.eval().to(self.device), feature, window_frames
        self.normalisation, self.checkpoint = normalisation, checkpoint

    def __repr__(self) -> str:
        recipe = type(unwrap_feature(self.feature)).__name__
        singers = 0 if self.checkpoint is None else len(self.checkpoint.metadata.train_singers)
        return (
            f"Model({type(self.encoder).__name__}, {recipe} of {self.feature.num_bins} bins, "
            f"embedding_size={self.embedding_size}, {singers} training singers, device={self.device})"
        )

    @property
    def fingerprint(self) -> str:
        """Identity of the model, by which galleries and scorings recognise it; empty where it came from no file."""
        return "" if self.checkpoint is None else self.checkpoint.fingerprint

    @property
    def frames_dtype(self) -> str:
        """Data type of the stored frames it was trained on, to which the frames of a split are rounded."""
        return "float32" if self.checkpoint is None else self.checkpoint.metadata.frames_dtype

    @property
    def window_s(self) -> float:
        """Length of the windows the model was validated with, in seconds."""
        return self.window_frames * self.feature.hop_ms / 1000.0

    @cached_property
    def embedding_size(self) -> int:
        """Length of an embedding."""
        with torch.inference_mode():
            return int(self.encoder(torch.zeros(1, 2, self.feature.num_bins, device=self.device)).shape[1])

    @overload
    def embed(self, recording: Tensor, sample_rate: int | None = None) -> Tensor: ...

    @overload
    def embed(
        self, recording: str | Path | AudioClip | np.ndarray, sample_rate: int | None = None
    ) -> Float[np.ndarray, " embedding"]: ...

    def embed(
        self, recording: str | Path | AudioClip | np.ndarray | Tensor, sample_rate: int | None = None
    ) -> Float[np.ndarray, " embedding"] | Tensor:
        """Embed one recording, or a batch of recordings of one length.

        A stereo recording whose channels hold different voices is logged as a warning, and so is what had to be chosen
        to mix channels that cancel each other, are silent, or surround the listener.

        Args:
            recording: an audio file, or precomputed frames (`.npy`) where the model was trained on those; samples as an
                array (samples,) or (samples, channels), floats in [-1, 1] or 16- or 32-bit integers; or a float tensor
                (samples,) or (batch, samples) on any device.
            sample_rate: sample rate of the samples, in Hz. A tensor is taken to have the model's own rate.

        Returns:
            An embedding of unit length as an array; for a tensor, a tensor (embedding,) or (batch, embedding) on its
            device.

        Raises:
            UtteranceError: the recording cannot be used: it is silent, shorter than half a second or than a frame,
                holds NaN, exceeds full scale by more than 24 dB, has a sample rate too low for the recipe's bandwidth,
                or is not audio.
            SingerVerifyError: an array without a sample rate, samples of another shape, or audio for a model that was
                trained on precomputed frames.
        """
        if isinstance(recording, Tensor):
            return self._embed_tensor(recording, self.feature.sample_rate if sample_rate is None else sample_rate)
        embedded = self.embed_windows(recording, sample_rate)
        for warning in embedded.channel_warnings:
            log.warning("%s", warning)
        return embedded.embedding

    def embed_windows(
        self,
        recording: str | Path | AudioClip | Num[np.ndarray, " samples *channels"],
        sample_rate: int | None = None,
        window_s: float | None = None,
        hop_s: float | None = None,
    ) -> RecordingEmbedding:
        """Embed each window of a recording, with its time, and note what makes the recording doubtful.

        Args:
            recording: a file, a clip or an array, as for `embed`.
            sample_rate: sample rate of the samples, in Hz.
            window_s: length of a window; None is the model's own.
            hop_s: time from window to window; None is about half of the model's window.

        Raises:
            UtteranceError: as for `embed`.
            SingerVerifyError: as for `embed`, or windows that would leave gaps.
        """
        plan = build_window_plan(window_s, hop_s, self.window_frames, self.feature.hop_ms)
        _, embedded = next(self._embed_recordings([resolve_recording(recording, sample_rate)], plan, 0))
        if isinstance(embedded, UtteranceError):
            raise embedded
        return embedded

    def embed_many(
        self, recordings: Iterable[str | Path | AudioClip], num_threads: int | None = None
    ) -> Iterator[tuple[Path | AudioClip, RecordingEmbedding | UtteranceError]]:
        """Embed many recordings, each as if it were alone, up to rounding (1e-6).

        Windows of all recordings are gathered into full batches, while the next recordings are decoded in the
        background. A recording that cannot be used yields its error in place of embeddings.

        Args:
            recordings: files or clips; read only as far as needed.
            num_threads: threads that decode; 0 decodes in the calling thread, None takes all cores but one.

        Raises:
            SingerVerifyError: the model was trained on precomputed frames, and a recording is audio.
        """
        threads = max(count_available_cores() - 1, 1) if num_threads is None else num_threads
        resolved = (resolve_recording(recording, None) for recording in recordings)
        return self._embed_recordings(resolved, WindowPlan(self.window_frames), threads)

    @torch.inference_mode()
    def embed_frames(self, frames: Float[Tensor, "frames bins"]) -> Float[np.ndarray, " embedding"]:
        """Embed one recording from its frames, in single precision, as the feature computes them."""
        frames = torch.from_numpy(self.normalisation.normalise(frames.numpy()))
        plan = WindowPlan(self.window_frames)
        windows = iterate_windows([frames], plan.starts(len(frames)), plan.length(len(frames)))
        _, rows = next(WindowBatcher[None](self.encoder, self.device).embed([(None, windows)]))
        assert not isinstance(rows, UtteranceError)
        return average_embeddings(rows)

    def torch_module(self, without_voice: "WithoutVoice" = "refuse") -> "EndToEndModel":
        """Return a differentiable module from samples to embeddings, for use inside another training.

        It maps (batch, samples) at the model's sample rate to (batch, embedding), rows of unit length: frames, their
        normalisation, overlapping windows, encoder and mean, as `embed` does. The module has a copy of the weights, so
        that training it leaves the model as it is; it stays in evaluation mode.

            module = model.torch_module(without_voice="whole").to(generated.device).requires_grad_(False)
            loss = 1 - (module(generated) * module(real)).sum(-1).mean()

        Args:
            without_voice: what is done about a row without half a second of voice, as an untrained generator makes
                them: `refuse` it with an UtteranceError, or embed it as a `whole`, so that it has a gradient too.

        Raises:
            SingerVerifyError: the recipe is computed outside torch, or `without_voice` is none of the choices.
        """
        from singer_verify.inference.end_to_end import build_end_to_end_model

        module = build_end_to_end_model(
            self.feature, self.normalisation, self.encoder, self.window_frames, without_voice
        )
        return module.to(self.device)

    def find_files(self, paths: list[Path]) -> list[Path]:
        """Find the files this model can embed, among the given ones and recursively in the given folders, sorted.

        Raises:
            SingerVerifyError: a path that does not exist, or no file.
        """
        is_precomputed = isinstance(self.feature, PrecomputedFeature)
        suffixes = frozenset({PRECOMPUTED_SUFFIX}) if is_precomputed else AUDIO_SUFFIXES
        files = [file for path in paths for file in _iterate_files(path, suffixes)]
        if not files:
            raise SingerVerifyError(
                f"{' '.join(map(str, paths))}: no file to embed; expected {' '.join(sorted(suffixes))}."
            )
        return files

    def _embed_tensor(self, samples: Tensor, sample_rate: int) -> Tensor:
        """Embed a batch through torch alone where the recipe allows it, else recording by recording."""
        from singer_verify.inference.end_to_end import find_torch_obstacle, require_usable_samples

        if samples.ndim not in (1, 2) or not samples.is_floating_point():
            raise SingerVerifyError(
                f"samples: a {samples.dtype} tensor of shape {tuple(samples.shape)}; expected floats of shape "
                f"(samples,) or (batch, samples)."
            )
        batch = samples.detach().float().reshape(-1, samples.shape[-1])
        if sample_rate == self.feature.sample_rate and find_torch_obstacle(self.feature) is None:
            require_usable_samples(batch, sample_rate)
            with torch.no_grad():  # not inference_mode, whose tensors could not take part in a training
                rows = self._end_to_end(batch.to(self.device))
        else:
            clips = [AudioClip(row, sample_rate, f"row {number}") for number, row in enumerate(batch.cpu().numpy())]
            rows = torch.from_numpy(np.stack([self.embed_windows(clip).embedding for clip in clips]))
        rows = rows.to(samples.device)
        return rows[0] if samples.ndim == 1 else rows

    @cached_property
    def _end_to_end(self) -> "EndToEndModel":
        from singer_verify.inference.end_to_end import EndToEndModel

        # a copy: the feature itself stays on the CPU for recordings
        front_end, preparation = split_voice_feature(copy.deepcopy(self.feature))
        assert isinstance(front_end, nn.Module)
        rate = self.feature.sample_rate
        return EndToEndModel(front_end, self.normalisation, self.encoder, self.window_frames, preparation, rate).to(
            self.device
        )

    def _embed_recordings(
        self, recordings: Iterable[Path | AudioClip], plan: WindowPlan, num_threads: int
    ) -> Iterator[tuple[Path | AudioClip, RecordingEmbedding | UtteranceError]]:
        loaded = (
            prefetch(self._load_frames_or_error, recordings, num_threads)
            if num_threads
            else map(self._load_frames_or_error, recordings)
        )
        planned = (
            ((recording, _get_recording_info(opened)), _iterate_recording_windows(opened, plan))
            for recording, opened in loaded
        )
        batcher = WindowBatcher[tuple[Path | AudioClip, RecordingInfo | None]](self.encoder, self.device)
        for (recording, info), rows in batcher.embed(planned):
            if isinstance(rows, UtteranceError):
                yield recording, rows
            else:
                assert info is not None
                yield recording, build_recording_embedding(info, rows, plan, self.feature.hop_ms, self.window_s)

    def _load_frames_or_error(
        self, recording: Path | AudioClip
    ) -> tuple[Path | AudioClip, LoadedRecording | UtteranceError]:
        try:
            return recording, load_frames(recording, self.feature, self.normalisation)
        except UtteranceError as error:
            return recording, error


def _iterate_files(path: Path, suffixes: frozenset[str]) -> Iterator[Path]:
    if not path.exists():
        raise SingerVerifyError(f"{path}: no such file or folder.")
    if path.is_file():
        yield path
    else:
        yield from find_recordings(path, suffixes)


def _get_recording_info(opened: LoadedRecording | UtteranceError) -> RecordingInfo | None:
    return None if isinstance(opened, UtteranceError) else opened.recording_info


def _iterate_recording_windows(
    opened: LoadedRecording | UtteranceError, plan: WindowPlan
) -> Iterator[Float[Tensor, "frames bins"]]:
    """Yield the windows of a recording; its error, if any, is raised when they are asked for."""
    if isinstance(opened, UtteranceError):
        raise opened
    info, pieces = opened
    yield from iterate_windows(pieces(), plan.starts(info.num_frames), plan.length(info.num_frames))
