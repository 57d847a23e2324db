"""LSTM encoders of earlier programs: singer_id_encoder, Resemblyzer, Real-Time-Voice-Cloning, AutoVC."""

import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from singer_verify.encoders.lstm import LSTMEncoder
from singer_verify.runs.checkpoints import rename_legacy_parameters
from singer_verify.training.weight_layouts.layout import ExternalWeights, get_size, require_fitting_tensors

ARCHITECTURE = "an LSTM encoder"
ENCODER_PREFIXES = ("lstm.", "linear.", "attention.")
LEGACY_GE2E_NAMES = ("similarity_weight", "similarity_bias")  # a classifier is useless without the names of its singers


class SingerIdLayout:
    """`model_state`: an LSTM, a linear layer with a rectifier, the scale and offset of GE2E, a classifier."""

    expected = "`model_state` (singer_id_encoder, Resemblyzer, Real-Time-Voice-Cloning) with an LSTM and a linear layer"

    def recognises(self, content: Mapping[str, Any]) -> bool:
        return isinstance(content.get("model_state"), dict)

    def read(self, content: Mapping[str, Any]) -> ExternalWeights:
        return _read_lstm(content, content["model_state"], relu=True)


class AutoVCLayout:
    """`model_b`: an LSTM and a linear layer called `embedding`, without a rectifier, of a data-parallel module."""

    expected = "`model_b` (AutoVC's speaker encoder) with the same"

    def recognises(self, content: Mapping[str, Any]) -> bool:
        return isinstance(content.get("model_b"), dict)

    def read(self, content: Mapping[str, Any]) -> ExternalWeights:
        named = {re.sub(r"^(module\.)?embedding\.", "linear.", str(name)): v for name, v in content["model_b"].items()}
        return _read_lstm(content, named, relu=False)


def _read_lstm(content: Mapping[str, Any], named: Mapping[str, Any], relu: bool) -> ExternalWeights:
    tensors = {str(name).removeprefix("module."): value for name, value in named.items() if torch.is_tensor(value)}
    weights = {name: tensor for name, tensor in tensors.items() if name.startswith(ENCODER_PREFIXES)}
    encoder = _infer_encoder_settings(weights, relu)
    losses = rename_legacy_parameters({name: tensors[name] for name in LEGACY_GE2E_NAMES if name in tensors})
    state = {f"encoder.{name}": tensor for name, tensor in weights.items()} | losses
    step = content.get("step", 0)
    dropped = sorted(set(tensors) - set(weights) - set(LEGACY_GE2E_NAMES))
    return ExternalWeights(encoder, state, step if isinstance(step, int) else 0, dropped)


def _infer_encoder_settings(weights: dict[str, Tensor], relu: bool) -> dict[str, Any]:
    """Infer the settings of the encoder whose parameters have exactly these names and shapes."""
    encoder = LSTMEncoder(
        num_bins=get_size(ARCHITECTURE, weights, "lstm.weight_ih_l0", 1),
        hidden_size=get_size(ARCHITECTURE, weights, "lstm.weight_hh_l0", 1),
        num_layers=sum(re.fullmatch(r"lstm\.weight_hh_l\d+", name) is not None for name in weights),
        embedding_size=get_size(ARCHITECTURE, weights, "linear.weight", 0),
        bidirectional="lstm.weight_hh_l0_reverse" in weights,
        relu=relu,
        pooling="attention" if "attention.weight" in weights else "last",
    )
    require_fitting_tensors(ARCHITECTURE, encoder, weights)
    return encoder.settings
