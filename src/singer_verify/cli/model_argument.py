"""The argument MODEL, which may be left out: how a command line is read then, and what stands for it."""

import copy
import gc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperCommand

PACKAGED_MODEL = Path("the model that comes with the package")  # stands for a model that was not named
MODEL_SUFFIXES = (".ckpt", ".pt", ".pth")
RUN_FILES = ("checkpoints", "run.json", ".hydra", "multirun.yaml")  # also of a run without a best model, and of a sweep
OTHER_SUFFIXES = (".npy", ".npz", ".sqlite", ".csv")  # frames, galleries, tables


class ModelCommand(TyperCommand):
    """A command whose first argument, MODEL, may be left out; see `is_model_named`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Parse the command line, with `PACKAGED_MODEL` put first where no model is named."""
        arguments = [parameter for parameter in self.params if parameter.param_type_name == "argument"]
        if arguments and arguments[0].name == "model_path":
            options_alone = copy.copy(self)
            options_alone.params = [parameter for parameter in self.params if parameter not in arguments]
            _, typed, _ = options_alone.make_parser(ctx).parse_args(args=list(args))
            others = arguments[1:]
            least = sum(parameter.required for parameter in others)
            most = None if any(parameter.nargs == -1 for parameter in others) else len(others)
            if not is_model_named(typed, least, most):
                args = [str(PACKAGED_MODEL), *args]
        return super().parse_args(ctx, args)


def is_model_named(typed: Sequence[str], least: int, most: int | None) -> bool:
    """Return whether the first of the typed arguments is the MODEL, and not the first of the others.

    An audio file never is. Else it is if there are more arguments than the command takes besides a model, or if it
    looks like one: a run folder, or a .ckpt, .pt or .pth. It is not if it looks like anything else: another folder,
    frames, a gallery, a table. What looks like neither is the model if enough arguments follow.

    Args:
        typed: arguments as typed, without options.
        least: number of arguments that the command needs besides the model.
        most: number of arguments that it takes besides the model; None for any number.
    """
    if not typed:
        return False
    from singer_verify.audio import AUDIO_SUFFIXES
    from singer_verify.corpora.names import find_typed_path

    path = find_typed_path(Path(typed[0]))
    is_folder, suffix = path.is_dir(), path.suffix.lower()
    if not is_folder and suffix in AUDIO_SUFFIXES:
        return False
    if most is not None and len(typed) > most:
        return True
    if is_folder:
        return any((path / name).exists() for name in RUN_FILES)
    return suffix in MODEL_SUFFIXES or (suffix not in OTHER_SUFFIXES and len(typed) > least)


def choose_packaged_model() -> Path:
    """Return the path of the model that comes with the package, and say on standard error that it is used.

    Raises:
        SingerVerifyError: this installation has none.
    """
    from singer_verify.runs.packaged_model import require_packaged_model

    packaged = require_packaged_model()
    typer.echo(f"Model: {packaged.title}, which comes with the package.", err=True)
    return packaged.path


def import_inference() -> None:
    """Import what commands with a model need, and torch with it, without looking for garbage among it.

    That saves a fifth of the time that a command takes to start. What is imported stays until the process ends, so it
    is left out of later collections as well.
    """
    if "singer_verify.inference" in sys.modules:
        return
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        import singer_verify.inference  # noqa: F401
    finally:
        if was_enabled:
            gc.freeze()
            gc.enable()
