"""Processes that train one model together (ranks), and how the results of their parts are put together."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor


def get_world_size() -> int:
    """Of this training; 1 where it is a single process."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _GatherRows(torch.autograd.Function):
    """Rows of all ranks; backward adds up the gradients that all ranks have for a rank's rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:  # type: ignore[override]
        of_ranks = [torch.empty_like(rows) for _ in range(get_world_size())]
        dist.all_gather(of_ranks, rows)
        return torch.cat(of_ranks)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(get_world_size())[dist.get_rank()]


def gather_with_gradients(rows: Tensor) -> Tensor:
    """Rows of all ranks, in their order; a loss of all of them has its gradient on every rank.

    Every rank must have as many rows, and take the same loss of the result. A rank's own rows then get `num_ranks`
    times the gradient of one process; DistributedDataParallel averages over ranks, which undoes that.
    """
    return _GatherRows.apply(rows.contiguous()) if get_world_size() > 1 else rows  # type: ignore[no-untyped-call]
