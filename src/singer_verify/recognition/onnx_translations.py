"""Operators that the exporter of torch translates in another way than is needed."""

from collections.abc import Callable
from typing import Any

import torch
from onnxscript import opset18

ONNX: Any = opset18  # whose annotations ask for tensors of one type at each place


def matmul(left: Any, right: Any) -> Any:
    """A product whose right side is a vector, written as one with a matrix of one column.

    onnxruntime (1.32) joins a transposition and a product with a vector into one operator, whose result is wrong.
    """
    if len(right.shape) > 1:
        return ONNX.MatMul(left, right)
    last = ONNX.Constant(value_ints=[-1])
    return ONNX.Squeeze(ONNX.MatMul(left, ONNX.Unsqueeze(right, last)), last)


TRANSLATIONS: dict[Callable[..., Any], Callable[..., Any]] = {torch.ops.aten.matmul.default: matmul}
