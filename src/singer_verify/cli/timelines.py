"""The command that tells who sings when in a recording."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from singer_verify.cli.models import ModelArgument
from singer_verify.cli.recognition import (
    JsonOption,
    PriorOption,
    ScoringOption,
    ThresholdOption,
    loaded,
    threshold_record,
)
from singer_verify.entry import LOGGER

if TYPE_CHECKING:  # torch takes seconds to import: only commands that need it do
    from singer_verify.recognition.timeline import Timeline

LONGEST_DEFAULT_HOP_S = 0.5


def timeline(
    model: ModelArgument,
    gallery: Annotated[Path, typer.Argument(help="The .npz of known singers that enrol wrote.")],
    file: Annotated[Path, typer.Argument(help="A recording of any length.")],
    out: Annotated[Path, typer.Option(help="The folder to write to.")],
    window_s: Annotated[float | None, typer.Option(help="Of a window (default: as the model was validated)")] = None,
    hop_s: Annotated[float | None, typer.Option(help="From window to window (default: 0.5, or a window)")] = None,
    smooth_s: Annotated[float, typer.Option(help="Duration of the stretches that are scored; 0: windows.")] = 3.0,
    threshold: ThresholdOption = None,
    scoring: ScoringOption = None,
    prior: PriorOption = None,
    as_json: JsonOption = False,
) -> None:
    """Who of a gallery sings when: timeline.png, timeline.svg, segments.csv and windows.csv in the folder.

    The stretch around each window is embedded like a recording and scored against each singer. The singer with the
    highest score is named, `unknown` where it is under the threshold, `silent` where no one sings. Times in files and
    in --json are seconds.
    """
    from singer_verify.recognition import Gallery
    from singer_verify.recognition.timeline import timeline as timeline_of
    from singer_verify.reports.picture_files import picture_files
    from singer_verify.reports.timeline_figure import timeline_figure
    from singer_verify.reports.timeline_text import segments_csv, segments_table, windows_csv
    from singer_verify.whole_files import write_files

    embedder, of_model = loaded(model, scoring, threshold, False, prior)
    hop = min(LONGEST_DEFAULT_HOP_S, window_s or embedder.window_s) if hop_s is None else hop_s
    known = Gallery.load(gallery, embedder, of_model)
    with Console(stderr=True).status("Embedding"):
        found = timeline_of(known, embedder.windows(file, window_s=window_s, hop_s=hop), smooth_s, prior)
    contents = {"segments.csv": segments_csv(found), "windows.csv": windows_csv(found)}
    pictures = picture_files(timeline_figure(found, file.name))
    write_files(contents | {f"timeline.{suffix}": content for suffix, content in pictures.items()}, out)
    for remark in found.remarks:
        LOGGER.warning("%s", remark)
    if as_json:
        typer.echo(json.dumps(_record(found, file), indent=2))
    else:
        Console().print(segments_table(found, str(file)))
        typer.echo(f"{out}: timeline.png, timeline.svg, segments.csv, windows.csv.")


def _record(found: "Timeline", file: Path) -> dict[str, Any]:
    record: dict[str, Any] = {"recording": str(file), "seconds": found.seconds, "remarks": found.remarks}
    record["thresholds"] = {
        singer: threshold_record(threshold) for singer, threshold in zip(found.singers, found.thresholds, strict=False)
    }
    return record | {"segments": [vars(each) for each in found.segments]}
