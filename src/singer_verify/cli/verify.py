"""Commands that compare two recordings, and that look a recording up among enrolled singers."""

import json
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from singer_verify.cli.application import (
    DeviceOption,
    DomainOption,
    EnrolmentScoreOption,
    GalleryArgument,
    JsonOption,
    ModelArgument,
    PriorOption,
    ProbabilityOption,
    ScoringOption,
    ThresholdOption,
    app,
    takes_trust,
)
from singer_verify.cli.console import print_result

if TYPE_CHECKING:  # torch takes seconds to import: only commands that need it do
    from singer_verify.evaluation.scoring.scoring import Scoring, Threshold
    from singer_verify.inference import Model


EXIT_DIFFERENT_SINGER, EXIT_UNDECIDED = 3, 4  # exit codes; 1 is wrong input, 2 a wrong command line


@app.command()
@takes_trust
def verify(
    model_path: ModelArgument,
    left: Annotated[Path, typer.Argument(metavar="A", help="A recording.")],
    right: Annotated[Path, typer.Argument(metavar="B", help="Another recording.")],
    threshold: ThresholdOption = None,
    scoring: ScoringOption = None,
    probability: ProbabilityOption = False,
    prior: PriorOption = None,
    domain: DomainOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Decide whether two recordings are of the same singer.

    Example: singer-verify verify runs/first A.wav B.wav

    Exit codes: 0 same singer, 3 different singers, 4 undecided because the model has no threshold, 1 a recording or the
    model cannot be used.
    """
    from singer_verify.inference.verification import verify as compare
    from singer_verify.reports.console_tables import build_verification_table

    result = compare(
        *load_model_and_scoring(model_path, scoring, threshold, probability, prior, device, domain), left, right, prior
    )
    if as_json:
        record = {"left": str(left), "right": str(right), **vars(result)}
        typer.echo(json.dumps(record | {"threshold": build_threshold_record(result.threshold)}, indent=2))
    else:
        print_result(build_verification_table(result))
    raise typer.Exit(get_exit_code(result.is_same))


@app.command()
@takes_trust
def identify(
    model_path: ModelArgument,
    gallery: GalleryArgument,
    file: Annotated[Path, typer.Argument(help="A recording.")],
    enrolment_score: EnrolmentScoreOption = None,
    top: Annotated[int | None, typer.Option(help="Show only so many of the likeliest singers (default: all).")] = None,
    exact: Annotated[
        bool, typer.Option("--exact", help="Score all singers, also where a very large gallery has an index.")
    ] = False,
    threshold: ThresholdOption = None,
    scoring: ScoringOption = None,
    probability: ProbabilityOption = False,
    prior: PriorOption = None,
    domain: DomainOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Find the singer of a recording in a gallery, or that it is none of them.

    Exit codes: 0 a singer of the gallery, 3 an unknown singer, 4 undecided because the model has no threshold, 1 a
    recording, the gallery or the model cannot be used.
    """
    from singer_verify.errors import require_at_least
    from singer_verify.inference import Gallery
    from singer_verify.reports.console_tables import build_identification_table, format_identification

    if top is not None:
        require_at_least(1, **{"--top": top})
    enrolled = Gallery.load(
        gallery,
        *load_model_and_scoring(model_path, scoring, threshold, probability, prior, device, domain, enrolment_score),
    )
    result = enrolled.identify(file, prior=prior, exact=exact)
    num_enrolled, shown = enrolled.num_singers, replace(result, candidates=result.candidates[:top])
    if as_json:
        record = {"recording": str(file), "singer": result.best, **vars(shown), "num_enrolled": num_enrolled}
        record |= {"threshold": build_threshold_record(result.threshold)}
        candidates = [
            vars(candidate) | {"labels": enrolled.labels.get(candidate.singer, {})} for candidate in shown.candidates
        ]
        typer.echo(json.dumps(record | {"candidates": candidates}, indent=2))
    else:
        for line in format_identification(result, str(file)):
            typer.echo(line)
        print_result(build_identification_table(shown))
        if len(shown.candidates) < num_enrolled:
            typer.echo(f"The likeliest {len(shown.candidates)} of {num_enrolled} enrolled singers.")
    raise typer.Exit(get_exit_code(result.is_known))


def load_model_and_scoring(
    path: Path,
    scoring: Path | None,
    threshold: float | None,
    probability: bool,
    prior: float | None,
    device: str,
    domain: str | None = None,
    enrolment_score: str | None = None,
) -> "tuple[Model, Scoring]":
    """Load a model and its scoring.

    Raises:
        SingerVerifyError: probabilities or a prior are wanted, and the model is not calibrated; or the scoring centres
            by domain, and none is named.
    """
    from singer_verify.errors import SingerVerifyError
    from singer_verify.inference import load_model, load_model_scoring
    from singer_verify.safe_loading import format_trust_options

    model = load_model(path, device)
    fitted = load_model_scoring(model, scoring, threshold, domain, enrolment_score)
    if fitted.centring is not None:
        fitted.centring.require_known(None)
    if fitted.calibration is None and (probability or prior is not None):
        asked = "--probability" if probability else f"--prior {prior:g}"
        raise SingerVerifyError(
            f"{asked}: {path} is not calibrated, so its scores are not probabilities; calibrate it with singer-verify "
            f"calibrate {path} CORPUS{format_trust_options()}, on singers that it was not trained on."
        )
    return model, fitted


def build_threshold_record(threshold: "Threshold | None") -> dict[str, Any] | None:
    return None if threshold is None else vars(threshold)


def get_exit_code(is_same: bool | None) -> int:
    return EXIT_UNDECIDED if is_same is None else 0 if is_same else EXIT_DIFFERENT_SINGER
