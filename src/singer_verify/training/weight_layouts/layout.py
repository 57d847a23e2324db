"""The contract of weight layouts: recognise a file of weights, and read an encoder off it."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from singer_verify.errors import SingerVerifyError

MAX_NAMED_TENSORS = 4  # in a message


@dataclass(frozen=True)
class ExternalWeights:
    """An encoder's weights under the names of singer_verify, and how it is to be used.

    Attributes:
        encoder: settings of the encoder, inferred from the shapes of the weights.
        state: parameters of the encoder and of the loss, by their names in a Lightning checkpoint.
        step: training step of the weights, 0 where the file does not say.
        dropped: tensors of the file that are not used.
        recipe: settings of the frames that the weights were trained on, with `normalise`; None where the file could
            have been trained on any.
        window_frames: length of an evaluation window that suits the weights.
    """

    encoder: dict[str, Any]
    state: dict[str, Tensor]
    step: int = 0
    dropped: list[str] = field(default_factory=list)
    recipe: dict[str, Any] | None = None
    window_frames: int = 160


class WeightLayout(Protocol):
    """How a program names and arranges the tensors of an architecture in a file.

    Attributes:
        expected: what such a file holds, for messages that list all layouts.
    """

    expected: str

    def recognises(self, content: Mapping[str, Any]) -> bool:
        """Say whether a file's content is of this layout, by the names in it; whether all of it fits shows later."""
        ...

    def read(self, content: Mapping[str, Any]) -> ExternalWeights:
        """Read the weights off the content of a file that is recognised.

        Raises:
            SingerVerifyError: tensors are missing, left over or of another shape; the message names them.
        """
        ...


def collect_tensors(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the tensors of a state dict, of one that `state_dict` or `model` holds, or of a data-parallel module."""
    for key in ("state_dict", "model"):
        if isinstance(content.get(key), dict):
            content = content[key]
            break
    return {str(name).removeprefix("module."): value for name, value in content.items() if torch.is_tensor(value)}


def get_size(architecture: str, tensors: Mapping[str, Tensor], name: str, dimension: int) -> int:
    """Return the size of a tensor in one of its dimensions.

    Raises:
        SingerVerifyError: the tensor is missing, or has fewer dimensions.
    """
    if name not in tensors:
        raise SingerVerifyError(f"its tensors do not form {architecture}: {name} is missing")
    shape = tuple(tensors[name].shape)
    if len(shape) <= dimension:
        raise SingerVerifyError(
            f"its tensors do not form {architecture}: {name} has shape {shape}, expected {dimension + 1} dimensions or "
            f"more"
        )
    return shape[dimension]


def require_fitting_tensors(
    architecture: str,
    encoder: nn.Module,
    tensors: Mapping[str, Tensor],
    get_published_name: Callable[[str], str] = str,
) -> None:
    """Refuse tensors that are not exactly those of the encoder.

    Args:
        architecture: name of the architecture, for the message.
        encoder: encoder whose sizes were inferred from the tensors.
        tensors: tensors by their names in the file.
        get_published_name: gives the name in the file of a tensor of the encoder; the same name by default.

    Raises:
        SingerVerifyError: naming the first tensors that are missing, left over or of another shape.
    """
    expected = {get_published_name(name): value for name, value in encoder.state_dict().items()}
    faults = [f"{name} is missing" for name in expected if name not in tensors]
    faults += [f"{name} is left over" for name in tensors if name not in expected]
    faults += [
        f"{name} has shape {tuple(tensors[name].shape)}, expected {tuple(value.shape)}"
        for name, value in expected.items()
        if name in tensors and tensors[name].shape != value.shape
    ]
    faults += [
        f"{name} holds NaN or infinite values"
        for name, value in tensors.items()
        if value.is_floating_point() and not value.isfinite().all()
    ]
    if faults:
        named = "; ".join(faults[:MAX_NAMED_TENSORS])
        others = len(faults) - MAX_NAMED_TENSORS
        raise SingerVerifyError(
            f"its tensors do not form {architecture}: {named}{f'; and {others} more' if others > 0 else ''}"
        )
