"""The contract of encoders, and what is done with any of them: build, name the parts, freeze."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from singer_verify.errors import SingerVerifyError
from singer_verify.safe_loading import rebuild_from_settings


@runtime_checkable
class Encoder(Protocol):
    """A network that maps frames to embeddings: an `nn.Module`.

    Law: rows of the result have unit length, and in evaluation mode a row depends on its own frames only. The encoder
    knows no loss, no number of singers and no device; any number of frames is allowed. Layers with running statistics
    (BatchNorm) are welcome: they are averaged over devices, and stay as they are where frozen.

    Shape: frames (batch, frames, bins) → (batch, embedding).

    Attributes:
        embedding_size: size of an embedding.
        settings: settings that rebuild the encoder, untrained: `_target_`, the class's import path, and the
            constructor's arguments, as plain values (dict, list, str, int, float, bool, None).

    Example:
        class MeanEncoder(nn.Module):
            def __init__(self, num_bins, embedding_size=64):
                super().__init__()
                self.embedding_size, self.linear = embedding_size, nn.Linear(num_bins, embedding_size)
                path = f"{__name__}.MeanEncoder"
                self.settings = {"_target_": path, "num_bins": num_bins, "embedding_size": embedding_size}

            def forward(self, frames):
                return nn.functional.normalize(self.linear(frames.mean(dim=1)), dim=1)
    """

    embedding_size: int
    settings: dict[str, Any]

    def __call__(self, frames: Float[Tensor, "batch frames bins"]) -> Float[Tensor, "batch embedding"]: ...

    def parameters(self) -> Iterator[nn.Parameter]: ...


def build_encoder(settings: dict[str, Any]) -> nn.Module:
    """Build the encoder that a checkpoint's weights belong to, untrained.

    Raises:
        SingerVerifyError: the settings name no encoder of singer_verify or of a trusted package.
    """
    encoder: nn.Module = rebuild_from_settings(settings, "singer_verify.encoders")
    return encoder


def group_parameters_by_part(encoder: nn.Module) -> dict[str, list[nn.Parameter]]:
    """Group an encoder's parameters by part: the layers of an LSTM stack (`lstm.0`, `lstm.1`, ...), else submodules.

    A submodule with statistics but no parameters is a part as well.
    """
    parts: dict[str, list[nn.Parameter]] = {}
    for name, module in encoder.named_children():
        if isinstance(module, nn.LSTM):
            for layer in range(module.num_layers):
                ends = (f"_l{layer}", f"_l{layer}_reverse")
                parts[f"{name}.{layer}"] = [weight for key, weight in module.named_parameters() if key.endswith(ends)]
        elif [*module.parameters(), *module.buffers()]:
            parts[name] = list(module.parameters())
    if own := list(encoder.parameters(recurse=False)):
        parts["own"] = own  # parameters that the encoder holds beside its submodules
    return parts


def freeze(encoder: nn.Module, names: str | Sequence[str]) -> None:
    """Keep the named parts as they are: no gradients, no optimiser, and evaluation mode whatever the encoder is in.

    A frozen BatchNorm would otherwise follow the batches, and frozen dropout add noise to weights that cannot adapt.

    Raises:
        SingerVerifyError: the encoder has no part of that name.
    """
    parts, names = group_parameters_by_part(encoder), [names] if isinstance(names, str) else names
    if unknown := [str(name) for name in names if name not in parts]:
        raise SingerVerifyError(
            f"freeze=[{', '.join(unknown)}]: no such part of the encoder; expected some of {', '.join(parts)}."
        )
    children = dict(encoder.named_children())
    for name in names:
        for parameter in parts[name]:
            parameter.requires_grad_(False)
        for module in children[name].modules() if name in children else ():
            module.eval()
            module.register_forward_pre_hook(_stay_in_evaluation_mode)


def _stay_in_evaluation_mode(module: nn.Module, _: Any) -> None:
    module.eval()  # the trainer has put the whole encoder into training mode
