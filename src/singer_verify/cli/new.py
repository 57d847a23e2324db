"""The command that creates a project: a folder to train in."""

from pathlib import Path
from typing import Annotated

import typer

from singer_verify.cli.application import app


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(help="The folder to create; an existing one must be empty.")],
) -> None:
    """Create a project: a folder with train.py, its settings in conf/, and example data."""
    from singer_verify.project_files import copy_project_files

    copy_project_files(folder)
    typer.echo(f"{folder}: ready; cd there and run python train.py to train on the example data.")
