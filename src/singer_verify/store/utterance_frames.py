"""Extraction of frames, one utterance at a time."""

from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Num
from torch.utils.data import Dataset

from singer_verify.audio import load_audio
from singer_verify.corpora.corpus import Utterance
from singer_verify.errors import UtteranceError
from singer_verify.features.feature import Feature
from singer_verify.features.precomputed import PrecomputedFeature, read_precomputed_frames


@dataclass(frozen=True)
class ExtractedFrames:
    """The frames of one utterance, or the reason for skipping it."""

    frames: Num[torch.Tensor, "frames bins"]
    skipped: str = ""


class UtteranceFrameDataset(Dataset[ExtractedFrames]):
    """The utterances of a split as frames; an unusable utterance yields a reason instead of an exception."""

    def __init__(self, root: Path, utterances: tuple[Utterance, ...], feature: Feature, dtype: torch.dtype) -> None:
        self.root, self.utterances, self.feature, self.dtype = root, utterances, feature, dtype

    def __len__(self) -> int:
        return len(self.utterances)

    def __getitem__(self, index: int) -> ExtractedFrames:
        path = self.root / self.utterances[index].path
        try:
            return ExtractedFrames(extract_frames(path, self.feature).to(self.dtype))
        except UtteranceError as error:
            return ExtractedFrames(torch.zeros(0, self.feature.num_bins, dtype=self.dtype), str(error))


@torch.inference_mode()
def extract_frames(path: Path, feature: Feature) -> Float[torch.Tensor, "frames bins"]:
    """Compute the frames of an audio file, or read them from an `.npy` file of precomputed features.

    Raises:
        UtteranceError: the file cannot be used; the message starts with its path.
    """
    try:
        if isinstance(feature, PrecomputedFeature):
            return torch.from_numpy(feature.check_frames_fit(read_precomputed_frames(path)))
        frames = feature(torch.from_numpy(load_audio(path, feature.sample_rate, feature.bandwidth_hz)))
    except UtteranceError as error:
        message = str(error)
        raise UtteranceError(message if message.startswith(str(path)) else f"{path}: {message}") from error
    if not frames.isfinite().all():
        raise UtteranceError(f"{path}: its frames contain NaN or infinite values; check the recording.")
    return frames
