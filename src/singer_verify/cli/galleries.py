"""Commands on galleries of known singers: enrol recordings, list and remove them."""

import json
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from singer_verify.cli.console import LOGGER
from singer_verify.cli.options import JsonOption, ModelArgument

GalleryArgument = Annotated[Path, typer.Argument(help="The .npz of known singers; enrol makes it.")]


def enrol(
    model_path: ModelArgument,
    gallery: GalleryArgument,
    name: Annotated[str, typer.Argument(help="Of the singer, a new or a known one.")],
    files: Annotated[list[Path], typer.Argument(help="Recordings, or folders searched recursively.")],
    as_json: JsonOption = False,
) -> None:
    """Add recordings of a singer to a gallery. Several of them, of different songs, make a better singer than one."""
    from rich.progress import track

    from singer_verify.errors import SingerVerifyError
    from singer_verify.inference import Gallery, load_model
    from singer_verify.inference.gallery_file import lock_gallery, require_gallery_path

    require_gallery_path(gallery)
    model = load_model(model_path)

    def loaded() -> Gallery:
        return Gallery.load(gallery, model) if gallery.exists() else Gallery(model)

    found = track(model.find_files(files), "Embedding", console=Console(stderr=True))
    embedded, remarks = loaded().embed_recordings(name, found)
    with lock_gallery(gallery):
        changed = loaded()
        enrolment = changed.add(embedded)
        changed.save(gallery)
    remarks += enrolment.remarks
    for remark in remarks:
        LOGGER.warning("%s", remark)
    of_singer = [each.recording for each in changed.enrolled if each.singer == name]
    if not of_singer:
        raise SingerVerifyError(
            f"{gallery}: {name} is not enrolled, for no recording was added; the reasons are above."
        )
    if as_json:
        record = {"gallery": str(gallery), "singer": name, "added": enrolment.added}
        record |= {"recordings": of_singer, "remarks": remarks}
        typer.echo(json.dumps(record, indent=2))
    else:
        typer.echo(f"{gallery}: recordings added: {len(enrolment.added)}; of {name} now: {len(of_singer)}.")


def gallery(
    gallery: GalleryArgument,
    remove: Annotated[str | None, typer.Option(metavar="NAME", help="Take out this singer.")] = None,
    recording: Annotated[str | None, typer.Option(help="With --remove: take out only this recording.")] = None,
    as_json: JsonOption = False,
) -> None:
    """List the singers of a gallery and their recordings, or take out some of them."""
    from singer_verify.errors import SingerVerifyError
    from singer_verify.inference.enrolment import select_enrolled_recordings
    from singer_verify.inference.gallery_file import lock_gallery, read_gallery, write_gallery
    from singer_verify.reports.console_tables import build_gallery_table

    if recording is not None and remove is None:
        raise SingerVerifyError(f"--recording {recording}: has no effect without --remove NAME.")
    fingerprint, enrolled = read_gallery(gallery)
    if remove is not None:
        with lock_gallery(gallery):
            fingerprint, before = read_gallery(gallery)
            gone = select_enrolled_recordings(before, remove, recording)
            enrolled = tuple(each for each in before if not any(each is other for other in gone))
            write_gallery(gallery, fingerprint, enrolled)
        LOGGER.info("%s: recordings of %s removed: %d.", gallery, remove, len(gone))
    recordings: dict[str, list[str]] = {name: [] for name in sorted({each.singer for each in enrolled})}
    for each in enrolled:
        recordings[each.singer].append(each.recording)
    if as_json:
        typer.echo(json.dumps({"gallery": str(gallery), "model": fingerprint, "singers": recordings}, indent=2))
    else:
        Console().print(build_gallery_table(recordings, str(gallery)))
