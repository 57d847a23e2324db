"""The command that probes what embeddings tell besides the singer."""

import json
from pathlib import Path
from typing import Annotated

import typer

from singer_verify.cli.application import (
    DeviceOption,
    JsonOption,
    OnlyOption,
    app,
    show_progress,
    takes_trust,
)
from singer_verify.cli.console import print_result
from singer_verify.cli.model_argument import choose_packaged_model


@app.command("probe")
@takes_trust
def probe_embeddings(
    paths: Annotated[
        list[Path],
        typer.Argument(
            metavar="[MODEL]... CORPUS | SWEEP",
            help="Models to compare (default: the one that comes with the package) and a corpus folder; or the folder "
            "of a sweep, whose cells are compared.",
        ),
    ],
    label: Annotated[
        str | None,
        typer.Option(
            help="Labels separated by commas; singer, and pitch and duration, which are measured, can be among them "
            "(default: singer, and every label with two values or more)."
        ),
    ] = None,
    split: Annotated[str, typer.Option(help="The split to probe; of a sweep with folds, all judged singers.")] = "val",
    baseline: Annotated[
        str | None, typer.Option(help="Settings of the sweep's cell to compare with (default: features=mel40).")
    ] = None,
    only: OnlyOption = None,
    numbers: Annotated[
        str | None,
        typer.Option(
            help="Labels to be predicted as numbers, separated by commas, or none (default: those with 20 different "
            "numbers or more)."
        ),
    ] = None,
    disjoint: Annotated[
        str | None,
        typer.Option(
            help="What a probe of the singer is tested on another one of: a label, or recording (default: song, "
            "sentence, ..., as far as the corpus has it)."
        ),
    ] = None,
    folds: Annotated[int, typer.Option(help="Folds of a probe; fewer where one would not hold two singers.")] = 5,
    resamples: Annotated[
        int | None,
        typer.Option(help="Resamples of the bootstrap over singers (default: 500, or 100 for each difference)."),
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of folds and bootstrap.")] = 0,
    export_results: Annotated[
        Path | None,
        typer.Option(
            help="Folder of exported results to add measured pitch and duration to, for probes without audio."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for probes.json, .csv, .tex, .png and .svg.")] = None,
    figure: Annotated[Path | None, typer.Option(help="The .png of the bars to write.")] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the result as csv.")] = False,
    as_latex: Annotated[bool, typer.Option("--latex", help="Print the table in LaTeX.")] = False,
) -> None:
    """Probe what frozen embeddings tell of labels, on singers a linear probe was not fitted to, and of the singer."""
    from singer_verify.cli.console import show_progress_on_stderr
    from singer_verify.errors import SingerVerifyError
    from singer_verify.inference import load_model
    from singer_verify.inference.probing import ProbeOptions, plan_probes, probe_models
    from singer_verify.reports.probes import (
        build_probe_summary,
        build_probe_table,
        format_probes_csv,
        format_probes_latex,
        write_probe_figure,
        write_probes,
    )
    from singer_verify.runs.provenance import (
        format_command_provenance,
        format_model_provenance,
        format_runs_provenance,
    )
    from singer_verify.sweeps.probing import probe_sweep

    _check_probe_options(folds, resamples, seed, out, figure, as_json + as_csv + as_latex)
    options = ProbeOptions(_split_names(label), _split_names(numbers), disjoint, folds, resamples, seed)
    *model_paths, corpus = paths
    if not model_paths and (corpus.is_file() or (corpus / "checkpoints").is_dir()):
        raise SingerVerifyError(f"{corpus}: is a model; give the models before the corpus that they are probed on.")
    if not model_paths and (corpus / split).is_dir():
        model_paths = [choose_packaged_model()]
    if not model_paths:
        with show_progress_on_stderr():
            report = probe_sweep(corpus, options, split, baseline, show_progress, only or (), export_results)
        probed = [format_runs_provenance(corpus)]
    elif export_results is not None:
        raise SingerVerifyError(f"--export-results {export_results}: has no effect without a sweep; leave it out.")
    elif only:
        raise SingerVerifyError(f"--only {only[0]}: has no effect without a sweep; leave the other models out.")
    elif baseline is not None:
        raise SingerVerifyError(f"--baseline {baseline}: has no effect without a sweep; name that model first.")
    else:
        plan = plan_probes(corpus, split, options)
        models = [load_model(path, device) for path in model_paths]
        report = probe_models(models, corpus, split, plan, show_progress)
        probed = [format_model_provenance(model.checkpoint) for model in models if model.checkpoint is not None]
    provenance = "\n".join([*probed, format_command_provenance()])
    if as_json:
        typer.echo(json.dumps(build_probe_summary(report), indent=2))
    elif as_csv:
        typer.echo(format_probes_csv(report), nl=False)
    elif as_latex:
        typer.echo(format_probes_latex(report), nl=False)
    else:
        print_result(build_probe_table(report))
    if out is not None:  # after the results were printed: a full disk does not take them
        write_probes(report, out, provenance)
    if figure is not None:
        write_probe_figure(report, figure, provenance)


def _split_names(text: str | None) -> tuple[str, ...] | None:
    return None if text is None else tuple(name.strip() for name in text.split(","))


def _check_probe_options(
    folds: int, resamples: int | None, seed: int, out: Path | None, figure: Path | None, num_forms: int
) -> None:
    """Refuse what would otherwise fail only after the work."""
    from singer_verify.cli.console import require_output_file
    from singer_verify.errors import SingerVerifyError, require_at_least
    from singer_verify.reports.evaluation.files import require_report_folder

    require_at_least(2, **{"--folds": folds})
    if resamples is not None:
        require_at_least(20, **{"--resamples": resamples})
    require_at_least(0, **{"--seed": seed})
    if num_forms > 1:
        raise SingerVerifyError("--json, --csv, --latex: print one form each; give one of them, or --out for all.")
    if out is not None:
        require_report_folder(out)
    if figure is not None:
        require_output_file("--figure", figure, ".png")
