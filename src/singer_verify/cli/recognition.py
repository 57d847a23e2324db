"""Commands that say who sings: compare two recordings, look a recording up among known singers."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from singer_verify.cli.models import ModelArgument

if TYPE_CHECKING:  # torch takes seconds to import: only commands that need it do
    from singer_verify.evaluation.scoring import Scoring, Threshold
    from singer_verify.recognition import Embedder

OTHER_SINGER, UNDECIDED = 3, 4  # exit codes; 1 is a mistake in the input, 2 one in the command

ThresholdOption = Annotated[float | None, typer.Option(help="Of scores (default: that of the model's scoring)")]
ScoringOption = Annotated[Path | None, typer.Option(help="What calibrate wrote (default: that in the run's folder)")]
PriorOption = Annotated[
    float | None, typer.Option(help="Share of such questions whose answer is: the same singer; it decides (Bayes).")
]
ProbabilityOption = Annotated[bool, typer.Option("--probability", help="Refuse a model that is not calibrated.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")]


def verify(
    model: ModelArgument,
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
    from singer_verify.recognition.verification import verify as compare
    from singer_verify.reports.recognition import verdict_table

    verdict = compare(*loaded(model, scoring, threshold, probability, prior), left, right, prior)
    if as_json:
        record = {"left": str(left), "right": str(right), **vars(verdict)}
        typer.echo(json.dumps(record | {"threshold": threshold_record(verdict.threshold)}, indent=2))
    else:
        Console().print(verdict_table(verdict))
    raise typer.Exit(exit_code(verdict.is_same))


def identify(
    model: ModelArgument,
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
    from singer_verify.recognition import Gallery
    from singer_verify.reports.recognition import identification_lines, identification_table

    found = Gallery.load(gallery, *loaded(model, scoring, threshold, probability, prior)).identify(file, prior=prior)
    if as_json:
        record = {"recording": str(file), "singer": found.best, **vars(found)}
        record |= {"threshold": threshold_record(found.threshold)}
        typer.echo(json.dumps(record | {"candidates": [vars(each) for each in found.candidates]}, indent=2))
    else:
        for line in identification_lines(found, str(file)):
            typer.echo(line)
        Console().print(identification_table(found))
    raise typer.Exit(exit_code(found.is_known))


def loaded(
    model: Path, scoring: Path | None, threshold: float | None, probability: bool, prior: float | None
) -> "tuple[Embedder, Scoring]":
    """A model and its scoring.

    Raises:
        SingerVerifyError: probabilities or a prior are asked for, and the model is not calibrated.
    """
    from singer_verify.errors import SingerVerifyError
    from singer_verify.recognition import Embedder, scoring_of

    found = scoring_of(model, scoring, threshold)
    if found.calibration is None and (probability or prior is not None):
        asked = "--probability" if probability else f"--prior {prior:g}"
        raise SingerVerifyError(
            f"{asked}: {model} is not calibrated, so its scores tell no probabilities; calibrate it with singer-verify "
            f"calibrate {model} CORPUS, on singers that it was not trained on."
        )
    return Embedder.load(model), found


def threshold_record(threshold: "Threshold | None") -> dict[str, Any] | None:
    return None if threshold is None else vars(threshold)


def exit_code(is_same: bool | None) -> int:
    return UNDECIDED if is_same is None else 0 if is_same else OTHER_SINGER
