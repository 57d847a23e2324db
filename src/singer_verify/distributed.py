"""Processes that train one model together (ranks), and how the results of their parts are put together."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


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


@torch.no_grad()
def average_buffers(module: nn.Module) -> None:
    """Average a module's running statistics over all ranks, so that these agree; called by all ranks alike.

    BatchNorm normalises a training batch by the statistics of each rank's part of it, and evaluation by their running
    average: the average over ranks is the one that belongs to what all ranks did.
    """
    if get_world_size() == 1:
        return
    for buffer in module.buffers():
        if buffer.is_floating_point():
            dist.all_reduce(buffer)
            buffer /= get_world_size()
