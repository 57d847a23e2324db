"""Gathering tensors and objects from the processes (ranks) of a distributed training."""

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn


def get_world_size() -> int:
    """Return the number of processes of this training, 1 without distributed training."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


class _GatherRows(torch.autograd.Function):
    """All-gather of rows whose backward pass sums each rank's gradients over all ranks."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:  # type: ignore[override]
        gathered = [torch.empty_like(rows) for _ in range(get_world_size())]
        dist.all_gather(gathered, rows)
        return torch.cat(gathered)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total.chunk(get_world_size())[dist.get_rank()]


def gather_with_gradients(rows: Tensor) -> Tensor:
    """Gather the rows of all ranks, in rank order, so that a loss over all of them has a gradient on every rank.

    All ranks must contribute equally many rows and compute the same loss from the result. The gradient of a rank's own
    rows is then `get_world_size()` times that of a single process, which DistributedDataParallel undoes by averaging
    over ranks.

    Args:
        rows: (rows, ...) of this rank.

    Returns:
        (ranks × rows, ...).
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
