"""The command that finds who sings when in a recording."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from singer_verify.cli.application import (
    DeviceOption,
    DomainOption,
    JsonOption,
    ModelArgument,
    PriorOption,
    ScoringOption,
    ThresholdOption,
    app,
    takes_trust,
)
from singer_verify.cli.console import LOGGER, print_result
from singer_verify.cli.verify import build_threshold_record, load_model_and_scoring
from singer_verify.errors import SingerVerifyError

if TYPE_CHECKING:  # torch takes seconds to import: only commands that need it do
    from singer_verify.inference.diarization import Diarization

MAX_DEFAULT_HOP_S = 0.5
MAX_DEFAULT_WINDOW_S = 3.0  # a model validated on whole recordings could not tell who sings when


@app.command()
@takes_trust
def diarize(
    model_path: ModelArgument,
    file: Annotated[Path, typer.Argument(help="A recording of any length.")],
    out: Annotated[Path, typer.Option(help="The folder to write to.")],
    gallery: Annotated[
        Path | None, typer.Option(help="The .npz of enrolled singers; without it, singers are found and numbered.")
    ] = None,
    num_singers: Annotated[
        int | None, typer.Option(help="Without a gallery: number of singers (default: it is found).")
    ] = None,
    max_singers: Annotated[int, typer.Option(help="Without a gallery: largest number that is found.")] = 8,
    reference: Annotated[
        Path | None, typer.Option(help="The .rttm of who truly sings when: prints the diarization error rate.")
    ] = None,
    collar: Annotated[
        float, typer.Option(help="With --reference: seconds on each side of a boundary that do not count.")
    ] = 0.25,
    skip_overlap: Annotated[
        bool, typer.Option("--skip-overlap", help="With --reference: leave out time in which several sing.")
    ] = False,
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
    """Find who sings when, among the singers of a gallery or without one.

    Writes diarization.png, .svg and .rttm, segments.csv and windows.csv. With a gallery, the time around each window is
    scored against each singer; the best is named, `unknown` under the threshold, `silent` where no one sings. Without
    one, windows are clustered: `singer 1` is the first to sing. Their number is estimated, given by --num-singers, or
    follows from --threshold. Times are in seconds.
    """
    from singer_verify.atomic_files import write_files_atomically
    from singer_verify.errors import require_at_least
    from singer_verify.inference import Gallery
    from singer_verify.inference.clustering import diarize_unknown_singers
    from singer_verify.inference.diarization import diarize as diarize_windows
    from singer_verify.inference.rttm import compute_diarization_error, format_rttm, read_rttm
    from singer_verify.plotting import render_figure_files
    from singer_verify.reports.diarization import (
        build_segments_table,
        format_diarization_error,
        format_segments_csv,
        format_windows_csv,
        plot_diarization,
    )
    from singer_verify.reports.evaluation.files import require_report_folder
    from singer_verify.runs.provenance import format_provenance

    require_report_folder(out)
    require_at_least(1, **{"--max-singers": max_singers})
    if num_singers is not None:
        require_at_least(1, **{"--num-singers": num_singers})
    if gallery is not None and num_singers is not None:
        raise SingerVerifyError("--num-singers: has no effect with --gallery, whose singers are known.")
    if reference is None and skip_overlap:
        raise SingerVerifyError("--skip-overlap: has no effect without --reference.")
    model, fitted = load_model_and_scoring(model_path, scoring, threshold, False, prior, device, domain)
    window_s = min(MAX_DEFAULT_WINDOW_S, model.window_s) if window_s is None else window_s
    hop = min(MAX_DEFAULT_HOP_S, window_s) if hop_s is None else hop_s
    singers = None if gallery is None else Gallery.load(gallery, model, fitted)
    with Console(stderr=True).status("Embedding"):
        recording = model.embed_windows(file, window_s=window_s, hop_s=hop)
        truth = None if reference is None else read_rttm(reference, file.stem, recording.seconds)
        if singers is not None:
            diarization = diarize_windows(singers, recording, smooth_s, prior)
        else:
            given = fitted.threshold if threshold is not None else None
            diarization = diarize_unknown_singers(recording, fitted, smooth_s, num_singers, given, max_singers)
    error = None if truth is None else compute_diarization_error(diarization, truth, collar, skip_overlap)
    contents = {"segments.csv": format_segments_csv(diarization), "windows.csv": format_windows_csv(diarization)}
    contents |= {"diarization.rttm": format_rttm(diarization, file.stem)}
    pictures = render_figure_files(plot_diarization(diarization, file.name), footer=format_provenance(model.checkpoint))
    write_files_atomically(contents | {f"diarization.{suffix}": content for suffix, content in pictures.items()}, out)
    for remark in diarization.remarks:
        LOGGER.warning("%s", remark)
    if as_json:
        record = _build_diarization_record(diarization, file)
        typer.echo(json.dumps(record if error is None else record | {"error": vars(error)}, indent=2))
    else:
        print_result(build_segments_table(diarization, str(file)))
        if error is not None:
            typer.echo(format_diarization_error(error))
        typer.echo(f"{out}: diarization.png, .svg and .rttm, segments.csv, windows.csv.")


def _build_diarization_record(diarization: "Diarization", file: Path) -> dict[str, Any]:
    record: dict[str, Any] = {"recording": str(file), "seconds": diarization.seconds, "remarks": diarization.remarks}
    record["thresholds"] = {
        singer: build_threshold_record(threshold)
        for singer, threshold in zip(diarization.singers, diarization.thresholds, strict=False)
    }
    return record | {"segments": [vars(segment) for segment in diarization.segments]}
