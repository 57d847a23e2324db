"""A data set as it was downloaded into the layout of a corpus, all or nothing."""

import logging
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import pandas as pd

from singer_verify.corpora.extraction import write_voice
from singer_verify.corpora.labels import KEY, LABELS_NAME
from singer_verify.corpora.probing import probe
from singer_verify.corpora.recording import Recording
from singer_verify.errors import SingerVerifyError, UtteranceError

log = logging.getLogger(__name__)

Progress = Callable[[list[Recording]], Iterable[Recording]]


def prepare(recordings: list[Recording], out: Path, copy: bool, progress: Progress) -> pd.DataFrame:
    """Write a corpus: links, or copies, in `<out>/<split>/<singer>/`, and `corpus.csv`.

    Everything is made beside `out` first, and takes its place when it is whole.

    Args:
        recordings: each with its split.
        out: the folder to make.
        copy: copies instead of links.
        progress: passes the recordings on one by one.

    Returns:
        the table that is written as `corpus.csv`.

    Raises:
        SingerVerifyError: `out` is there and holds something else, or no recording can be used.
    """
    _require_free(out)
    unfinished = out.with_name(f".{out.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        table = _write(recordings, unfinished, copy, progress)
        content = table.to_csv(index=False)
        (unfinished / LABELS_NAME).write_text(content, encoding="utf-8")
        if (out / LABELS_NAME).exists():
            _require_same(out, table, content)
        else:
            os.rename(unfinished, out)
    except OSError as error:
        raise SingerVerifyError(
            f"{out}: cannot be written ({error.strerror or error}); nothing was changed there."
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return table


def _require_free(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise SingerVerifyError(f"--out {out}: is a file; give the folder to make.")
    if out.is_dir() and any(out.iterdir()) and not (out / LABELS_NAME).exists():
        raise SingerVerifyError(f"--out {out}: holds something else; give a new folder.")


def _require_same(out: Path, table: pd.DataFrame, content: str) -> None:
    is_whole = all((out / path).exists() for path in table[KEY])
    if (out / LABELS_NAME).read_text(encoding="utf-8") != content or not is_whole:
        raise SingerVerifyError(
            f"--out {out}: holds a corpus prepared in another way; delete it, or give a new folder."
        )
    log.info("%s: was prepared in the same way before; left as it is.", out)


def _write(recordings: list[Recording], out: Path, copy: bool, progress: Progress) -> pd.DataFrame:
    rows = []
    for recording in progress(recordings):
        target = _target(recording, out)
        try:
            properties = _properties(recording)
            _place(recording, target, copy)
        except UtteranceError as error:
            log.warning("Left out: %s", error)
            continue
        place = {KEY: target.relative_to(out).as_posix(), "singer": recording.singer, "split": recording.split}
        rows.append(place | properties | recording.labels)
    if not rows:
        raise SingerVerifyError(f"none of {len(recordings)} recordings can be used; the reasons are above.")
    if len(rows) < len(recordings):
        log.warning("%d of %d recordings left out.", len(recordings) - len(rows), len(recordings))
    return pd.DataFrame(rows).fillna("").sort_values(KEY, ignore_index=True)


def _target(recording: Recording, out: Path) -> Path:
    """Where a recording goes, refused where that is not a place of its own in its singer's folder."""
    singer = recording.singer
    if not singer or singer.startswith(".") or Path(singer).name != singer:
        raise SingerVerifyError(f"{recording.source}: its singer {singer!r} cannot be a folder's name; rename it.")
    target = out / recording.split / singer / recording.name
    if target.exists():
        raise SingerVerifyError(f"{recording.source}: a second recording named {target.relative_to(out)}; rename one.")
    return target


def _properties(recording: Recording) -> dict[str, Any]:
    properties = probe(recording.source)
    channels = 1 if recording.voice else properties.channels
    seconds = f"{properties.seconds:.3f}"
    return {"seconds": seconds, "sample_rate": properties.sample_rate, "channels": channels}


def _place(recording: Recording, target: Path, copy: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if recording.voice:
        write_voice(recording.source, target, recording.voice)
    elif copy:
        shutil.copyfile(recording.source, target)
    else:
        target.symlink_to(recording.source.resolve())
