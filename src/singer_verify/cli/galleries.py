"""Commands on galleries: enrol recordings of a singer, list and remove them."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from singer_verify.cli.application import (
    DeviceOption,
    GalleryArgument,
    JsonOption,
    ModelArgument,
    app,
    show_progress,
    takes_trust,
)
from singer_verify.cli.console import LOGGER


@app.command()
@takes_trust
def enrol(
    model_path: ModelArgument,
    gallery: GalleryArgument,
    name: Annotated[str, typer.Argument(help="The singer, a new one or one of the gallery.")],
    files: Annotated[list[Path], typer.Argument(help="Recordings, or folders searched recursively.")],
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Add recordings of a singer to a gallery. Several recordings, of different songs, work better than one."""
    from singer_verify.corpora.names import normalise_name
    from singer_verify.errors import SingerVerifyError
    from singer_verify.inference import Gallery, load_model
    from singer_verify.inference.gallery import lock_gallery, require_gallery_path

    require_gallery_path(gallery)
    model = load_model(model_path, device)

    def load_gallery() -> Gallery:
        return Gallery.load(gallery, model) if gallery.exists() else Gallery(model)

    recordings = show_progress(model.find_files(files), "Embedding")
    embedded, remarks = load_gallery().embed_recordings(name, recordings)
    with lock_gallery(gallery):
        changed = load_gallery()
        enrolment = changed.add(embedded)
        changed.save(gallery)
    remarks += enrolment.remarks
    for remark in remarks:
        LOGGER.warning("%s", remark)
    enrolled = [entry.recording for entry in changed.enrolled if entry.singer == normalise_name(name)]
    if not enrolled:
        raise SingerVerifyError(
            f"{gallery}: {name} is not enrolled, because no recording was added; the reasons are above."
        )
    if as_json:
        record = {"gallery": str(gallery), "singer": name, "added": enrolment.added}
        record |= {"recordings": enrolled, "remarks": remarks}
        typer.echo(json.dumps(record, indent=2))
    else:
        typer.echo(f"{gallery}: {len(enrolment.added)} recordings added; recordings of {name} now: {len(enrolled)}.")


@app.command()
def gallery(
    gallery: GalleryArgument,
    remove: Annotated[str | None, typer.Option(metavar="NAME", help="Remove this singer.")] = None,
    recording: Annotated[str | None, typer.Option(help="With --remove: remove only this recording.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the singers of a gallery and their recordings, or remove some of them."""
    from singer_verify.errors import SingerVerifyError
    from singer_verify.inference.enrolment import select_enrolled_recordings
    from singer_verify.inference.gallery import lock_gallery, read_gallery, write_gallery
    from singer_verify.reports.console_tables import build_gallery_table

    if recording is not None and remove is None:
        raise SingerVerifyError(f"--recording {recording}: has no effect without --remove NAME.")
    fingerprint, enrolled = read_gallery(gallery)
    if remove is not None:
        with lock_gallery(gallery):
            fingerprint, before = read_gallery(gallery)
            gone = select_enrolled_recordings(before, remove, recording)
            enrolled = tuple(entry for entry in before if not any(entry is other for other in gone))
            write_gallery(gallery, fingerprint, enrolled)
        LOGGER.info("%s: recordings of %s removed: %d.", gallery, remove, len(gone))
    recordings: dict[str, list[str]] = {name: [] for name in sorted({entry.singer for entry in enrolled})}
    for entry in enrolled:
        recordings[entry.singer].append(entry.recording)
    if as_json:
        typer.echo(json.dumps({"gallery": str(gallery), "model": fingerprint, "singers": recordings}, indent=2))
    else:
        Console().print(build_gallery_table(recordings, str(gallery)))
