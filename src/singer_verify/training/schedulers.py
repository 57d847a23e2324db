"""Learning rate over training steps."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from singer_verify.errors import SingerVerifyError, require_at_least


def build_warmup_cosine(optimizer: Optimizer, warmup_steps: int, max_steps: int) -> LambdaLR:
    """Build a linear rise over `warmup_steps`, then half a cosine down to zero at `max_steps`.

    Loshchilov & Hutter 2017, without restarts.

    Raises:
        SingerVerifyError: the warm-up is longer than the training.
    """
    require_at_least(0, **{"scheduler.warmup_steps": warmup_steps})
    require_at_least(1, **{"scheduler.max_steps": max_steps})
    if max_steps <= warmup_steps:
        raise SingerVerifyError(
            f"scheduler.max_steps={max_steps}: the learning rate rises over the first {warmup_steps} steps; expected "
            f"{warmup_steps + 1} or more: train longer, or shorten the rise by scheduler.warmup_steps."
        )

    def factor(step: int) -> float:
        if step < warmup_steps:
            return (step + 1) / warmup_steps
        progress = min((step - warmup_steps) / (max_steps - warmup_steps), 1.0)
        return 0.5 * (1.0 + math.cos(math.pi * progress))

    return LambdaLR(optimizer, factor)
