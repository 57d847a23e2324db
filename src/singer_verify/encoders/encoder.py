"""Frames to embeddings of unit length."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from singer_verify.errors import SingerVerifyError
from singer_verify.safe_loading import rebuild_from_settings


def build_encoder(settings: dict[str, Any]) -> nn.Module:
    """The encoder that a checkpoint's weights belong to, untrained.

    Raises:
        SingerVerifyError: the settings are not those of an encoder of ours.
    """
    encoder: nn.Module = rebuild_from_settings(settings, "singer_verify.encoders")
    return encoder


def group_parameters_by_part(encoder: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Parameters of an encoder by part: each layer of an LSTM stack (`lstm.0`, `lstm.1`, ...), else each submodule."""
    parts: dict[str, list[nn.Parameter]] = {}
    for name, module in encoder.named_children():
        if isinstance(module, nn.LSTM):
            for layer in range(module.num_layers):
                ends = (f"_l{layer}", f"_l{layer}_reverse")
                parts[f"{name}.{layer}"] = [each for key, each in module.named_parameters() if key.endswith(ends)]
        elif own := list(module.parameters()):
            parts[name] = own
    return parts


def freeze(encoder: nn.Module, names: str | Sequence[str]) -> None:
    """Keep the named parts as they are: their parameters get no gradient and belong in no optimiser.

    Raises:
        SingerVerifyError: the encoder has no part of that name.
    """
    parts, names = group_parameters_by_part(encoder), [names] if isinstance(names, str) else names
    if unknown := [str(name) for name in names if name not in parts]:
        raise SingerVerifyError(
            f"freeze=[{', '.join(unknown)}]: no such part of the encoder; expected some of {', '.join(parts)}."
        )
    for name in names:
        for parameter in parts[name]:
            parameter.requires_grad_(False)
