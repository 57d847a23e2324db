"""By what a model is known again: its weights, and everything that decides its frames and windows."""

import hashlib
import json
from typing import Any

import torch
from torch import nn


def fingerprint_of(encoder: nn.Module, recipe: dict[str, Any], window_frames: int) -> str:
    """64 hexadecimal digits; models with the same give the same embeddings.

    Args:
        encoder: with its weights and its `settings`.
        recipe: of the frames, with everything that is done to them, as plain values.
        window_frames: length of a window.
    """
    plain = {"encoder": encoder.settings, "recipe": recipe, "window_frames": window_frames}
    digest = hashlib.sha256(json.dumps(plain, sort_keys=True, default=str).encode())
    for name, tensor in sorted(encoder.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
