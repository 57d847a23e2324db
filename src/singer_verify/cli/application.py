"""The application that every command registers with."""

from typing import Annotated

import typer

app = typer.Typer(no_args_is_help=True, add_completion=False)


def _print_version(is_wanted: bool) -> bool:
    if is_wanted:
        import singer_verify

        typer.echo(singer_verify.__version__)
        raise typer.Exit
    return is_wanted


@app.callback()
def describe(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version and exit.")
    ] = False,
) -> None:
    """Who sings? Compare recordings, find singers, evaluate and export models, prepare corpora, keep track of runs."""
