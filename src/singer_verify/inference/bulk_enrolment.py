"""Bulk enrolment: the singers of many files in one call, which goes on where an earlier one stopped."""

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from singer_verify.corpora.duplicates import compute_file_content
from singer_verify.errors import SingerVerifyError
from singer_verify.inference.enrolment import (
    EnrolledRecording,
    compute_recording_sha256,
    format_content,
    require_singer_name,
)
from singer_verify.inference.gallery import NUM_FILE_HASH_DIGITS, Gallery
from singer_verify.inference.gallery_file import SingerLabels, lock_gallery
from singer_verify.inference.gallery_store import is_store_path
from singer_verify.inference.model import Model
from singer_verify.inference.stored_gallery import StoredGallery
from singer_verify.worker_processes import count_available_cores

SAVE_INTERVAL_S = 20.0  # work that a bulk enrolment can lose
ShowFiles = Callable[[Sequence[Path], str], Iterable[Path]]  # passes files on, and shows how many are done


@dataclass
class SingerEnrolment:
    """What became of the recordings of one singer in a bulk enrolment.

    Attributes:
        added: number of recordings that are new in the gallery.
        present: number of recordings that the gallery had already, or that equal another of the same singer.
        left_out: number of recordings that cannot be used, or are enrolled as another singer's.
    """

    added: int = 0
    present: int = 0
    left_out: int = 0


@dataclass(frozen=True)
class BulkEnrolment:
    """Outcome of enrolling many singers.

    Attributes:
        gallery: the gallery as it was saved last.
        singers: what became of the recordings of each singer.
        remarks: sentences on recordings that were left out or are doubtful.
    """

    gallery: Gallery
    singers: dict[str, SingerEnrolment]
    remarks: list[str] = field(default_factory=list)


def enrol_singers_in_bulk(
    path: Path,
    model: Model,
    singer_by_file: Mapping[Path, str],
    labels: SingerLabels,
    progress: ShowFiles = lambda files, _: files,
) -> BulkEnrolment:
    """Enrol the singers of many files in the gallery at a path, which is saved every `SAVE_INTERVAL_S` seconds.

    After an interruption the same call goes on where it was: files that the gallery has are compared by their sound,
    and not embedded again.

    Args:
        path: the gallery, which is created if it does not exist.
        model: the model.
        singer_by_file: singer of each file.
        labels: labels of singers, added to those of the gallery.
        progress: passes files on as they are read; its second argument says what is done with them.

    Raises:
        SingerVerifyError: a singer's name cannot be used, the gallery cannot be used or saved, or no file can be used.
    """
    for singer in dict.fromkeys(singer_by_file.values()):
        require_singer_name(singer)

    def load_gallery() -> Gallery:
        if is_store_path(path):
            return StoredGallery.create(path, model)
        return Gallery.load(path, model) if path.exists() else Gallery(model)

    gallery = load_gallery()
    outcome = BulkEnrolment(gallery, {singer: SingerEnrolment() for singer in sorted(set(singer_by_file.values()))})
    pending: list[EnrolledRecording] = []

    def save() -> None:
        with lock_gallery(path):
            changed = load_gallery()
            owners = changed.find_owners(recording.content for recording in pending)
            for recording in pending:
                owner, counts = owners.setdefault(recording.content, ""), outcome.singers[recording.singer]
                owners[recording.content] = owner or recording.singer
                counts.added += not owner
                counts.present += owner == recording.singer
                counts.left_out += owner not in ("", recording.singer)
            outcome.remarks.extend(changed.add(pending).remarks)
            for singer, values in labels.items():
                changed.labels.setdefault(singer, {}).update(values)
            changed.save(path)
        if not isinstance(changed, StoredGallery):
            gallery.enrolled = changed.enrolled
        gallery.labels = changed.labels
        pending.clear()

    enrolled = _find_enrolled_files(gallery, singer_by_file, progress)
    for file in enrolled:
        outcome.singers[singer_by_file[file]].present += 1
    files = [file for file in singer_by_file if file not in enrolled]
    singers = [singer_by_file[file] for file in files]
    saved_s = time.monotonic()
    try:
        embedded = gallery.embed_singers(progress(files, "Embedding"), singers)
        for singer, (recording, remarks) in zip(singers, embedded, strict=True):
            outcome.remarks.extend(remarks)
            outcome.singers[singer].left_out += recording is None
            pending += [] if recording is None else [recording]
            if time.monotonic() - saved_s > SAVE_INTERVAL_S:
                save()
                saved_s = time.monotonic()
    finally:  # interrupted, too: what is embedded is kept
        if pending or (labels and gallery.num_singers):
            save()
    if not any(counts.added or counts.present for counts in outcome.singers.values()):
        raise SingerVerifyError(f"{path}: none of the recordings can be used: {' '.join(outcome.remarks[:3])}")
    return outcome


def _find_enrolled_files(gallery: Gallery, singer_by_file: Mapping[Path, str], progress: ShowFiles) -> set[Path]:
    """Find the files that are enrolled under their path and singer, and still sound as they did."""
    contents = gallery.find_contents()
    listed = [file for file, singer in singer_by_file.items() if (singer, str(file)) in contents]

    def compute_content(file: Path) -> str:
        if len(contents[singer_by_file[file], str(file)]) == NUM_FILE_HASH_DIGITS:
            return compute_recording_sha256(file)
        return format_content(compute_file_content(file))

    with ThreadPoolExecutor(count_available_cores()) as pool:
        found = zip(progress(listed, "Comparing"), pool.map(compute_content, listed), strict=True)
        return {file for file, content in found if content == contents[singer_by_file[file], str(file)]}
