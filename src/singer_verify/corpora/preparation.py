"""A data set as it was downloaded into the layout of a corpus, all or nothing."""

import logging
import os
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
from jaxtyping import Float

from singer_verify.audio.decoding import DECODING_ERRORS, require_utf8_path
from singer_verify.audio.probing import probe_audio
from singer_verify.corpora.labels import CORPUS_TABLE_NAME, UTTERANCE_COLUMN
from singer_verify.corpora.recording import Recording, VoiceChannel
from singer_verify.errors import SingerVerifyError, UtteranceError

log = logging.getLogger(__name__)

ProgressIterator = Callable[[list[Recording]], Iterable[Recording]]


def prepare_corpus(recordings: list[Recording], out: Path, copy: bool, progress: ProgressIterator) -> pd.DataFrame:
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
    _require_new_folder(out)
    unfinished = out.with_name(f".{out.name}.part")
    shutil.rmtree(unfinished, ignore_errors=True)
    try:
        unfinished.mkdir(parents=True)
        table = _write_recordings(recordings, unfinished, copy, progress)
        content = table.to_csv(index=False)
        (unfinished / CORPUS_TABLE_NAME).write_text(content, encoding="utf-8")
        if (out / CORPUS_TABLE_NAME).exists():
            _require_same_corpus(out, table, content)
        else:
            os.rename(unfinished, out)
    except OSError as error:
        raise SingerVerifyError(
            f"{out}: cannot be written ({error.strerror or error}); nothing was changed there."
        ) from error
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return table


def _require_new_folder(out: Path) -> None:
    if out.exists() and not out.is_dir():
        raise SingerVerifyError(f"--out {out}: is a file; give the folder to make.")
    if out.is_dir() and any(out.iterdir()) and not (out / CORPUS_TABLE_NAME).exists():
        raise SingerVerifyError(f"--out {out}: holds something else; give a new folder.")


def _require_same_corpus(out: Path, table: pd.DataFrame, content: str) -> None:
    is_whole = all((out / path).exists() for path in table[UTTERANCE_COLUMN])
    if (out / CORPUS_TABLE_NAME).read_text(encoding="utf-8") != content or not is_whole:
        raise SingerVerifyError(
            f"--out {out}: holds a corpus prepared in another way; delete it, or give a new folder."
        )
    log.info("%s: was prepared in the same way before; left as it is.", out)


def _write_recordings(recordings: list[Recording], out: Path, copy: bool, progress: ProgressIterator) -> pd.DataFrame:
    rows = []
    for recording in progress(recordings):
        target = _build_target_path(recording, out)
        try:
            properties = _read_audio_columns(recording)
            _place_audio_file(recording, target, copy)
        except UtteranceError as error:
            log.warning("Left out: %s", error)
            continue
        place = {
            UTTERANCE_COLUMN: target.relative_to(out).as_posix(),
            "singer": recording.singer,
            "split": recording.split,
        }
        rows.append(place | properties | recording.labels)
    if not rows:
        raise SingerVerifyError(f"none of {len(recordings)} recordings can be used; the reasons are above.")
    if len(rows) < len(recordings):
        log.warning("%d of %d recordings left out.", len(recordings) - len(rows), len(recordings))
    return pd.DataFrame(rows).fillna("").sort_values(UTTERANCE_COLUMN, ignore_index=True)


def _build_target_path(recording: Recording, out: Path) -> Path:
    """Where a recording goes, refused where that is not a place of its own in its singer's folder."""
    singer = recording.singer
    if not singer or singer.startswith(".") or Path(singer).name != singer:
        raise SingerVerifyError(f"{recording.source}: its singer {singer!r} cannot be a folder's name; rename it.")
    target = out / recording.split / singer / recording.name
    if target.exists():
        raise SingerVerifyError(f"{recording.source}: a second recording named {target.relative_to(out)}; rename one.")
    return target


def _read_audio_columns(recording: Recording) -> dict[str, Any]:
    properties = probe_audio(recording.source)
    channels = 1 if recording.voice else properties.num_channels
    seconds = f"{properties.duration_s:.3f}"
    return {"seconds": seconds, "sample_rate": properties.sample_rate, "channels": channels}


def _place_audio_file(recording: Recording, target: Path, copy: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if recording.voice:
        write_voice(recording.source, target, recording.voice)
    elif copy:
        shutil.copyfile(recording.source, target)
    else:
        target.symlink_to(recording.source.resolve())


def write_voice(source: Path, target: Path, voice: VoiceChannel) -> None:
    """Write one channel of a file, or a mixture of two at a given ratio of powers, as 16-bit FLAC.

    Raises:
        UtteranceError: the file cannot be decoded, lacks one of the channels, or has a path that is no text.
    """
    require_utf8_path(source)
    try:
        samples, sample_rate = soundfile.read(source, dtype="float64", always_2d=True)
    except DECODING_ERRORS as error:
        raise UtteranceError(f"{source}: cannot be decoded as audio ({error}).") from error
    needed = max(voice.channel, voice.accompaniment_channel) + 1
    if samples.shape[1] < needed:
        raise UtteranceError(
            f"{source}: has {samples.shape[1]} channels; expected {needed}, the voice in channel {voice.channel + 1}."
        )
    alone = samples[:, voice.channel]
    if voice.snr_db is not None:
        alone = mix_at_snr(alone, samples[:, voice.accompaniment_channel], voice.snr_db)
    soundfile.write(target, alone, sample_rate, subtype="PCM_16", format="FLAC")


def mix_at_snr(
    voice: Float[np.ndarray, " samples"], accompaniment: Float[np.ndarray, " samples"], snr_db: float
) -> Float[np.ndarray, " samples"]:
    """Voice and accompaniment, this scaled so that the ratio of their mean powers is `snr_db`.

    A sum that leaves [-1, 1] is scaled back as a whole. A silent voice or accompaniment is left as it is.
    """
    voice_power, other_power = float(np.mean(voice**2)), float(np.mean(accompaniment**2))
    if not voice_power or not other_power:
        return voice
    gain = np.sqrt(voice_power / (other_power * 10 ** (snr_db / 10)))
    mixture = voice + gain * accompaniment
    return mixture / max(1.0, float(np.abs(mixture).max()))
