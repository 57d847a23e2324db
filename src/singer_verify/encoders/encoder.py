"""The contract of encoders, and what is done with any of them: build, name the parts, freeze."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from singer_verify.errors import SingerVerifyError, require_between
from singer_verify.safe_loading import rebuild_from_settings

CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
BATCHNORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)
OWN_PART = "own"
MIN_LR_MULTIPLIER, MAX_LR_MULTIPLIER = 1e-6, 1e6  # what does not learn at all is named in freeze


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
    """Group an encoder's parameters by part, in the order in which the encoder was built: from the input to the output.

    The parts of an LSTM stack are its layers (`lstm.0`, `lstm.1`, ...), those of a `Sequential`, `ModuleList` or
    `ModuleDict` the modules in it (`blocks.0`, `blocks.1`, ...); any other submodule is one part. A submodule
    with statistics but no parameters is a part as well.
    """
    parts = _group_by_part(encoder, "")
    if own := list(encoder.parameters(recurse=False)):
        parts[OWN_PART] = own  # parameters that the encoder holds beside its submodules
    return parts


def _group_by_part(module: nn.Module, prefix: str) -> dict[str, list[nn.Parameter]]:
    parts: dict[str, list[nn.Parameter]] = {}
    for child_name, child in module.named_children():
        name = f"{prefix}{child_name}"
        if isinstance(child, nn.LSTM):
            for layer in range(child.num_layers):
                ends = (f"_l{layer}", f"_l{layer}_reverse")
                parts[f"{name}.{layer}"] = [weight for key, weight in child.named_parameters() if key.endswith(ends)]
        elif type(child) in CONTAINERS and len(inner := _group_by_part(child, f"{name}.")) > 1:
            parts |= inner  # a class derived from a container is a block of its own
        elif [*child.parameters(), *child.buffers()]:
            parts[name] = list(child.parameters())
    return parts


def group_parameters_by_rate(
    encoder: nn.Module, layer_decay: float = 1.0, lr_multipliers: Mapping[str, float] | None = None
) -> dict[str, tuple[float, list[nn.Parameter]]]:
    """Group the parameters that learn by their learning rate (Howard & Ruder 2018, "Universal language model
    fine-tuning", section 3.2: discriminative fine-tuning).

    Args:
        encoder: the encoder, whose frozen parameters are left out.
        layer_decay: multiplier from each part to the one before it; the part nearest the output has 1.
        lr_multipliers: multipliers of parts or other submodules by name, instead of that; the innermost name decides.

    Returns:
        multiplier and parameters by the name of a part, or the one in `lr_multipliers`.

    Raises:
        SingerVerifyError: the encoder has no part of that name, or a multiplier is out of range.
    """
    require_between(MIN_LR_MULTIPLIER, 1.0, layer_decay=layer_decay)
    lr_multipliers = lr_multipliers or {}
    parts = {name: parameters for name, parameters in group_parameters_by_part(encoder).items() if parameters}
    rates = {name: layer_decay**distance for distance, name in enumerate(reversed(parts))}
    name_by_parameter = {parameter: name for name, parameters in parts.items() for parameter in parameters}
    for name, multiplier in sorted(lr_multipliers.items(), key=lambda entry: entry[0].count(".")):
        require_between(MIN_LR_MULTIPLIER, MAX_LR_MULTIPLIER, **{f"lr_multipliers.{name}": multiplier})
        rates[name] = float(multiplier)
        name_by_parameter |= dict.fromkeys(_find_parameters(encoder, "lr_multipliers", name), name)
    groups: dict[str, tuple[float, list[nn.Parameter]]] = {}
    for parameter, name in name_by_parameter.items():
        if parameter.requires_grad:
            groups.setdefault(name, (rates[name], []))[1].append(parameter)
    return groups


def freeze(encoder: nn.Module, names: str | Sequence[str]) -> None:
    """Keep the named parts as they are: no gradients, no optimiser, and evaluation mode whatever the encoder is in.

    A frozen BatchNorm would otherwise follow the batches, and frozen dropout add noise to weights that cannot adapt.

    Args:
        encoder: the encoder.
        names: parts, see `group_parameters_by_part`, or other submodules by their dotted names.

    Raises:
        SingerVerifyError: the encoder has no part of that name.
    """
    names = [names] if isinstance(names, str) else [str(name) for name in names]
    frozen = [parameter for name in names for parameter in _find_parameters(encoder, "freeze", name)]
    for parameter in frozen:
        parameter.requires_grad_(False)
    submodules = dict(encoder.named_modules())
    for name in names:
        for module in submodules[name].modules() if name in submodules else ():
            _keep_in_evaluation_mode(module)


def freeze_batchnorm(encoder: nn.Module) -> None:
    """Keep the running statistics of every BatchNorm as they are, and normalise by them while training too.

    Its scale and offset learn, unless they are frozen. Batches of a few singers of one corpus would otherwise replace
    the statistics of all the voices that the encoder was trained on before.
    """
    for module in encoder.modules():
        if isinstance(module, BATCHNORMS):
            _keep_in_evaluation_mode(module)


def has_frozen_batchnorm(encoder: nn.Module) -> bool:
    """Return whether a BatchNorm of an encoder that is in training mode keeps its statistics."""
    return any(isinstance(module, BATCHNORMS) and not module.training for module in encoder.modules())


def _find_parameters(encoder: nn.Module, setting: str, name: str) -> list[nn.Parameter]:
    """Find the parameters of a part or another submodule.

    Raises:
        SingerVerifyError: the encoder has neither of that name; the setting that named it is in the message.
    """
    parts, submodules = group_parameters_by_part(encoder), dict(encoder.named_modules())
    if name in parts:
        return parts[name]
    if not name or name not in submodules:
        given = f"{setting}=[{name}]" if setting == "freeze" else f"{setting}.{name}"
        raise SingerVerifyError(f"{given}: no such part of the encoder; expected some of {', '.join(parts)}.")
    return list(submodules[name].parameters())


def _keep_in_evaluation_mode(module: nn.Module) -> None:
    module.eval()
    module.register_forward_pre_hook(_stay_in_evaluation_mode)


def _stay_in_evaluation_mode(module: nn.Module, _: Any) -> None:
    module.eval()  # the trainer has put the whole encoder into training mode
