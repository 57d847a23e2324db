"""Commands that take a model elsewhere: its ONNX file, its model card."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from singer_verify.cli.models import ModelArgument
from singer_verify.cli.places import require_file_place
from singer_verify.entry import LOGGER

if TYPE_CHECKING:  # torch takes seconds to import: only commands that need it do
    from singer_verify.recognition import Embedder

CARD_NAME = "MODEL_CARD.md"
EvaluationOption = Annotated[
    list[Path] | None,
    typer.Option(help="figures.json of an evaluation; may be repeated (default: those in the run's folder)"),
]
LicenceOption = Annotated[str | None, typer.Option(help="Of the weights, for the card; an SPDX name like cc-by-4.0.")]


def export(
    model: ModelArgument,
    onnx: Annotated[Path, typer.Option(help="The .onnx file to write.")],
    frames: Annotated[bool, typer.Option("--frames", help="Leave the recipe out: frames in, not samples.")] = False,
    card: Annotated[bool, typer.Option(help=f"Write {CARD_NAME} beside it.")] = True,
    evaluation: EvaluationOption = None,
    licence: LicenceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print what was written as JSON.")] = False,
) -> None:
    """Write the model as ONNX: samples of a recording in, embedding out, the same as here to 1e-4, which is checked."""
    from singer_verify.recognition import Embedder
    from singer_verify.recognition.onnx_export import require_onnx
    from singer_verify.reports.model_card import OnnxFile, model_card
    from singer_verify.whole_files import require_place, write_whole

    require_file_place("--onnx", onnx, ".onnx")
    if card:
        require_place(onnx.with_name(CARD_NAME))
    require_onnx()
    text = model_card(model, evaluation, licence, OnnxFile(onnx.name, frames)) if card else None
    deviation = _write_checked(model, Embedder.load(model), onnx, frames)
    written = [onnx]
    if text is not None:
        written.append(onnx.with_name(CARD_NAME))
        write_whole(written[-1], text.encode("utf-8", "replace"))
    if as_json:
        typer.echo(json.dumps({"written": [str(path) for path in written], "largest_deviation": deviation}, indent=2))
    else:
        takes = "frames as the recipe makes them" if frames else "samples"
        typer.echo(f"{onnx}: takes {takes}; equal to the model within {deviation:.1e} at all lengths tried.")
        for path in written[1:]:
            typer.echo(f"{path}: the model card.")


def card(
    model: ModelArgument,
    out: Annotated[Path, typer.Option(help="The .md file to write.")] = Path(CARD_NAME),
    evaluation: EvaluationOption = None,
    licence: LicenceOption = None,
) -> None:
    """Write a model card: what the model is, what it was trained on, how good it is, what it is for and not for."""
    from singer_verify.reports.model_card import model_card
    from singer_verify.whole_files import write_whole

    require_file_place("--out", out, ".md")
    write_whole(out, model_card(model, evaluation, licence).encode("utf-8", "replace"), "--out")
    typer.echo(f"{out}: the model card.")


def _write_checked(model: Path, embedder: "Embedder", onnx: Path, frames: bool) -> float:
    """Write the ONNX file if it gives the model's embeddings; returns the largest deviation."""
    from singer_verify.recognition.model_scoring import scoring_of
    from singer_verify.recognition.onnx_check import largest_deviation
    from singer_verify.recognition.onnx_export import onnx_program, write_onnx
    from singer_verify.recognition.onnx_metadata import metadata_of
    from singer_verify.runs.checkpoints import checkpoint_of, read_checkpoint
    from singer_verify.runs.fingerprint import fingerprint
    from singer_verify.whole_files import part_of

    LOGGER.info("Tracing the model; this takes a few seconds.")
    program = onnx_program(embedder, frames)
    metadata = metadata_of(embedder, fingerprint(read_checkpoint(checkpoint_of(model))), scoring_of(model), frames)
    with part_of(onnx, "--onnx") as part:
        write_onnx(program, part, metadata)
        return largest_deviation(part, embedder, frames)
