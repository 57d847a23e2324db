"""The command that writes a model between a fine-tuned one and the one it began with."""

from pathlib import Path
from typing import Annotated

import typer

from singer_verify.cli.application import ModelArgument, app, takes_trust
from singer_verify.cli.console import require_new_files, require_output_file


@app.command()
@takes_trust
def interpolate(
    model_path: ModelArgument,
    out: Annotated[Path, typer.Option(help="The .ckpt to write.")],
    towards_start: Annotated[
        float, typer.Option(help="Share of the weights it began with: 0 is the model itself, 1 the start.")
    ] = 0.5,
    start: Annotated[
        Path | None, typer.Option(help="The model it began with (default: the one that its run records).")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Write a model whose weights lie between a fine-tuned model and its start, to lose less on other corpora.

    Compare several shares with `evaluate`, on singers that the training has not seen.
    """
    from singer_verify.runs.checkpoints import Checkpoint, write_checkpoint
    from singer_verify.runs.interpolation import find_start, interpolate_checkpoints

    require_output_file("--out", out, ".ckpt")
    require_new_files(out, force=force)
    tuned, first = Checkpoint.read(model_path), Checkpoint.read(start or find_start(model_path))
    write_checkpoint(interpolate_checkpoints(tuned, first, towards_start), out)
    typer.echo(f"{out}: {1 - towards_start:g} × {tuned.path} + {towards_start:g} × {first.path}.")
