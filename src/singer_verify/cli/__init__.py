"""The command `singer-verify`: prepare corpora, judge models, recognise singers, keep track of runs."""

import rich
import typer
from rich.console import Console

from singer_verify.cli.calibrate import calibrate
from singer_verify.cli.console import configure_logging, escape_undecodable_output, report_user_errors
from singer_verify.cli.demo import demo
from singer_verify.cli.diarize import diarize
from singer_verify.cli.embed import embed, import_weights, table
from singer_verify.cli.evaluate import evaluate_model
from singer_verify.cli.export import card, export
from singer_verify.cli.galleries import enrol, gallery
from singer_verify.cli.map import draw_corpus_map
from singer_verify.cli.new import new
from singer_verify.cli.prepare import prepare
from singer_verify.cli.runs import leaderboard, runs
from singer_verify.cli.trials import trials
from singer_verify.cli.verify import identify, verify

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
for command in (
    *(verify, enrol, gallery, identify, diarize, table, embed, demo),
    *(calibrate, trials, new, prepare, runs, leaderboard, import_weights, export, card),
):
    app.command()(command)
app.command("evaluate")(evaluate_model)
app.command("map")(draw_corpus_map)


def main() -> None:
    """Entry point of the console command."""
    rich.reconfigure(stderr=True)  # progress of what lies below; results alone go to standard output
    configure_logging(Console(stderr=True))
    escape_undecodable_output()
    with report_user_errors():
        app()
