"""Commands on runs: their tree, the progress of a sweep, its leaderboard, models at hand, a run of imported weights."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from singer_verify.cli.application import JsonOption, OnlyOption, app, parse_degradation_options, takes_trust
from singer_verify.cli.console import print_result, show_progress_on_stderr, tell_page
from singer_verify.progress_bars import can_draw


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(help="The folder that holds the runs.")] = Path("runs"),
    all_jobs: Annotated[bool, typer.Option("--all", help="A row for each job of a sweep.")] = False,
    as_json: JsonOption = False,
) -> None:
    """List runs as a tree, each below the run whose weights it began with; a sweep in one row.

    Shows what each run was trained on, when, its best EER, how it ended, and why if it failed.
    """
    from dataclasses import asdict

    from singer_verify.runs.tree import read_run_tree

    summaries = read_run_tree(folder)
    if as_json:
        typer.echo(json.dumps([asdict(run) for run in summaries], indent=2))
    else:
        from singer_verify.reports.runs_table import build_runs_table

        console = Console()
        width = console.width if can_draw(console) else None
        print_result(build_runs_table(summaries, str(folder), width, not all_jobs), console=console)
        _print_sweep_progress(folder)


def _print_sweep_progress(folder: Path) -> None:
    """Print the progress of a sweep, if the folder is one."""
    from singer_verify.runs.folder import SWEEP_PLAN_FILENAME
    from singer_verify.sweeps.progress import format_sweep_status, read_sweep_status

    if (folder / SWEEP_PLAN_FILENAME).is_file():
        progress = read_sweep_status(folder)
        typer.echo(f"Sweep {folder}: {format_sweep_status(progress)}.")
        for name, reason in progress.failed.items():
            typer.echo(f"failed: {name}: {reason}")


@app.command()
@takes_trust
def leaderboard(
    sweep: Annotated[Path, typer.Argument(help="The folder of a sweep, or of exported results.")],
    baseline: Annotated[
        str | None, typer.Option(help="Settings of the cell to compare with (default: features=mel40).")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="The split to evaluate on (default: val; of runs with folds, the judged ones).")
    ] = None,
    corpus: Annotated[Path | None, typer.Option(help="A corpus other than that of the runs.")] = None,
    unseen: Annotated[
        list[Path] | None,
        typer.Option(help="A corpus that no run was trained on, for a column of its own; may be given several times."),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write to (default: SWEEP/leaderboard).")] = None,
    only: OnlyOption = None,
    speed: Annotated[bool, typer.Option("--speed", help="Measure how fast each cell embeds, on one core.")] = False,
    export_results: Annotated[
        Path | None,
        typer.Option(
            help="Folder for what the leaderboard needs of the runs: embeddings, labels, settings. This command on "
            "that folder gives the same table, without models or audio."
        ),
    ] = None,
    degrade: Annotated[
        str | None,
        typer.Option(help="Evaluate again after degradations of test recordings, as `evaluate --degrade`: a column."),
    ] = None,
    accompaniment: Annotated[
        Path | None, typer.Option(help="Folder of audio files to accompany the voice (default: synthesised).")
    ] = None,
    power: Annotated[
        bool, typer.Option("--power", help="Estimate how many singers it takes to tell the next cells from the best.")
    ] = False,
    effects: Annotated[
        str, typer.Option(help="Differences of EERs in percentage points that --power is for, separated by commas.")
    ] = "1,2,3",
    columns: Annotated[
        str | None,
        typer.Option(
            help="Columns of the LaTeX table, separated by commas: metrics (eer, min_dcf_0.05, ...), difference, p, "
            "corpora, conditions, seeds, params, bins, train_s (default: eer,difference,p)."
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare the cells of a sweep with a baseline; writes csv, md, tex, figures and a page."""
    from singer_verify.errors import SingerVerifyError
    from singer_verify.reports.evaluation.files import require_report_folder
    from singer_verify.reports.leaderboard.files import build_leaderboard_records, write_leaderboard
    from singer_verify.reports.leaderboard.text import build_leaderboard_table, count_min_columns
    from singer_verify.runs.provenance import format_command_provenance, format_runs_provenance
    from singer_verify.sweeps.comparison import build_leaderboard

    degradations = parse_degradation_options(degrade, accompaniment)
    folder = out or sweep / "leaderboard"
    require_report_folder(folder)
    try:
        points = tuple(float(effect) / 100 for effect in effects.split(","))
    except ValueError:
        points = ()
    if not points or not all(0.0 < point < 1.0 for point in points):
        raise SingerVerifyError(f"--effects {effects}: expected percentage points above 0, for example 1,2,3.")
    with show_progress_on_stderr():
        board = build_leaderboard(
            sweep, baseline, split, corpus, speed, export_results, unseen or (), degradations, power, only or ()
        )
    board = replace(board, provenance=f"{format_runs_provenance(sweep)}\n{format_command_provenance()}")
    files = write_leaderboard(board, folder, columns.split(",") if columns else None, points)
    if as_json:
        typer.echo(json.dumps(build_leaderboard_records(board), indent=2))
    else:
        console = Console()
        if not can_draw(console):
            console = Console(width=max(console.width, count_min_columns(board)))
        print_result(build_leaderboard_table(board, points, console.width), console=console)
        typer.echo(f"{folder}: {', '.join(files)}.")
        for page in (name for name in files if name.endswith(".html")):
            tell_page(folder / page)


@app.command("learning-curve")
@takes_trust
def draw_learning_curve(
    sweep: Annotated[
        Path, typer.Argument(help="The folder of a sweep over data.max_singers or data.max_minutes (sweep=data_size).")
    ],
    target_eer: Annotated[
        float, typer.Option(help="An error rate in %: how many singers or minutes would it take?")
    ] = 5.0,
    split: Annotated[
        str | None, typer.Option(help="The split to evaluate on (default: val; of runs with folds, the judged ones).")
    ] = None,
    corpus: Annotated[Path | None, typer.Option(help="A corpus other than that of the runs.")] = None,
    only: OnlyOption = None,
    out: Annotated[Path | None, typer.Option(help="Folder to write to (default: SWEEP/learning-curve).")] = None,
    as_json: JsonOption = False,
) -> None:
    """Plot the EER against the number of singers and minutes learned from; writes csv, md, tex and a figure."""
    from singer_verify.reports.evaluation.files import require_report_folder
    from singer_verify.reports.leaderboard.learning_curves import (
        build_curve_records,
        build_curves_table,
        write_learning_curves,
    )
    from singer_verify.runs.provenance import format_command_provenance, format_runs_provenance
    from singer_verify.sweeps.learning_curves import build_learning_curves

    folder = out or sweep / "learning-curve"
    require_report_folder(folder)
    with show_progress_on_stderr():
        curves = build_learning_curves(sweep, target_eer, split, corpus, only or ())
    write_learning_curves(curves, folder, f"{format_runs_provenance(sweep)}\n{format_command_provenance()}")
    if as_json:
        typer.echo(json.dumps(build_curve_records(curves), indent=2))
    else:
        print_result(build_curves_table(curves))
        typer.echo(f"{folder}: learning-curve.csv, -fits.csv, .md, .tex, .png and .svg.")


@app.command()
def models(as_json: JsonOption = False) -> None:
    """List the model that comes with the package, and the weights of other programs that can be imported.

    Origin and licence of each, and error rates on singing. Commands that name no model use the one of the package.
    """
    from dataclasses import asdict

    from singer_verify.runs.packaged_model import find_packaged_model
    from singer_verify.training.weight_layouts.published import PUBLISHED_WEIGHTS

    packaged = find_packaged_model()
    if as_json:
        records = [asdict(weights) for weights in PUBLISHED_WEIGHTS]
        if packaged is not None:
            records.insert(0, {"origin": "comes with the package"} | asdict(packaged))
        typer.echo(json.dumps(records, indent=2, default=str))
    else:
        from singer_verify.reports.console_tables import build_published_weights_table, format_packaged_model

        typer.echo(format_packaged_model(packaged))
        print_result(build_published_weights_table())


@app.command()
@takes_trust
def import_weights(
    file: Annotated[
        Path,
        typer.Argument(
            help="Weights of singer_id_encoder, Resemblyzer, Real-Time-Voice-Cloning, AutoVC, of CAM++ "
            "(3D-Speaker, wespeaker), or of wespeaker's ECAPA-TDNN and ResNet."
        ),
    ],
    out: Annotated[Path, typer.Option(help="The run folder to create.")],
    features: Annotated[
        str | None,
        typer.Option(
            help="Their recipe: a name in conf/features, or the path of such a yaml (default: the one they were "
            "trained on, where that is known: CAM++, ECAPA-TDNN, ResNet)."
        ),
    ] = None,
    window_frames: Annotated[
        int | None,
        typer.Option(help="Length of an evaluation window, in frames (default: 160; 2000 where the recipe is known)."),
    ] = None,
) -> None:
    """Create a run folder from weights trained elsewhere, to evaluate, embed with, or fine-tune (init_from=...).

    Pauses are cut down to half a second: networks of other programs were trained on recordings with pauses. A recipe's
    yaml that names activity_db, pause_s or level_db has its own way.
    """
    from singer_verify.errors import require_at_least
    from singer_verify.features.normalisation import Normalisation
    from singer_verify.features.recipe import build_feature, read_recipe
    from singer_verify.training.import_weights import IMPORTED_VOICE_SETTINGS, import_weights_as_run

    if window_frames is not None:
        require_at_least(1, **{"--window-frames": window_frames})
    if features is None:
        import_weights_as_run(file, None, window_frames, out)
    else:
        recipe = IMPORTED_VOICE_SETTINGS | read_recipe(features)
        import_weights_as_run(file, build_feature(recipe), window_frames, out, Normalisation.from_recipe(recipe))
    typer.echo(f"{out}: ready for evaluate, embed and init_from={out}.")
