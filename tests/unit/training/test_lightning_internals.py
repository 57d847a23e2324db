"""What is used of Lightning's private parts."""

import random

import numpy as np
import torch

from singer_verify.training.lightning_internals import capture_rng_states, restore_rng_states


def draw() -> tuple[float, float, float]:
    return random.random(), float(np.random.random()), float(torch.rand(()))  # noqa: NPY002


def test_all_generators_continue_where_they_were(tmp_path) -> None:
    torch.save(capture_rng_states(), tmp_path / "states")
    expected = draw()
    draw()
    restore_rng_states(torch.load(tmp_path / "states", weights_only=True))
    assert draw() == expected
