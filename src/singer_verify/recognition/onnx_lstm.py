"""An LSTM stack as ONNX's operator of that name."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

FLOAT = 1  # ONNX's number for single precision
FIRST_OPSET = 14  # since when the operator is what it is


class OnnxLstm(nn.Module):
    """Stands in for an `nn.LSTM` while a model is exported: tracing torch's own fixes the number of frames.

    ONNX orders gates input, output, forget, cell (operator LSTM), torch input, forget, cell, output.

    Shape: (batch, frames, bins) → outputs (batch, frames, width), (hidden states, None), as of an `nn.LSTM` with
    `batch_first`; cell states are not made.

    Args:
        lstm: with `batch_first`, without projections; evaluated, so that its dropout does nothing.
    """

    def __init__(self, lstm: nn.LSTM) -> None:
        super().__init__()
        self.num_layers, self.hidden_size = lstm.num_layers, lstm.hidden_size
        self.direction = "bidirectional" if lstm.bidirectional else "forward"
        self.directions = ("", "_reverse") if lstm.bidirectional else ("",)
        for layer in range(lstm.num_layers):
            self._take_weights(lstm, layer)

    def forward(
        self, frames: Float[Tensor, "batch frames bins"]
    ) -> tuple[Float[Tensor, "batch frames width"], tuple[Float[Tensor, "states batch hidden"], None]]:
        outputs, last_states = frames.transpose(0, 1), []
        for layer in range(self.num_layers):
            num_frames, batch = outputs.shape[:2]
            weights = [getattr(self, f"{name}_{layer}") for name in ("inputs", "states", "biases")]
            by_direction, last = torch.onnx.ops.symbolic_multi_out(
                "LSTM",
                [outputs, *weights],
                attrs={"hidden_size": self.hidden_size, "direction": self.direction},
                dtypes=(FLOAT, FLOAT),
                shapes=(
                    [num_frames, len(self.directions), batch, self.hidden_size],
                    [len(self.directions), batch, self.hidden_size],
                ),
                version=FIRST_OPSET,
            )
            outputs = by_direction.transpose(1, 2).flatten(2)
            last_states.append(last)
        return outputs.transpose(0, 1), (torch.cat(last_states), None)

    def _take_weights(self, lstm: nn.LSTM, layer: int) -> None:
        """Keep the weights of a layer as the operator takes them, all directions in one."""
        inputs, states, *biases = (
            torch.stack([_in_onnx_order(getattr(lstm, f"{name}_l{layer}{end}")) for end in self.directions])
            for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        )
        self.register_buffer(f"inputs_{layer}", inputs)
        self.register_buffer(f"states_{layer}", states)
        self.register_buffer(f"biases_{layer}", torch.cat(biases, dim=1))


def with_onnx_lstms(encoder: nn.Module) -> nn.Module:
    """Exchange every LSTM stack of this kind in an encoder; returns the encoder."""
    for name, part in list(encoder.named_modules()):
        if isinstance(part, nn.LSTM) and part.batch_first and not part.proj_size:
            encoder.set_submodule(name, OnnxLstm(part))
    return encoder


def _in_onnx_order(gates: Float[Tensor, "*shape"]) -> Float[Tensor, "*shape"]:
    into, forget, cell, out = gates.detach().chunk(4)
    return torch.cat([into, out, forget, cell])
