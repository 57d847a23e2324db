"""The command that finds who sings when in a recording."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from singer_verify.cli.application import (
    DeviceOption,
    DomainOption,
    GalleryArgument,
    JsonOption,
    ModelArgument,
    PriorOption,
    ScoringOption,
    ThresholdOption,
    app,
    takes_trust,
)
from singer_verify.cli.console import LOGGER
from singer_verify.cli.verify import build_threshold_record, load_model_and_scoring

if TYPE_CHECKING:  # torch takes seconds to import: only commands that need it do
    from singer_verify.inference.diarization import Diarization

MAX_DEFAULT_HOP_S = 0.5
MAX_DEFAULT_WINDOW_S = 3.0  # a model validated on whole recordings could not tell who sings when


@app.command()
@takes_trust
def diarize(
    model_path: ModelArgument,
    gallery: GalleryArgument,
    file: Annotated[Path, typer.Argument(help="A recording of any length.")],
    out: Annotated[Path, typer.Option(help="The folder to write to.")],
    window_s: Annotated[
        float | None, typer.Option(help="Length of a window (default: as the model was validated, at most 3.0).")
    ] = None,
    hop_s: Annotated[float | None, typer.Option(help="From window to window (default: 0.5, at most a window).")] = None,
    smooth_s: Annotated[
        float, typer.Option(help="Embeddings are averaged over this duration; 0 scores each window alone.")
    ] = 3.0,
    threshold: ThresholdOption = None,
    scoring: ScoringOption = None,
    prior: PriorOption = None,
    domain: DomainOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Find who of a gallery sings when; writes diarization.png, diarization.svg, segments.csv and windows.csv.

    The time around each window is embedded like a recording and scored against each singer. The singer with the highest
    score is named, `unknown` where that is under the threshold, `silent` where no one sings. Times are in seconds.
    """
    from singer_verify.atomic_files import write_files_atomically
    from singer_verify.inference import Gallery
    from singer_verify.inference.diarization import diarize as diarize_windows
    from singer_verify.plotting import render_figure_files
    from singer_verify.reports.diarization import (
        build_segments_table,
        format_segments_csv,
        format_windows_csv,
        plot_diarization,
    )

    model, of_model = load_model_and_scoring(model_path, scoring, threshold, False, prior, device, domain)
    window_s = min(MAX_DEFAULT_WINDOW_S, model.window_s) if window_s is None else window_s
    hop = min(MAX_DEFAULT_HOP_S, window_s) if hop_s is None else hop_s
    singers = Gallery.load(gallery, model, of_model)
    with Console(stderr=True).status("Embedding"):
        diarization = diarize_windows(singers, model.embed_windows(file, window_s=window_s, hop_s=hop), smooth_s, prior)
    contents = {"segments.csv": format_segments_csv(diarization), "windows.csv": format_windows_csv(diarization)}
    pictures = render_figure_files(plot_diarization(diarization, file.name))
    write_files_atomically(contents | {f"diarization.{suffix}": content for suffix, content in pictures.items()}, out)
    for remark in diarization.remarks:
        LOGGER.warning("%s", remark)
    if as_json:
        typer.echo(json.dumps(_build_diarization_record(diarization, file), indent=2))
    else:
        Console().print(build_segments_table(diarization, str(file)))
        typer.echo(f"{out}: diarization.png, diarization.svg, segments.csv, windows.csv.")


def _build_diarization_record(diarization: "Diarization", file: Path) -> dict[str, Any]:
    record: dict[str, Any] = {"recording": str(file), "seconds": diarization.seconds, "remarks": diarization.remarks}
    record["thresholds"] = {
        singer: build_threshold_record(threshold)
        for singer, threshold in zip(diarization.singers, diarization.thresholds, strict=False)
    }
    return record | {"segments": [vars(segment) for segment in diarization.segments]}
