"""The warm-up and cosine schedule at its landmarks."""

from itertools import pairwise

import pytest
import torch

from singer_verify.errors import SingerVerifyError
from singer_verify.training.schedulers import build_warmup_cosine


def rates(warmup_steps: int, max_steps: int) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    schedule = build_warmup_cosine(optimizer, warmup_steps, max_steps)
    values = []
    for _ in range(max_steps + 3):
        values.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        schedule.step()
    return values


def test_rises_to_the_full_rate_and_falls_to_zero() -> None:
    values = rates(4, 20)
    assert values[:4] == [0.25, 0.5, 0.75, 1.0]
    assert values[12] == pytest.approx(0.5)
    assert values[20:] == pytest.approx([0.0] * 3)
    assert all(later <= earlier for earlier, later in pairwise(values[4:]))


def test_no_warm_up_starts_at_the_full_rate() -> None:
    assert rates(0, 10)[0] == 1.0


def test_refuses_a_warm_up_longer_than_the_training() -> None:
    with pytest.raises(
        SingerVerifyError, match=r"max_steps=10: .* first 10 steps; expected 11 or more: .* scheduler\.warmup_steps\.$"
    ):
        rates(10, 10)
