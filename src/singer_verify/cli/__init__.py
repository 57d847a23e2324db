"""The command `singer-verify`: prepare corpora, judge models, recognise singers, keep track of runs."""

import rich
import typer
from rich.console import Console

from singer_verify.cli.calibration import calibrate
from singer_verify.cli.corpora import prepare
from singer_verify.cli.demo import demo
from singer_verify.cli.evaluation import evaluate
from singer_verify.cli.export import card, export
from singer_verify.cli.galleries import enrol, gallery
from singer_verify.cli.maps import draw_corpus_map
from singer_verify.cli.models import embed, import_weights
from singer_verify.cli.projects import new
from singer_verify.cli.recognition import identify, verify
from singer_verify.cli.sweeps import leaderboard, runs
from singer_verify.cli.tables import table
from singer_verify.cli.timelines import timeline
from singer_verify.cli.trials import trials
from singer_verify.entry import plain_mistakes, print_any_name, start_log

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)
for command in (
    *(verify, enrol, gallery, identify, timeline, table, embed, demo),
    *(evaluate, calibrate, trials, new, prepare, runs, leaderboard, import_weights, export, card),
):
    app.command()(command)
app.command("map")(draw_corpus_map)


def main() -> None:
    """Entry point of the console command."""
    rich.reconfigure(stderr=True)  # progress of what lies below; results alone go to standard output
    start_log(Console(stderr=True))
    print_any_name()
    with plain_mistakes():
        app()
