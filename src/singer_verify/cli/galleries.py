"""Commands on galleries: enrol recordings of a singer or all singers of a corpus, list, merge and remove them."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from singer_verify.cli.application import (
    DeviceOption,
    GalleryArgument,
    JsonOption,
    ModelArgument,
    app,
    show_progress,
    takes_trust,
)
from singer_verify.cli.console import LOGGER, print_result

if TYPE_CHECKING:  # torch takes seconds to import: only commands that need it do
    from singer_verify.inference import Model

MAX_LISTED_RECORDINGS = 1000  # of a database, which may hold a million
MAX_PRINTED_REMARKS = 20  # of a bulk enrolment; --json has all
LabelsOption = Annotated[
    Path | None,
    typer.Option(
        "--labels", help="A table of labels by singer: a column singer, others such as voice_part or gender; csv."
    ),
]


@app.command()
@takes_trust
def enrol(
    model_path: ModelArgument,
    gallery: GalleryArgument,
    name: Annotated[str | None, typer.Argument(help="The singer, a new one or one of the gallery.")] = None,
    files: Annotated[list[Path] | None, typer.Argument(help="Recordings, or folders searched recursively.")] = None,
    corpus: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="CORPUS", help="Enrol every singer of a corpus, or of a folder with a folder per singer."
        ),
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="With --from: the split of the corpus (default: all that it has).")
    ] = None,
    labels: LabelsOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Add recordings of a singer to a gallery, or those of all singers of a corpus.

    Several recordings, of different songs, work better than one. What is enrolled already is left out, so that an
    enrolment that was interrupted goes on where it was.
    """
    from singer_verify.errors import SingerVerifyError
    from singer_verify.inference import load_model
    from singer_verify.inference.gallery_file import require_gallery_path

    is_one_singer = name is not None and bool(files)
    if is_one_singer == (corpus is not None) or (name is not None and not files):
        raise SingerVerifyError(
            "expected a singer's NAME and FILES..., or all singers of a corpus by --from CORPUS; give one of the two."
        )
    if split is not None and corpus is None:
        raise SingerVerifyError(f"--split {split}: has no effect without --from CORPUS.")
    require_gallery_path(gallery)
    model = load_model(model_path, device)
    if corpus is not None:
        _enrol_corpus(model, gallery, corpus, split, labels, as_json)
    else:
        assert name is not None
        _enrol_singer(model, gallery, name, files or [], labels, as_json)


def _enrol_singer(
    model: "Model", gallery: Path, name: str, files: list[Path], label_table: Path | None, as_json: bool
) -> None:
    from singer_verify.corpora.labels import read_singer_labels
    from singer_verify.corpora.names import normalise_name
    from singer_verify.errors import SingerVerifyError
    from singer_verify.inference import Gallery
    from singer_verify.inference.gallery_file import lock_gallery
    from singer_verify.inference.gallery_store import is_store_path
    from singer_verify.inference.stored_gallery import StoredGallery

    def load_gallery() -> Gallery:
        if is_store_path(gallery):
            return StoredGallery.create(gallery, model)
        return Gallery.load(gallery, model) if gallery.exists() else Gallery(model)

    singer = normalise_name(name)
    labels = {} if label_table is None else read_singer_labels(label_table, [singer])
    recordings = show_progress(model.find_files(files), "Embedding")
    embedded, remarks = load_gallery().embed_recordings(name, recordings)
    with lock_gallery(gallery):
        changed = load_gallery()
        enrolment = changed.add(embedded)
        changed.labels.setdefault(singer, {}).update(labels.get(singer, {}))
        changed.save(gallery)
    remarks += enrolment.remarks
    for remark in remarks:
        LOGGER.warning("%s", remark)
    try:
        enrolled = list(changed.recordings(singer))
    except SingerVerifyError as error:
        raise SingerVerifyError(
            f"{gallery}: {name} is not enrolled, because no recording was added; the reasons are above."
        ) from error
    if as_json:
        record: dict[str, Any] = {"gallery": str(gallery), "singer": name, "added": enrolment.added}
        record |= {"recordings": enrolled, "labels": changed.labels[singer], "remarks": remarks}
        typer.echo(json.dumps(record, indent=2))
    else:
        typer.echo(f"{gallery}: {len(enrolment.added)} recordings added; recordings of {name} now: {len(enrolled)}.")


def _enrol_corpus(
    model: "Model", gallery: Path, corpus: Path, split: str | None, label_table: Path | None, as_json: bool
) -> None:
    from singer_verify.corpora.labels import read_singer_labels
    from singer_verify.inference.bulk_enrolment import enrol_singers_in_bulk
    from singer_verify.inference.enrolment import find_singer_files
    from singer_verify.reports.console_tables import build_bulk_enrolment_table

    singer_by_file = find_singer_files(model, corpus, None if split is None else (split,))
    labels = {} if label_table is None else read_singer_labels(label_table, singer_by_file.values())
    outcome = enrol_singers_in_bulk(gallery, model, singer_by_file, labels, show_progress)
    _log_remarks(outcome.remarks)
    enrolled = outcome.gallery.count_recordings()
    num_recordings = {singer: enrolled.get(singer, 0) for singer in outcome.singers}
    if as_json:
        singers = {
            singer: {
                **vars(counts),
                "recordings": num_recordings[singer],
                "labels": outcome.gallery.labels.get(singer, {}),
            }
            for singer, counts in outcome.singers.items()
        }
        record = {"gallery": str(gallery), "corpus": str(corpus), "singers": singers, "remarks": outcome.remarks}
        typer.echo(json.dumps(record, indent=2))
    else:
        print_result(build_bulk_enrolment_table(outcome.singers, num_recordings, str(gallery)))


def _log_remarks(remarks: Sequence[str]) -> None:
    for remark in remarks[:MAX_PRINTED_REMARKS]:
        LOGGER.warning("%s", remark)
    if len(remarks) > MAX_PRINTED_REMARKS:
        LOGGER.warning("And %d more remarks; --json prints all.", len(remarks) - MAX_PRINTED_REMARKS)


@app.command()
def gallery(
    gallery: GalleryArgument,
    remove: Annotated[str | None, typer.Option(metavar="NAME", help="Remove this singer.")] = None,
    recording: Annotated[str | None, typer.Option(help="With --remove: remove only this recording.")] = None,
    merge: Annotated[
        list[Path] | None,
        typer.Option(metavar="OTHER", help="Add the singers of another gallery, of the same model; may be repeated."),
    ] = None,
    parts: Annotated[
        Path | None,
        typer.Option("--import", metavar="PARTS", help="Add recordings from Parquet, which `embed` wrote."),
    ] = None,
    singers: Annotated[
        Path | None,
        typer.Option(
            metavar="TABLE", help="With --import: a table with columns path and singer (else a column singer)."
        ),
    ] = None,
    root: Annotated[
        Path | None, typer.Option(help="With --import: the corpus, or folder, whose folders are the singers.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the singers of a gallery and their recordings, remove some of them, or add those of others.

    With --merge and --import, a gallery that does not exist is created.
    """
    from singer_verify.errors import SingerVerifyError
    from singer_verify.inference.gallery_file import read_gallery
    from singer_verify.inference.gallery_store import GalleryStore, is_store_path
    from singer_verify.reports.console_tables import build_gallery_table

    if recording is not None and remove is None:
        raise SingerVerifyError(f"--recording {recording}: has no effect without --remove NAME.")
    given = {"--remove": remove, "--merge": merge, "--import": parts}
    changes = [f"{option} {value}" for option, value in given.items() if value]
    if len(changes) > 1:
        raise SingerVerifyError(
            f"{changes[0]}: cannot be combined with {changes[1].split()[0]}; give one after the other."
        )
    if parts is None and (singers or root):
        raise SingerVerifyError("--singers and --root have no effect without --import PARTS.")
    if singers and root:
        raise SingerVerifyError(f"--singers {singers}: cannot be combined with --root {root}; give one of the two.")
    if parts is not None:
        _import_parts(gallery, parts, singers, root)
    elif merge:
        _merge_into(gallery, merge)
    elif remove is not None:
        _remove_from(gallery, remove, recording)
    if is_store_path(gallery):
        with GalleryStore.open(gallery) as store:
            (num_singers, num_recordings), fingerprint = store.count(), store.fingerprint
            if num_recordings > MAX_LISTED_RECORDINGS and not as_json:
                typer.echo(f"{gallery}: {num_singers} singers, {num_recordings} recordings; --json lists them.")
                return
            recordings, labels = store.list_recordings(), store.read_labels()
    else:
        fingerprint, enrolled, labels = read_gallery(gallery)
        recordings = {name: [] for name in sorted({entry.singer for entry in enrolled})}
        for entry in enrolled:
            recordings[entry.singer].append(entry.recording)
    labels = {name: labels[name] for name in recordings if name in labels}
    if as_json:
        record = {"gallery": str(gallery), "model": fingerprint, "singers": recordings, "labels": labels}
        typer.echo(json.dumps(record, indent=2))
    else:
        print_result(build_gallery_table(recordings, str(gallery), labels))


def _remove_from(gallery: Path, singer: str, recording: str | None) -> None:
    from singer_verify.inference.enrolment import select_enrolled_recordings
    from singer_verify.inference.gallery_file import lock_gallery, read_gallery, write_gallery
    from singer_verify.inference.gallery_store import GalleryStore, is_store_path

    if is_store_path(gallery):
        with GalleryStore.open(gallery) as store:
            num_gone = len(store.remove(singer, recording))
    else:
        read_gallery(gallery)  # whose absence is said before the lock creates a file
        with lock_gallery(gallery):
            content = read_gallery(gallery)
            gone = select_enrolled_recordings(content.enrolled, singer, recording)
            kept = tuple(entry for entry in content.enrolled if not any(entry is other for other in gone))
            write_gallery(gallery, *content._replace(enrolled=kept))
            num_gone = len(gone)
    LOGGER.info("%s: recordings of %s removed: %d.", gallery, singer, num_gone)


def _import_parts(gallery: Path, parts: Path, singers: Path | None, root: Path | None) -> None:
    from singer_verify.inference.embedding_parts import find_parts, require_parquet
    from singer_verify.inference.gallery_file import require_gallery_path
    from singer_verify.inference.gallery_import import build_singer_finder, import_parts, read_singer_table

    require_gallery_path(gallery)
    require_parquet()
    num_parts = len(find_parts(parts))
    find_singer = build_singer_finder(None if singers is None else read_singer_table(singers), root)
    outcome = import_parts(
        gallery, parts, find_singer, lambda items: show_progress(items, "Importing", total=num_parts)
    )
    _log_remarks(outcome.remarks)
    counts = (len(outcome.added), outcome.present, len(outcome.remarks))
    LOGGER.info("%s: recordings added: %d; in the gallery before: %d; left out: %d.", gallery, *counts)


def _merge_into(gallery: Path, others: list[Path]) -> None:
    from singer_verify.errors import SingerVerifyError
    from singer_verify.inference.gallery_file import (
        lock_gallery,
        merge_galleries,
        read_gallery,
        require_gallery_path,
        write_gallery,
    )
    from singer_verify.inference.gallery_import import merge_into_store
    from singer_verify.inference.gallery_store import is_store_path

    require_gallery_path(gallery)
    paths = [gallery.resolve(), *(other.resolve() for other in others)]
    if repeated := [other for place, other in enumerate(others, 1) if paths[place] in paths[:place]]:
        raise SingerVerifyError(f"--merge {repeated[0]}: is named twice; expected other galleries, each once.")
    contents = {other: read_gallery(other) for other in others}
    if is_store_path(gallery):
        outcome = merge_into_store(gallery, contents)
        _log_remarks(outcome.remarks)
        LOGGER.info("%s: recordings added: %d.", gallery, len(outcome.added))
        return
    with lock_gallery(gallery):
        before = {gallery: read_gallery(gallery)} if gallery.exists() else {}
        merged = merge_galleries(before | contents)
        write_gallery(gallery, *merged)
    num_before = len(before[gallery].enrolled) if before else 0
    LOGGER.info("%s: recordings added: %d.", gallery, len(merged.enrolled) - num_before)
