"""Commands that publish a model: as an ONNX file, with a model card."""

import json
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


@app.command()
@takes_trust
def export(
    model_path: ModelArgument,
    onnx: Annotated[Path, typer.Option(help="The .onnx file to write.")],
    frames: Annotated[
        bool, typer.Option("--frames", help="Take frames instead of samples: leave the recipe out.")
    ] = False,
    card: Annotated[bool, typer.Option(help=f"Write its model card next to it, MODEL{MODEL_CARD_SUFFIX}.")] = True,
    evaluation: EvaluationOption = None,
    licence: LicenceOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Write the model as ONNX: samples in, embedding out, checked to equal the model's within 1e-4."""
    from singer_verify.atomic_files import require_output_path, write_bytes_atomically
    from singer_verify.export.onnx import require_onnx
    from singer_verify.inference import load_model
    from singer_verify.reports.model_card import OnnxFile, render_model_card

    require_output_file("--onnx", onnx, ".onnx")
    card_path = onnx.with_suffix(MODEL_CARD_SUFFIX)
    if card:
        require_output_path(card_path)
    require_new_files(onnx, *([card_path] if card else []), force=force)
    require_onnx()
    model = load_model(model_path, "cpu")
    text = render_model_card(model, evaluation, licence, OnnxFile(onnx.name, frames)) if card else None
    deviation = _write_checked_onnx(model, onnx, frames)
    written = [onnx]
    if text is not None:
        written.append(card_path)
        write_bytes_atomically(written[-1], text.encode("utf-8", "replace"))
    if as_json:
        typer.echo(json.dumps({"written": [str(path) for path in written], "largest_deviation": deviation}, indent=2))
    else:
        takes = "frames as the recipe computes them" if frames else "samples"
        typer.echo(f"{onnx}: takes {takes}; matches the model within {deviation:.1e} at all lengths tested.")
        for path in written[1:]:
            typer.echo(f"{path}: the model card.")


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
