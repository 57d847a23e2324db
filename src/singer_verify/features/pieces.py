"""Frames of a recording that is too long to hold, piece by piece, the same as those of the whole."""

from collections.abc import Iterable, Iterator

import torch
from jaxtyping import Float
from torch import Tensor

from singer_verify.features import Feature, FramewiseFeature

PIECE_FRAMES = 3000


def in_pieces(feature: Feature) -> FramewiseFeature | None:
    """The feature, if a frame of it needs its neighbourhood only; None where it needs the whole recording."""
    is_framewise = isinstance(feature, FramewiseFeature) and feature.context_samples is not None
    return feature if is_framewise else None  # type: ignore[return-value]


def frame_pieces(
    feature: FramewiseFeature, blocks: Iterable[Float[Tensor, " samples"]], piece_frames: int = PIECE_FRAMES
) -> Iterator[Float[Tensor, "frames bins"]]:
    """All frames of a recording, in order.

    A piece is computed with so many whole hops more on either side that no frame of it sees the ends of the stretch;
    only the recording's own ends are reflected. So the frames are those of the whole recording.

    Args:
        feature: a recipe with `context_samples`.
        blocks: of the recording, of any lengths, one after another.
        piece_frames: at least so many frames are computed at once, but for the last.
    """
    assert feature.context_samples is not None
    hop, context = feature.hop_samples, max(1, -(-feature.context_samples // feature.hop_samples))
    held = torch.zeros(0)
    before = 0  # frames that the held samples begin with, of those given already
    for block in blocks:
        held = torch.cat([held, block])
        ready = (len(held) - 1) // hop + 1 - context - before  # frames that do not see the end of what is held
        if ready >= piece_frames:
            yield feature(held[: (before + ready + context) * hop])[before : before + ready]
            dropped = before + ready - context
            held, before = held[dropped * hop :], context
    yield feature(held)[before:]
