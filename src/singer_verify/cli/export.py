"""Commands that publish a model: as an ONNX file or a small file of its own, with a model card."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from singer_verify.cli.application import JsonOption, ModelArgument, app, takes_trust
from singer_verify.cli.console import LOGGER, require_new_files, require_output_file

if TYPE_CHECKING:  # torch takes seconds to import: only commands that need it do
    from singer_verify.inference import Model

MODEL_CARD_FILE_NAME, MODEL_CARD_SUFFIX = "MODEL_CARD.md", ".card.md"
EvaluationOption = Annotated[
    list[Path] | None,
    typer.Option(help="evaluation.json of an evaluation; may be repeated (default: those in the run's folder)"),
]
ForceOption = Annotated[bool, typer.Option("--force", help="Replace files that exist.")]
LicenceOption = Annotated[
    str | None, typer.Option(help="Licence of the weights, for the card: an SPDX name such as cc-by-4.0.")
]


@dataclass(frozen=True)
class Publication:
    """What is written beside a published model, and how it is told.

    Attributes:
        card: whether a model card is written.
        evaluation: evaluations for the card; None takes those of the run.
        licence: licence of the weights, for the card.
        force: whether files that exist are replaced.
        as_json: whether the outcome is printed as JSON.
    """

    card: bool
    evaluation: list[Path] | None
    licence: str | None
    force: bool
    as_json: bool


@app.command()
@takes_trust
def export(
    model_path: ModelArgument,
    onnx: Annotated[Path | None, typer.Option(help="The .onnx file to write.")] = None,
    pt: Annotated[
        Path | None,
        typer.Option(help="Instead: the .pt file to write, of the model alone, and its scoring as NAME.scoring.npz."),
    ] = None,
    frames: Annotated[
        bool, typer.Option("--frames", help="ONNX: take frames instead of samples: leave the recipe out.")
    ] = False,
    dtype: Annotated[
        str | None,
        typer.Option(help="With --pt: float16 or float32 (default: float16 where embeddings stay equal to 1e-3)."),
    ] = None,
    model_version: Annotated[str | None, typer.Option(help="With --pt: version of the model, for the card.")] = None,
    card: Annotated[
        bool, typer.Option(help=f"Write its model card next to it, NAME{MODEL_CARD_SUFFIX}, or NAME.md of a .pt.")
    ] = True,
    evaluation: EvaluationOption = None,
    licence: LicenceOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write the model as ONNX: samples in, embedding out, checked to equal the model's within 1e-4.

    Or as a .pt file of singer_verify: the weights, the recipe and the threshold, without the state of its training and
    the folders of this machine.
    """
    from singer_verify.errors import SingerVerifyError

    if (onnx is None) == (pt is None):
        raise SingerVerifyError("expected --onnx FILE or --pt FILE; give one of the two.")
    publication = Publication(card, evaluation, licence, force, as_json)
    if pt is not None:
        if frames:
            raise SingerVerifyError("--frames: has no effect without --onnx.")
        _write_model_file(model_path, pt, dtype, model_version, publication)
        return
    for option, value in (("--dtype", dtype), ("--model-version", model_version)):
        if value is not None:
            raise SingerVerifyError(f"{option} {value}: has no effect without --pt.")
    assert onnx is not None
    _write_onnx(model_path, onnx, frames, publication)


def _write_onnx(model_path: Path, onnx: Path, frames: bool, publication: Publication) -> None:
    from singer_verify.atomic_files import require_output_path, write_bytes_atomically
    from singer_verify.export.onnx import require_onnx
    from singer_verify.inference import load_model
    from singer_verify.reports.model_card import OnnxFile, render_model_card

    require_output_file("--onnx", onnx, ".onnx")
    card_path = onnx.with_suffix(MODEL_CARD_SUFFIX)
    if publication.card:
        require_output_path(card_path)
    require_new_files(onnx, *([card_path] if publication.card else []), force=publication.force)
    require_onnx()
    model = load_model(model_path, "cpu")
    text = (
        render_model_card(model, publication.evaluation, publication.licence, OnnxFile(onnx.name, frames))
        if publication.card
        else None
    )
    deviation = _write_checked_onnx(model, onnx, frames)
    written = [onnx]
    if text is not None:
        written.append(card_path)
        write_bytes_atomically(written[-1], text.encode("utf-8", "replace"))
    if publication.as_json:
        typer.echo(json.dumps({"written": [str(path) for path in written], "largest_deviation": deviation}, indent=2))
    else:
        takes = "frames as the recipe computes them" if frames else "samples"
        typer.echo(f"{onnx}: takes {takes}; matches the model within {deviation:.1e} at all lengths tested.")
        for path in written[1:]:
            typer.echo(f"{path}: the model card.")


def _write_model_file(
    model_path: Path, out: Path, dtype: str | None, model_version: str | None, publication: Publication
) -> None:
    from singer_verify.atomic_files import write_bytes_atomically
    from singer_verify.errors import require_choice
    from singer_verify.export.model_file import HALF, SINGLE, write_model_file
    from singer_verify.inference import load_model
    from singer_verify.inference.scoring_file import SCORING_SUFFIX
    from singer_verify.reports.model_card import render_model_card
    from singer_verify.runs.packaged_model import CARD_SUFFIX

    require_output_file("--pt", out, ".pt")
    card_path = out.with_suffix(CARD_SUFFIX)
    require_new_files(
        out, out.with_suffix(SCORING_SUFFIX), *([card_path] if publication.card else []), force=publication.force
    )
    if dtype is not None:
        require_choice((HALF, SINGLE), **{"--dtype": dtype})
    text = None
    if publication.card:
        model = load_model(model_path, "cpu")
        text = render_model_card(
            model, publication.evaluation, publication.licence, file=out, model_version=model_version
        )
    written = write_model_file(model_path, out, dtype)
    paths = list(written.files)
    if text is not None:
        write_bytes_atomically(card_path, text.encode("utf-8", "replace"))
        paths.append(card_path)
    if publication.as_json:
        record = {"written": [str(path) for path in paths], "bytes": written.num_bytes, "dtype": written.dtype}
        typer.echo(json.dumps(record | {"largest_deviation": written.deviation}, indent=2))
    else:
        size = f"{written.num_bytes / 1e6:.1f} MB"
        typer.echo(f"{out}: {size}, {written.dtype}; embeddings deviate by at most {written.deviation:.1e}.")
        for path in paths[1:]:
            typer.echo(f"{path}: {'the model card' if path == card_path else 'its scoring'}.")


@app.command()
@takes_trust
def card(
    model_path: ModelArgument,
    out: Annotated[Path, typer.Option(help="The .md file to write.")] = Path(MODEL_CARD_FILE_NAME),
    evaluation: EvaluationOption = None,
    licence: LicenceOption = None,
    force: ForceOption = False,
) -> None:
    """Write a model card: what the model is, its training data, its error rates, its uses and limits."""
    from singer_verify.atomic_files import write_bytes_atomically
    from singer_verify.inference import load_model
    from singer_verify.reports.model_card import render_model_card

    require_output_file("--out", out, ".md")
    require_new_files(out, force=force)
    write_bytes_atomically(
        out, render_model_card(load_model(model_path, "cpu"), evaluation, licence).encode("utf-8", "replace"), "--out"
    )
    typer.echo(f"{out}: the model card.")


def _write_checked_onnx(model: "Model", onnx: Path, frames: bool) -> float:
    """Write the ONNX file if it gives the model's embeddings; return the largest deviation."""
    from singer_verify.atomic_files import atomic_write
    from singer_verify.export.onnx import build_onnx_metadata, build_onnx_program, write_onnx
    from singer_verify.export.onnx_check import measure_max_deviation
    from singer_verify.inference.scoring_file import load_model_scoring

    LOGGER.info("Tracing the model; this takes a few seconds.")
    program = build_onnx_program(model, frames)
    metadata = build_onnx_metadata(model, load_model_scoring(model), frames)
    with atomic_write(onnx, "--onnx") as part:
        write_onnx(program, part, metadata)
        return measure_max_deviation(part, model, frames)
