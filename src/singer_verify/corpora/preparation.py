"""Preparation of a corpus folder from a downloaded data set, all or nothing; extraction of voice channels."""

import logging
import os
import shutil
from collections.abc import Callable, Collection, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
from jaxtyping import Float

from singer_verify.audio.decoding import decode_blocks, probe_audio
from singer_verify.corpora.corpus import Recording, Utterance, VoiceChannel
from singer_verify.corpora.labels import CORPUS_TABLE_NAME, UTTERANCE_COLUMN, read_utterance_labels
from singer_verify.corpora.names import require_table_name
from singer_verify.errors import SingerVerifyError, UtteranceError

log = logging.getLogger(__name__)

ProgressIterator = Callable[[list[Recording]], Iterable[Recording]]


def prepare_corpus(
    recordings: list[Recording], corpus_folder: Path, copy: bool, progress: ProgressIterator
) -> pd.DataFrame:
    """Write a corpus folder: links or copies in `<folder>/<split>/<singer>/`, and `corpus.csv`.

    Everything is written to a temporary folder next to it first and moved when complete.

    Args:
        recordings: recordings with their splits.
        corpus_folder: folder to create.
        copy: whether to copy files instead of linking them.
        progress: iterates over the recordings and reports progress.

    Returns:
        The table written to `corpus.csv`.

    Raises:
        SingerVerifyError: the folder exists with other contents, or no recording of a singer is usable.
    """
    _require_new_folder(corpus_folder)
    partial_folder = corpus_folder.with_name(f".{corpus_folder.name}.part")
    shutil.rmtree(partial_folder, ignore_errors=True)
    try:
        partial_folder.mkdir(parents=True)
        table = _write_recordings(recordings, partial_folder, copy, progress)
        content = table.to_csv(index=False)
        (partial_folder / CORPUS_TABLE_NAME).write_text(content, encoding="utf-8")
        if (corpus_folder / CORPUS_TABLE_NAME).exists():
            _require_same_corpus(corpus_folder, table, content)
        else:
            os.rename(partial_folder, corpus_folder)
    except OSError as error:
        raise SingerVerifyError(
            f"{corpus_folder}: cannot be written ({error.strerror or error}); nothing was changed there."
        ) from error
    finally:
        shutil.rmtree(partial_folder, ignore_errors=True)
    return table


def _require_new_folder(corpus_folder: Path) -> None:
    if corpus_folder.exists() and not corpus_folder.is_dir():
        raise SingerVerifyError(f"--out {corpus_folder}: is a file; expected a folder to create.")
    if corpus_folder.is_dir() and any(corpus_folder.iterdir()) and not (corpus_folder / CORPUS_TABLE_NAME).exists():
        raise SingerVerifyError(f"--out {corpus_folder}: already contains other files; give a new folder.")


def _require_same_corpus(corpus_folder: Path, table: pd.DataFrame, content: str) -> None:
    is_whole = all((corpus_folder / path).exists() for path in table[UTTERANCE_COLUMN])
    if (corpus_folder / CORPUS_TABLE_NAME).read_text(encoding="utf-8") != content or not is_whole:
        raise SingerVerifyError(
            f"--out {corpus_folder}: contains a corpus prepared differently; delete it or give a new folder."
        )
    log.info("%s: already prepared in the same way; left unchanged.", corpus_folder)


def _write_recordings(
    recordings: list[Recording], corpus_folder: Path, copy: bool, progress: ProgressIterator
) -> pd.DataFrame:
    rows = []
    skipped: dict[str, UtteranceError] = {}  # the first reason of each singer
    for recording in progress(recordings):
        target = _build_target_path(recording, corpus_folder)
        try:
            info = _read_audio_columns(recording)
            _place_audio_file(recording, target, copy)
        except UtteranceError as error:
            log.warning("Skipped: %s", error)
            skipped.setdefault(recording.singer, error)
            continue
        location = {
            UTTERANCE_COLUMN: target.relative_to(corpus_folder).as_posix(),
            "singer": recording.singer,
            "split": recording.split,
        }
        rows.append(location | info | recording.labels)
    if not rows:
        raise SingerVerifyError(f"none of {len(recordings)} recordings is usable; the reasons are logged above.")
    if lost := [singer for singer in skipped if singer not in {row["singer"] for row in rows}]:
        raise SingerVerifyError(
            f"singers without a usable recording: {', '.join(lost)} (the first reason: {skipped[lost[0]]}) Repair "
            f"their files, or take them out of the data set."
        )
    if len(rows) < len(recordings):
        log.warning("%d of %d recordings skipped.", len(recordings) - len(rows), len(recordings))
    return pd.DataFrame(rows).fillna("").sort_values(UTTERANCE_COLUMN, ignore_index=True)


def _build_target_path(recording: Recording, corpus_folder: Path) -> Path:
    """Return the path of a recording in the corpus; it must be unique and inside its singer's folder."""
    singer = recording.singer
    if not singer or singer.startswith(".") or Path(singer).name != singer:
        raise SingerVerifyError(f"{recording.source}: singer {singer!r} is not a valid folder name; rename it.")
    require_table_name(f"{singer}/{recording.name}", recording.source.parent)
    target = corpus_folder / recording.split / singer / recording.name
    if target.exists():
        raise SingerVerifyError(
            f"{recording.source}: another recording is named {target.relative_to(corpus_folder)}; rename one."
        )
    return target


def _read_audio_columns(recording: Recording) -> dict[str, Any]:
    info = probe_audio(recording.source)
    channels = 1 if recording.voice_channel else info.num_channels
    seconds = f"{info.duration_s:.3f}"
    return {"seconds": seconds, "sample_rate": info.sample_rate, "channels": channels}


def _place_audio_file(recording: Recording, target: Path, copy: bool) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if recording.voice_channel:
        write_voice(recording.source, target, recording.voice_channel)
    elif copy:
        shutil.copyfile(recording.source, target)
    else:
        target.symlink_to(recording.source.resolve())


def write_voice(source: Path, target: Path, voice: VoiceChannel) -> None:
    """Write one channel of a file, or a mixture of two at a given power ratio, as 16-bit FLAC.

    Raises:
        UtteranceError: the file cannot be decoded, lacks one of the channels, or its path is not valid UTF-8.
    """
    num_channels = max(voice.channel, voice.accompaniment_channel) + 1
    blocks = list(decode_blocks(source))
    if not blocks:
        raise UtteranceError(f"{source}: contains no samples; record it again or delete it.")
    num_present = min(block.samples.shape[1] for block in blocks)
    if num_present < num_channels:
        raise UtteranceError(
            f"{source}: has {num_present} channels; expected {num_channels}, with the voice in channel "
            f"{voice.channel + 1}."
        )
    if len(rates := {block.sample_rate for block in blocks}) > 1:
        raise UtteranceError(f"{source}: changes its sample rate midway ({sorted(rates)} Hz); convert it to one.")
    samples = np.concatenate([block.samples[:, :num_channels] for block in blocks], dtype=np.float64)
    voice_samples = samples[:, voice.channel]
    if voice.snr_db is not None:
        voice_samples = mix_at_snr(voice_samples, samples[:, voice.accompaniment_channel], voice.snr_db)
    soundfile.write(target, voice_samples, blocks[0].sample_rate, subtype="PCM_16", format="FLAC")


def mix_at_snr(
    voice: Float[np.ndarray, " samples"], accompaniment: Float[np.ndarray, " samples"], snr_db: float
) -> Float[np.ndarray, " samples"]:
    """Mix voice and accompaniment, scaling the accompaniment so that the ratio of mean powers is `snr_db`.

    A mixture that exceeds [-1, 1] is scaled down as a whole. If either signal is silent, the voice is returned
    unchanged.
    """
    voice_power, accompaniment_power = float(np.mean(voice**2)), float(np.mean(accompaniment**2))
    if not voice_power or not accompaniment_power:
        return voice
    gain = np.sqrt(voice_power / (accompaniment_power * 10 ** (snr_db / 10)))
    mixture = voice + gain * accompaniment
    return mixture / max(1.0, float(np.abs(mixture).max()))


def select_accepted(corpus: Path, utterances: Sequence[Utterance], refused: Collection[str]) -> list[Recording]:
    """Return the recordings that are not refused, with their labels, to be prepared as a corpus of their own.

    Raises:
        SingerVerifyError: nothing is left, or a path is not in the corpus.
    """
    if missing := sorted(set(refused) - {utterance.path for utterance in utterances}):
        raise SingerVerifyError(f"{missing[0]}: is refused, but is not in {corpus}; expected paths as in corpus.csv.")
    kept = [utterance for utterance in utterances if utterance.path not in refused]
    if not kept:
        raise SingerVerifyError(f"{corpus}: all {len(utterances)} recordings are refused; nothing would be left.")
    labels = read_utterance_labels([utterance.path for utterance in kept], corpus, report=False)
    if gone := sorted({item.singer for item in utterances} - {item.singer for item in kept}):
        log.warning("No recording is left of %s.", ", ".join(gone))
    recordings = []
    for number, utterance in enumerate(kept):
        split, _, rest = utterance.path.partition("/")
        own = {name: str(values[number]) for name, values in labels.items()}
        recordings.append(Recording(corpus / utterance.path, utterance.singer, rest.partition("/")[2], own, split))
    return recordings
