"""Checks of a training's settings before any work: types of arguments, and what no training can use.

What a class takes is read off its constructor, so that a setting of the wrong type or without a place is refused by its
full name, `encoder.relu=maybe`, before frames are computed or a folder is written.
"""

import inspect
import os
import types
import typing
from collections.abc import Iterator, Mapping
from typing import Any, Literal, Union

import pytorch_lightning as pl
from pytorch_lightning.accelerators import CUDAAccelerator, MPSAccelerator
from pytorch_lightning.loggers import Logger

from singer_verify.encoders.encoder import MAX_LR_MULTIPLIER, MIN_LR_MULTIPLIER
from singer_verify.errors import SingerVerifyError, require_at_least, require_between, require_choice
from singer_verify.features.recipe import get_feature_settings
from singer_verify.runs.settings import iterate_leaf_settings
from singer_verify.safe_loading import OWN_PACKAGE, TARGET_ALIASES
from singer_verify.training.composition import require_path
from singer_verify.training.cuda_graph import CUDA_GRAPH_SETTING, require_graph_choice

MAX_SEED = 2**32 - 1  # of numpy's generators
# Weights are trained in single precision; the others change how products are computed.
PRECISIONS = (32, "32", "32-true", 16, "16", "16-mixed", "bf16", "bf16-mixed", None)
STRATEGIES_WITHOUT_RESULTS = ("ddp_spawn", "ddp_fork", "ddp_notebook")  # and their variants
PARTS_BY_GROUP: dict[str, type] = {"callbacks": pl.Callback, "logger": Logger}
TYPE_DESCRIPTIONS: dict[Any, str] = {bool: "true or false", int: "an integer", float: "a number", str: "text"}
TYPE_DESCRIPTIONS |= {list: "a list", dict: "a mapping", types.NoneType: "null"}
HYDRA_KEYS = ("_target_", "_partial_", "_recursive_", "_convert_", "_args_")


def check_settings(settings: dict[str, Any]) -> None:
    """Refuse settings of a wrong type or range; one that was removed (`~freeze`) is left to whoever needs it.

    Args:
        settings: resolved configuration of a training, whose classes are trusted.

    Raises:
        SingerVerifyError: naming the setting, its value, and what was expected.
    """
    _check_run_settings(settings)
    for group in ("data", "features", "augmentation", "encoder", "loss", "optimizer", "scheduler", "trainer"):
        if not isinstance(settings.get(group), dict) or "_target_" not in settings[group]:
            raise SingerVerifyError(f"{group}: names no class to build it from (_target_); leave the group {group} in.")
    for group, kind in PARTS_BY_GROUP.items():
        for name, part in (settings.get(group) or {}).items():
            if part is None:
                continue
            if not (isinstance(part, dict) and "_target_" in part):
                raise SingerVerifyError(f"{group}.{name}={part}: expected null, or settings with _target_.")
            target = _import_target(f"{group}.{name}", part["_target_"])
            if isinstance(target, type) and not issubclass(target, kind):  # what a function makes is not known
                raise SingerVerifyError(
                    f"{group}.{name}._target_={part['_target_']}: expected a {kind.__name__} of pytorch_lightning."
                )
    _check_trainer(settings["trainer"])
    _check_arguments(settings)


def _check_run_settings(settings: dict[str, Any]) -> None:
    seed = settings.get("seed", 0)
    require_at_least(0, seed=seed)
    if seed > MAX_SEED:
        raise SingerVerifyError(f"seed={seed}: expected an integer between 0 and {MAX_SEED}.")
    require_choice(("min", "max"), monitor_mode=settings.get("monitor_mode", "min"))
    for name, kind in (("monitor", str), ("print_config", bool), ("freeze_batchnorm", bool)):
        if not isinstance(settings.get(name, kind()), kind):
            raise SingerVerifyError(f"{name}={settings[name]}: expected {TYPE_DESCRIPTIONS[kind]}.")
    for name in ("init_from", "resume", "ckpt_path"):
        require_path(name, settings.get(name))
    freeze = settings.get("freeze")
    if not isinstance(freeze, list | str | None):
        raise SingerVerifyError(f"freeze={freeze}: expected a list, for example freeze=[lstm.0,lstm.1].")
    require_between(MIN_LR_MULTIPLIER, 1.0, layer_decay=settings.get("layer_decay", 1.0))
    multipliers = settings.get("lr_multipliers") or {}
    if not isinstance(multipliers, dict):
        raise SingerVerifyError(f"lr_multipliers={multipliers}: expected null or, for example, {{lstm.0: 0.1}}.")
    for name, multiplier in iterate_leaf_settings(multipliers):
        require_between(MIN_LR_MULTIPLIER, MAX_LR_MULTIPLIER, **{f"lr_multipliers.{name}": multiplier})


def _check_trainer(trainer: dict[str, Any]) -> None:
    precision = trainer.get("precision")
    if precision not in PRECISIONS:
        raise SingerVerifyError(
            f"trainer.precision={precision}: the weights are trained in single precision; expected one of 32, "
            f"16-mixed, bf16-mixed."
        )
    require_graph_choice(trainer.get(CUDA_GRAPH_SETTING, "auto"))
    _check_device_settings(trainer)
    clip = trainer.get("gradient_clip_val")
    if clip is not None and (not _is_instance(clip, float) or not clip > 0):
        raise SingerVerifyError(f"trainer.gradient_clip_val={clip}: expected a positive number, or null.")
    if (algorithm := trainer.get("gradient_clip_algorithm")) not in (None, "norm"):
        raise SingerVerifyError(
            f"trainer.gradient_clip_algorithm={algorithm}: the norm of all gradients is clipped; leave it out."
        )
    for name in ("max_epochs", "limit_train_batches"):
        if trainer.get(name) == 0 and not isinstance(trainer[name], bool):
            raise SingerVerifyError(f"trainer.{name}={trainer[name]}: nothing would be trained; leave it out.")
    may_be_null = ("accumulate_grad_batches", "log_every_n_steps")
    for name in ("max_steps", "val_check_interval", *may_be_null):
        if name in trainer and not (name in may_be_null and trainer[name] is None):
            require_at_least(1, **{f"trainer.{name}": trainer[name]})


def _check_device_settings(trainer: dict[str, Any]) -> None:
    """Refuse a GPU where there is none, in words that say so, and processes that could not report their results."""
    accelerator, strategy = trainer.get("accelerator"), trainer.get("strategy")
    has_gpu = CUDAAccelerator.is_available() or (accelerator == "gpu" and MPSAccelerator.is_available())
    if accelerator in ("gpu", "cuda") and not has_gpu:
        raise SingerVerifyError(
            f"trainer.accelerator={accelerator}: torch finds no GPU on this machine; take trainer.accelerator=auto."
        )
    if isinstance(strategy, str) and strategy.startswith(STRATEGIES_WITHOUT_RESULTS):
        raise SingerVerifyError(
            f"trainer.strategy={strategy}: its processes cannot hand back what they trained; take trainer=ddp."
        )


def _check_arguments(settings: dict[str, Any]) -> None:
    """Compare the settings of every class that the configuration names with its constructor's annotations."""
    for place, node in _iterate_target_nodes(settings):
        target = _import_target(place, node["_target_"])
        if place == "features":  # what any recipe may have done to its frames is not the recipe's own
            node = get_feature_settings(node)
        if place == "trainer":
            node.pop(CUDA_GRAPH_SETTING, None)
        try:
            parameters, annotations = _read_parameters(target)
        except (TypeError, ValueError):  # a built-in class may tell nothing of its arguments
            continue
        takes_any = any(parameter.kind == inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())
        for name, value in node.items():
            if name in HYDRA_KEYS:
                continue
            if name not in parameters and not takes_any:
                raise SingerVerifyError(
                    f"{place}.{name}={value}: {getattr(target, '__name__', target)} has no such setting; it has "
                    f"{', '.join(sorted(parameters))}."
                )
            expected = annotations.get(name, Any)
            if not _is_instance(value, expected):
                raise SingerVerifyError(f"{place}.{name}={_format_value(value)}: expected {_describe(expected)}.")


def _iterate_target_nodes(settings: Any, place: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Iterate over the mappings that name a class, with their dotted places."""
    if isinstance(settings, Mapping):
        if "_target_" in settings and place:
            yield place, dict(settings)
        for name, value in settings.items():
            yield from _iterate_target_nodes(value, f"{place}.{name}" if place else str(name))


def _import_target(place: str, target: Any) -> Any:
    """Import the class or function that the settings at a place name.

    Raises:
        SingerVerifyError: they name none.
    """
    from hydra.utils import get_object

    if not isinstance(target, str) or not target.strip():
        raise SingerVerifyError(f"{place}._target_={_format_value(target)}: expected the import path of a class.")
    found = get_object(TARGET_ALIASES.get(target, target))
    if not callable(found):
        raise SingerVerifyError(f"{place}._target_={target}: is no class or function; expected the path of one.")
    return found


def _read_parameters(target: Any) -> tuple[dict[str, inspect.Parameter], dict[str, Any]]:
    """Return the parameters of a constructor and their annotations, by name.

    A class of ours that takes any further settings hands them to its parent, whose parameters are then among them.
    """
    parameters, annotations = dict(inspect.signature(target).parameters), _read_annotations(target)
    rest = [name for name, parameter in parameters.items() if parameter.kind == inspect.Parameter.VAR_KEYWORD]
    if not rest or not isinstance(target, type) or target.__module__.partition(".")[0] != OWN_PACKAGE:
        return parameters, annotations
    inherited, inherited_annotations = _read_parameters(target.__mro__[1])
    del parameters[rest[0]]
    return inherited | parameters, inherited_annotations | annotations


def _read_annotations(target: Any) -> dict[str, Any]:
    """Return the annotations of a constructor's arguments; none where they name what cannot be found."""
    constructor = inspect.getattr_static(target, "__init__") if isinstance(target, type) else target
    try:
        return typing.get_type_hints(constructor)
    except (NameError, TypeError, AttributeError):
        return {}


def _is_instance(value: Any, expected: Any) -> bool:
    """Return whether a plain value can be an argument of this annotation; in doubt it can.

    A mapping may stand for an object of any class, and a list for any collection.
    """
    if isinstance(value, dict) or expected in (Any, inspect.Parameter.empty) or isinstance(expected, typing.TypeVar):
        return True
    origin = typing.get_origin(expected)
    if origin in (Union, types.UnionType):
        return any(_is_instance(value, member) for member in typing.get_args(expected))
    if origin is Literal:
        return value in typing.get_args(expected)
    if origin is typing.Annotated:
        return _is_instance(value, typing.get_args(expected)[0])
    kind = origin or expected
    if isinstance(value, list):
        return _is_collection(kind)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if kind in (bool, str, types.NoneType):
        return isinstance(value, kind)
    if not isinstance(kind, type) or kind is object:
        return True
    return isinstance(value, str) and issubclass(kind, os.PathLike)  # objects of other classes are no plain values


def _describe(expected: Any) -> str:
    """Describe the plain values that an annotation allows: `a number or null`."""
    origin = typing.get_origin(expected)
    if origin in (Union, types.UnionType):
        described = dict.fromkeys(_describe(member) for member in typing.get_args(expected))
        return " or ".join(text for text in described if text)
    if origin is Literal:
        return f"one of {', '.join(str(choice) for choice in typing.get_args(expected))}"
    kind = origin or expected
    if kind in TYPE_DESCRIPTIONS:
        return TYPE_DESCRIPTIONS[kind]
    return "a list" if isinstance(kind, type) and _is_collection(kind) else ""


def _is_collection(kind: Any) -> bool:
    """Return whether a list can stand for an object of this class; in doubt it can."""
    if not isinstance(kind, type):
        return True
    return kind in (object, list, tuple, set, frozenset) or kind.__module__ == "collections.abc"


def _format_value(value: Any) -> str:
    return "null" if value is None else str(value)
