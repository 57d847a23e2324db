"""Frames to embeddings of unit length."""

from typing import Any

from torch import nn

from singer_verify.rebuild import rebuild


def encoder_from_settings(settings: dict[str, Any]) -> nn.Module:
    """The encoder that a checkpoint's weights belong to, untrained.

    Raises:
        SingerVerifyError: the settings are not those of an encoder of ours.
    """
    encoder: nn.Module = rebuild(settings, __name__)
    return encoder
