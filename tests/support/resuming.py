"""Trainings that are killed at a given moment and then resumed, and how their checkpoints differ."""

from pathlib import Path
from typing import Any

import pytest
import torch

from support.tiny_run import At, Killed, differences, kill, last_of, run, tiny

FOLDERS_AND_LOOPS = ("BestCheckpoint", "settings", "validate_loop", "val_loop")
DURATION = "MetricHistory/seconds"
TYPE_CHECKER = "singer_verify_random_states/python"  # beartype, in tests only, draws which item of a list it checks
# Which hook of Lightning's, and which call of it: 13 steps, validated untrained and after steps 4, 8, 12 and 13, in 3
# batches; saved every 3 steps.
STOPS = {
    "at the first step": ("on_train_batch_end", 1),
    "in the middle of a cycle": ("on_train_batch_end", 6),
    "at the step before validation": ("on_train_batch_end", 7),
    "at the step of a validation": ("on_train_batch_end", 8),
    "in the untrained validation": ("on_validation_batch_end", 2),
    "in the middle of a validation": ("on_validation_batch_end", 8),
    "at the end of a validation": ("on_validation_end", 3),
    "in the last validation": ("on_validation_batch_end", 14),
    "after the last validation": ("on_train_end", 1),
}


def unlike(left: Path, right: Path) -> list[str]:
    """What differs between the last checkpoints and best models of two runs, except for place and duration."""
    differing = differences(last_of(left), last_of(right))
    allowed = (*FOLDERS_AND_LOOPS, DURATION, TYPE_CHECKER)
    differing = [place for place in differing if not any(part in place for part in allowed)]
    return differing + differences(best_of(left), best_of(right), "best")


def best_of(folder: Path) -> dict[str, Any]:
    """The best model, and what the training remembers of it."""
    states = last_of(folder)["callbacks"].items()
    (memory,) = (state for name, state in states if name.startswith("BestCheckpoint"))
    weights = torch.load(folder / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
    return {"weights": weights, **{name: memory[name] for name in ("best_model_score", "kth_value")}}


def stopped_and_continued(monkeypatch, folder, stop, corpus, *overrides):
    hook, count = STOPS[stop]
    with pytest.raises(Killed):
        run(monkeypatch, *tiny(corpus), *overrides, folder=folder, callbacks=(At(hook, count, kill),))
    assert run(monkeypatch, f"resume={folder}") == folder
    return folder
