"""Optimisers that begin where another one stood."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from torch.optim import Optimizer

from singer_verify.errors import SingerVerifyError

OptimizerFactory = Callable[[Iterable[dict[str, Any]]], Optimizer]


def wrap_optimizer_factory(make_optimizer: OptimizerFactory, saved: dict[str, Any], origin: Path) -> OptimizerFactory:
    """An optimiser's maker whose products begin with a saved state (moments, step counts), at their own settings.

    Args:
        make_optimizer: from groups of parameters.
        saved: an optimiser's `state_dict`.
        origin: where it was saved, for the sentence of an error.

    Raises:
        SingerVerifyError: when an optimiser is made that is of another kind or for other parameters.
    """

    def make(groups: Iterable[dict[str, Any]]) -> Optimizer:
        optimizer = make_optimizer(groups)
        fresh = optimizer.state_dict()
        if found := _find_optimizer_mismatch(saved, fresh, optimizer):
            raise SingerVerifyError(
                f"init_optimizer=true: the optimiser of {origin} {found}; leave init_optimizer=false, or train the "
                f"same parts with the same optimizer=."
            )
        optimizer.load_state_dict({"state": saved["state"], "param_groups": fresh["param_groups"]})
        return optimizer

    return make


def _find_optimizer_mismatch(saved: dict[str, Any], fresh: dict[str, Any], optimizer: Optimizer) -> str | None:
    if not saved.get("state"):
        return "has no state"
    ours, theirs = (set(state["param_groups"][0]) - {"lr_multiplier", "initial_lr"} for state in (fresh, saved))
    if ours != theirs:
        return f"has the settings {', '.join(sorted(theirs))}, this one {', '.join(sorted(ours))}"
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    shapes = [tuple(parameter.shape) for parameter in parameters]
    saved_shapes = [
        _get_moment_shape(saved["state"].get(number, {})) for number in range(_count_optimizer_parameters(saved))
    ]
    if len(shapes) != len(saved_shapes) or any(
        found not in (None, shape) for found, shape in zip(saved_shapes, shapes, strict=True)
    ):
        return f"holds {len(saved_shapes)} parameters, and this training's {len(shapes)} are not the same ones"
    return None


def _count_optimizer_parameters(saved: dict[str, Any]) -> int:
    return sum(len(group["params"]) for group in saved["param_groups"])


def _get_moment_shape(state: dict[str, Any]) -> tuple[int, ...] | None:
    """Shape of a parameter's moments; None where it has none, because it was never moved."""
    moments = (value for name, value in state.items() if name != "step" and hasattr(value, "shape"))
    return next((tuple(value.shape) for value in moments), None)
