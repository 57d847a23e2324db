"""By what a model is known again: a checksum of everything its embeddings depend on."""

import hashlib
import json
from typing import Any

import torch

from singer_verify.card import CARD_KEY
from singer_verify.runs.checkpoints import encoder_state

EMBEDDING_PARTS = ("recipe", "encoder", "window_frames")


def fingerprint(checkpoint: dict[str, Any]) -> str:
    """SHA-256 of the encoder's weights, of its settings and of the feature recipe, as hexadecimal digits.

    The best checkpoint of a run and its `saved_model.pt` have the same one.

    Args:
        checkpoint: content of a Lightning checkpoint or of a `saved_model.pt`.
    """
    card = checkpoint[CARD_KEY]
    parts = {name: card[name] for name in EMBEDDING_PARTS}
    checksum = hashlib.sha256(json.dumps(parts, sort_keys=True).encode())
    for name, tensor in sorted(encoder_state(checkpoint).items()):
        checksum.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        checksum.update(tensor.detach().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return checksum.hexdigest()
