"""The command that scores how like their target singers generated voices are."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from singer_verify.cli.application import (
    DeviceOption,
    DomainOption,
    JsonOption,
    ModelArgument,
    PriorOption,
    ScoringOption,
    ThresholdOption,
    app,
    show_progress,
    takes_trust,
)
from singer_verify.cli.console import print_result


@app.command("similarity")
@takes_trust
def score_similarity(
    model_path: ModelArgument,
    table: Annotated[
        Path | None,
        typer.Argument(
            metavar="PAIRS.csv", help="Columns generated and reference; system, singer and song where known."
        ),
    ] = None,
    generated: Annotated[
        list[Path] | None,
        typer.Option(help="Instead of a table: the folder of a system, named after it; may be repeated."),
    ] = None,
    reference: Annotated[
        Path | None, typer.Option(help="Folder of the singers' recordings, of the same names as the generated ones.")
    ] = None,
    worst: Annotated[int, typer.Option(help="Number of pairs to list that are least alike.")] = 5,
    resamples: Annotated[int, typer.Option(help="Resamples of singers and songs.")] = 2000,
    seed: Annotated[int, typer.Option(help="Seed of the resamples.")] = 0,
    out: Annotated[
        Path | None,
        typer.Option(help="Folder for similarity.json, pairs.csv, systems.csv, systems.tex and the figure."),
    ] = None,
    threshold: ThresholdOption = None,
    scoring: ScoringOption = None,
    prior: PriorOption = None,
    domain: DomainOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print the pairs as csv.")] = False,
) -> None:
    """Score how like their target singers converted or synthesised voices are, by system, with intervals."""
    from singer_verify.cli.verify import load_model_and_scoring
    from singer_verify.errors import SingerVerifyError, require_at_least
    from singer_verify.inference.similarity import compute_similarity, match_folders, read_pairs
    from singer_verify.reports.evaluation.files import require_report_folder
    from singer_verify.reports.similarity import (
        build_similarity_record,
        build_similarity_tables,
        format_pairs_csv,
        write_similarity,
    )
    from singer_verify.runs.provenance import format_provenance

    require_at_least(0, **{"--worst": worst, "--seed": seed})
    require_at_least(20, **{"--resamples": resamples})
    if as_json and as_csv:
        raise SingerVerifyError("--json, --csv: print one form each; give one of them, or --out for all.")
    if (table is None) == (generated is None) or (generated is None) != (reference is None):
        raise SingerVerifyError("expected either PAIRS.csv, or --generated FOLDER with --reference FOLDER.")
    if out is not None:
        require_report_folder(out)
    if table is not None:
        pairs = read_pairs(table)
    else:
        assert generated is not None
        assert reference is not None
        pairs = match_folders(_name_folders(generated), reference)
    model, fitted = load_model_and_scoring(model_path, scoring, threshold, False, prior, device, domain)
    report = compute_similarity(model, pairs, fitted, prior, resamples, seed, show_progress)
    report = replace(report, provenance=format_provenance(model.checkpoint))
    if as_json:
        typer.echo(json.dumps(build_similarity_record(report), indent=2))
    elif as_csv:
        typer.echo(format_pairs_csv(report), nl=False)
    else:
        print_result(build_similarity_tables(report, worst))
    if out is not None:  # after the results were printed: a full disk does not take them
        write_similarity(report, out)


def _name_folders(folders: list[Path]) -> dict[str, Path]:
    """Name systems after their folders; a single one needs no name."""
    from singer_verify.errors import SingerVerifyError

    if len(folders) == 1:
        return {"": folders[0]}
    names = [folder.absolute().name for folder in folders]
    if len(set(names)) < len(names):
        raise SingerVerifyError(f"--generated: two folders are called {max(names, key=names.count)}; rename one.")
    return dict(zip(names, folders, strict=True))
