"""A clip as the page shows it: its samples, and its frames as the model sees them."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from singer_verify.audio import load_audio
from singer_verify.recognition import Embedder
from singer_verify.recognition.opening import opened


@dataclass(frozen=True)
class Clip:
    """
    Attributes:
        samples: of one channel, at the sample rate of the recipe.
        frames: as the network gets them, normalised where the model does so.
        times_s: when each frame is.
        is_whole: whether the recipe leaves out none of the clip, neither silence nor unvoiced parts.
    """

    samples: Float[np.ndarray, " samples"]
    frames: Float[np.ndarray, "frames bins"]
    times_s: Float[np.ndarray, " frames"]
    is_whole: bool


def read_clip(path: Path, embedder: Embedder) -> Clip:
    """
    Raises:
        UtteranceError: the file cannot be used, see `Embedder.embed`.
    """
    feature = embedder.feature
    facts, pieces = opened(path, feature, embedder.normalisation)
    samples = load_audio(path, feature.sample_rate, feature.bandwidth_hz)
    frames = torch.cat(list(pieces())).numpy()
    times_s = np.arange(len(frames)) * feature.hop_ms / 1000 if facts.times_s is None else facts.times_s
    return Clip(samples, frames, times_s, facts.times_s is None)
