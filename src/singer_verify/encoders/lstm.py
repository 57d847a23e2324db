"""LSTM stack, pooling, projection to an embedding of unit length."""

import functools
import itertools
import logging
import warnings
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import dropout, normalize

from singer_verify.encoders.pooling import build_pooling
from singer_verify.errors import require_at_least, require_between, require_choice
from singer_verify.logging_once import warn_once

log = logging.getLogger(__name__)

STATISTICS_POOLINGS = ("statistics", "attentive_statistics")
POOLINGS = ("last", "mean", "attention", *STATISTICS_POOLINGS)
INITIALISATIONS = ("default", "orthogonal")


class LSTMEncoder(nn.Module):
    """The d-vector network of Wan et al. 2018 ("Generalized end-to-end loss for speaker verification", section 3.1).

    Shape: frames (batch, frames, bins) → embeddings (batch, embedding), rows of unit length.

    Args:
        num_bins: number of bins of a frame.
        hidden_size: hidden size of an LSTM layer, in each direction.
        num_layers: number of layers of the stack.
        embedding_size: size of an embedding.
        dropout: dropout probability between layers, while training.
        bidirectional: whether a second stack reads the frames backwards.
        relu: whether the projection is rectified, which keeps cosines of embeddings in [0, 1].
        pooling: last hidden state of each direction, mean of all, their mean weighted by self-attention
            (Chowdhury et al. 2018, "Attention-based models for text-dependent speaker verification", section 3.2), or
            mean and deviation, of all alike or weighted by attention (see `encoders.pooling.build_pooling`).
        initialisation: PyTorch's default, or orthogonal weights, zero biases and forget biases of one.
    """

    def __init__(
        self,
        num_bins: int,
        hidden_size: int = 256,
        num_layers: int = 3,
        embedding_size: int = 256,
        dropout: float = 0.0,
        bidirectional: bool = False,
        relu: bool = True,
        pooling: str = "last",
        initialisation: str = "default",
    ) -> None:
        super().__init__()
        require_at_least(1, **{"encoder.num_bins": num_bins, "encoder.hidden_size": hidden_size})
        require_at_least(1, **{"encoder.num_layers": num_layers, "encoder.embedding_size": embedding_size})
        require_between(0.0, 0.99, **{"encoder.dropout": dropout})
        require_choice(POOLINGS, **{"encoder.pooling": pooling})
        require_choice(INITIALISATIONS, **{"encoder.initialisation": initialisation})
        self.embedding_size = embedding_size
        self.settings: dict[str, Any] = {
            "_target_": f"{__name__}.LSTMEncoder",
            "num_bins": num_bins,
            "hidden_size": hidden_size,
            "num_layers": num_layers,
            "embedding_size": embedding_size,
            "dropout": float(dropout),
            "bidirectional": bool(bidirectional),
            "relu": bool(relu),
            "pooling": pooling,
            "initialisation": initialisation,
        }
        between_layers = float(dropout) if num_layers > 1 else 0.0
        self.lstm = nn.LSTM(
            num_bins, hidden_size, num_layers, batch_first=True, dropout=between_layers, bidirectional=bidirectional
        )
        width = hidden_size * (2 if bidirectional else 1)
        self.attention = nn.Linear(width, 1) if pooling == "attention" else None
        self.pooling = build_pooling(pooling, width) if pooling in STATISTICS_POOLINGS else None
        self.linear = nn.Linear(self.pooling.width if self.pooling else width, embedding_size)
        if initialisation == "orthogonal":
            self._initialise_orthogonally()

    def forward(self, frames: Float[Tensor, "batch frames bins"]) -> Float[Tensor, "batch embedding"]:
        outputs, hidden = self._run_lstm(frames)
        projected = self.linear(self._pool(outputs, hidden)).float()
        if self.settings["relu"]:
            projected = projected.relu()
        return normalize(projected, dim=1)

    def _run_lstm(
        self, frames: Float[Tensor, "batch frames bins"]
    ) -> tuple[Float[Tensor, "batch frames width"], Float[Tensor, "states batch hidden"]]:
        """Run the stack, in single precision where the processor runs none in bfloat16."""
        wants_bf16 = frames.device.type == "cpu" and torch.is_autocast_enabled("cpu")
        if wants_bf16 and not can_run_bf16_lstm():
            warn_once(log, "This processor runs no LSTM in bfloat16: the LSTM stays in single precision, the rest not.")
            with torch.autocast("cpu", enabled=False):
                outputs, (hidden, _) = self.lstm(frames.float())
        elif frames.is_cuda and self.training and self.lstm.dropout:
            outputs, hidden = self._run_lstm_with_dropout(frames)
        else:
            outputs, (hidden, _) = self.lstm(frames)
        return outputs, hidden

    def _run_lstm_with_dropout(
        self, frames: Float[Tensor, "batch frames bins"]
    ) -> tuple[Float[Tensor, "batch frames width"], Float[Tensor, "states batch hidden"]]:
        """Run the stack layer by layer, with dropout between layers that draws from the device's generator.

        cuDNN's own dropout draws from a state that nothing can read or set, so that no stopped training could continue
        as it would have.
        """
        lstm, outputs, hidden = self.lstm, frames, []
        directions = 2 if lstm.bidirectional else 1
        for layer in range(lstm.num_layers):
            if layer > 0:
                outputs = dropout(outputs, lstm.dropout)
            own = lstm.all_weights[layer * directions : (layer + 1) * directions]
            weights: list[Tensor] = [*itertools.chain.from_iterable(own)]
            start = outputs.new_zeros(directions, len(outputs), lstm.hidden_size)
            with warnings.catch_warnings():  # a layer's weights are not one piece of memory; copying them costs little
                warnings.filterwarnings("ignore", "RNN module weights are not part of single contiguous chunk")
                outputs, last, _ = torch.lstm(
                    outputs, (start, start), weights, True, 1, 0.0, True, lstm.bidirectional, True
                )
            hidden.append(last)
        return outputs, torch.cat(hidden)

    def _pool(
        self, outputs: Float[Tensor, "batch frames width"], hidden: Float[Tensor, "states batch hidden"]
    ) -> Float[Tensor, "batch pooled"]:
        if self.pooling is not None:
            return self.pooling(outputs.transpose(1, 2))
        if self.attention is not None:
            weights = self.attention(outputs).softmax(dim=1)
            return (weights * outputs).sum(dim=1)
        if self.settings["pooling"] == "mean":
            return outputs.mean(dim=1)
        directions = 2 if self.settings["bidirectional"] else 1
        return torch.cat(tuple(hidden[-directions:]), dim=1)

    @torch.no_grad()
    def _initialise_orthogonally(self) -> None:
        """Make each gate's matrix orthogonal (Saxe et al. 2014) and open the forget gates (Jozefowicz et al. 2015)."""
        hidden_size = self.settings["hidden_size"]
        for name, parameter in self.lstm.named_parameters():
            if name.startswith("weight"):
                for gate in parameter.view(4, hidden_size, -1):
                    nn.init.orthogonal_(gate)
            else:
                parameter.zero_()
                if name.startswith("bias_ih"):
                    parameter[hidden_size : 2 * hidden_size] = 1.0
        nn.init.orthogonal_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)


@functools.cache
def can_run_bf16_lstm() -> bool:
    """Whether this processor runs an LSTM in bfloat16, which torch leaves to oneDNN; found by running a small one."""
    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]):
        lstm = nn.LSTM(8, 8)
        try:
            with torch.autocast("cpu", dtype=torch.bfloat16):
                outputs, _ = lstm(torch.zeros(2, 1, 8))
            outputs.float().sum().backward()
        except RuntimeError:
            return False
    return True
