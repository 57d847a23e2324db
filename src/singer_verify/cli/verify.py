"""Commands that say who sings: compare two recordings, look a recording up among known singers."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from singer_verify.cli.options import (
    JsonOption,
    ModelArgument,
    PriorOption,
    ProbabilityOption,
    ScoringOption,
    ThresholdOption,
)

if TYPE_CHECKING:  # torch takes seconds to import: only commands that need it do
    from singer_verify.evaluation.scoring.scoring import Scoring, Threshold
    from singer_verify.inference import Model


EXIT_DIFFERENT_SINGER, EXIT_UNDECIDED = 3, 4  # exit codes; 1 is a mistake in the input, 2 one in the command


def verify(
    model_path: ModelArgument,
    left: Annotated[Path, typer.Argument(metavar="A", help="A recording.")],
    right: Annotated[Path, typer.Argument(metavar="B", help="Another.")],
    threshold: ThresholdOption = None,
    scoring: ScoringOption = None,
    probability: ProbabilityOption = False,
    prior: PriorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Whether two recordings are one singer's.

    Exit codes: 0 the same singer, 3 different singers, 4 no threshold is known and so nothing is decided, 1 a
    recording or the model cannot be used.
    """
    from singer_verify.inference.verification import verify as compare
    from singer_verify.reports.console_tables import build_verification_table

    verdict = compare(*load_model_and_scoring(model_path, scoring, threshold, probability, prior), left, right, prior)
    if as_json:
        record = {"left": str(left), "right": str(right), **vars(verdict)}
        typer.echo(json.dumps(record | {"threshold": build_threshold_record(verdict.threshold)}, indent=2))
    else:
        Console().print(build_verification_table(verdict))
    raise typer.Exit(get_exit_code(verdict.is_same))


def identify(
    model_path: ModelArgument,
    gallery: Annotated[Path, typer.Argument(help="The .npz of known singers that enrol wrote.")],
    file: Annotated[Path, typer.Argument(help="A recording.")],
    threshold: ThresholdOption = None,
    scoring: ScoringOption = None,
    probability: ProbabilityOption = False,
    prior: PriorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Who of the singers in a gallery sings, or that none of them does.

    Exit codes: 0 a known singer, 3 an unknown one, 4 no threshold is known and so the first may be anyone, 1 a
    recording, the gallery or the model cannot be used.
    """
    from singer_verify.inference import Gallery
    from singer_verify.reports.console_tables import build_identification_table, format_identification

    found = Gallery.load(gallery, *load_model_and_scoring(model_path, scoring, threshold, probability, prior)).identify(
        file, prior=prior
    )
    if as_json:
        record = {"recording": str(file), "singer": found.best, **vars(found)}
        record |= {"threshold": build_threshold_record(found.threshold)}
        typer.echo(json.dumps(record | {"candidates": [vars(each) for each in found.candidates]}, indent=2))
    else:
        for line in format_identification(found, str(file)):
            typer.echo(line)
        Console().print(build_identification_table(found))
    raise typer.Exit(get_exit_code(found.is_known))


def load_model_and_scoring(
    path: Path, scoring: Path | None, threshold: float | None, probability: bool, prior: float | None
) -> "tuple[Model, Scoring]":
    """Load a model and its scoring.

    Raises:
        SingerVerifyError: probabilities or a prior are asked for, and the model is not calibrated.
    """
    from singer_verify.errors import SingerVerifyError
    from singer_verify.inference import load_model, load_model_scoring

    model = load_model(path)
    fitted = load_model_scoring(model, scoring, threshold)
    if fitted.calibration is None and (probability or prior is not None):
        asked = "--probability" if probability else f"--prior {prior:g}"
        raise SingerVerifyError(
            f"{asked}: {path} is not calibrated, so its scores tell no probabilities; calibrate it with singer-verify "
            f"calibrate {path} CORPUS, on singers that it was not trained on."
        )
    return model, fitted


def build_threshold_record(threshold: "Threshold | None") -> dict[str, Any] | None:
    return None if threshold is None else vars(threshold)


def get_exit_code(is_same: bool | None) -> int:
    return EXIT_UNDECIDED if is_same is None else 0 if is_same else EXIT_DIFFERENT_SINGER
