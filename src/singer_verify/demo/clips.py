"""The limits of a clip, checked before it is embedded: audio, not too large, not too long; and its preview."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from singer_verify.audio import AUDIO_SUFFIXES, load_audio
from singer_verify.audio.decoding import decode_blocks
from singer_verify.errors import UtteranceError
from singer_verify.inference import Model
from singer_verify.inference.frames import load_frames

# A browser calls the others videos, which the page's field for audio refuses.
PAGE_SUFFIXES = AUDIO_SUFFIXES - {".mp4", ".webm"}
READABLE_FORMATS = ", ".join(sorted(suffix[1:] for suffix in PAGE_SUFFIXES))
MAX_CLIP_SECONDS = 600.0  # the frames of ten minutes and their picture take seconds
MAX_CLIP_AGE_S = 900  # a clip is deleted by then
BYTES_PER_MB = 1 << 20  # as Gradio counts


@dataclass(frozen=True)
class ClipLimits:
    """The limits of one clip.

    Attributes:
        max_mb: largest size of its file, in units of 2^20 bytes.
        max_seconds: largest duration.
    """

    max_mb: float
    max_seconds: float = MAX_CLIP_SECONDS


def check_clip(upload: str | None, missing: str, limits: ClipLimits) -> Path:
    """Return the file of a clip that may be embedded.

    Args:
        upload: path of the uploaded clip; None if nothing was recorded or uploaded.
        missing: the message in that case.
        limits: limits of the clip.

    Raises:
        UtteranceError: there is no clip, or it is not audio, too large or too long.
    """
    if upload is None:
        raise UtteranceError(missing)
    path = Path(upload)
    if not path.is_file():
        raise UtteranceError(f"{path}: has expired; record or upload it again.")
    if path.suffix.lower() not in PAGE_SUFFIXES:
        raise UtteranceError(f"{path}: is not audio that this page can read ({READABLE_FORMATS}); choose another file.")
    if path.stat().st_size > limits.max_mb * BYTES_PER_MB:
        megabytes = path.stat().st_size / BYTES_PER_MB
        raise UtteranceError(f"{path}: has {megabytes:.1f} MB, more than {limits.max_mb:g} MB; upload a part of it.")
    _check_clip_length(path, limits.max_seconds)
    return path


def _check_clip_length(path: Path, longest_seconds: float) -> None:
    """Decode block by block up to the limit, because a small file may hold hours and its header may be wrong."""
    seconds = 0.0
    for block in decode_blocks(path):
        seconds += len(block.samples) / block.sample_rate
        if seconds > longest_seconds:
            raise UtteranceError(f"{path}: lasts more than {longest_seconds / 60:g} minutes; upload a part of it.")


@dataclass(frozen=True)
class ClipPreview:
    """Samples and frames shown in the picture of a clip.

    Attributes:
        samples: samples of one channel, at the sample rate of the recipe.
        frames: frames as the encoder gets them, normalised if the model does so.
        times_s: time of each frame.
        is_whole: whether the recipe drops no part of the clip, neither silence nor unvoiced frames.
    """

    samples: Float[np.ndarray, " samples"]
    frames: Float[np.ndarray, "frames bins"]
    times_s: Float[np.ndarray, " frames"]
    is_whole: bool


def read_clip_preview(path: Path, embedder: Model) -> ClipPreview:
    """Read the samples and frames of a clip.

    Raises:
        UtteranceError: the file cannot be used, see `Model.embed`.
    """
    feature = embedder.feature
    facts, pieces = load_frames(path, feature, embedder.normalisation)
    samples = load_audio(path, feature.sample_rate, feature.bandwidth_hz)
    frames = torch.cat(list(pieces())).numpy()
    times_s = np.arange(len(frames)) * feature.hop_ms / 1000 if facts.times_s is None else facts.times_s
    return ClipPreview(samples, frames, times_s, facts.times_s is None)
