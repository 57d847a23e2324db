"""A model from samples to embedding as one torch module, written so that tracing it keeps every length open."""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn.functional import normalize

from singer_verify.features.normalisation import Normalisation
from singer_verify.recognition.frame_scaling import FrameScaling


class WholeRecording(nn.Module):
    """What `Embedder` does to one recording, for recordings of one length at a time.

    Shape: samples (recordings, samples), or frames (recordings, frames, bins) where there is no front end
    → (recordings, embedding), rows of unit length.

    Args:
        front_end: samples (recordings, samples) → frames (recordings, frames, bins); None where frames are given.
        normalisation: of the frames of a recording.
        encoder: (windows, frames, bins) → (windows, embedding).
        window_frames: length of a window.
    """

    def __init__(
        self, front_end: nn.Module | None, normalisation: Normalisation, encoder: nn.Module, window_frames: int
    ) -> None:
        super().__init__()
        self.front_end = nn.Identity() if front_end is None else front_end
        self.scaling = FrameScaling(normalisation)
        self.encoder, self.window_frames = encoder, window_frames

    def forward(self, recordings: Float[Tensor, "*recordings"]) -> Float[Tensor, "batch embedding"]:
        frames = self.scaling(self.front_end(recordings))
        windows = equal_windows(frames, self.window_frames)
        embeddings = self.encoder(windows.flatten(0, 1)).unflatten(0, (frames.shape[0], -1))
        return normalize(embeddings.sum(dim=1), dim=1)


def equal_windows(
    frames: Float[Tensor, "recordings frames bins"], window_frames: int
) -> Float[Tensor, "recordings windows window_frames bins"]:
    """The windows of recordings of one length; one window of its own length where that is no longer than a window."""
    length = torch.sym_min(frames.shape[1], window_frames)
    starts = traceable_window_starts(frames.shape[1], window_frames)
    places = starts[:, None] + torch.arange(length)
    return frames.index_select(1, places.flatten()).unflatten(1, (-1, length))


def traceable_window_starts(num_frames: int, window_frames: int) -> Int[Tensor, " windows"]:
    """`data.windows.window_starts` without branches, which a trace would decide once and for all.

    Args:
        num_frames: of a recording; may be a symbol.
        window_frames: length of a window.
    """
    hop = max(window_frames // 2, 1)
    beyond_first = num_frames - torch.sym_min(num_frames, window_frames)
    num_hops = (beyond_first + hop - 1) // hop
    last = torch.scalar_tensor(beyond_first, dtype=torch.float64)
    # in the order of operations of numpy.linspace, so that halves are rounded to the same side
    step = last / torch.scalar_tensor(torch.sym_max(num_hops, 1), dtype=torch.float64)
    return (torch.arange(num_hops + 1) * step).round().long()
