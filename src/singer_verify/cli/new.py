"""The command that begins a project: a folder to train in."""

from pathlib import Path
from typing import Annotated

import typer


def new(
    folder: Annotated[Path, typer.Argument(help="The folder to make, or an empty one.")],
) -> None:
    """Begin a project: a folder with train.py, its settings in conf/, and example data to try it on."""
    from singer_verify.project_files import copy_project_files

    copy_project_files(folder)
    typer.echo(f"{folder}: ready; cd there, and python train.py trains on the example data.")
