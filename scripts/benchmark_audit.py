"""The audit of a corpus with faults put into a copy of it: how many are found, and how many others are named.

python scripts/benchmark_audit.py CORPUS --model RUN --false-alarms 0.05

A copy of the corpus gets, in recordings drawn at random: exchanged labels, a band limit (to 8 kHz and back), clipping
(2 % of the samples), a copy under another singer's name (Ogg Vorbis, 6 dB down), an excerpt (40 to 60 %, 6 dB down)
likewise, hum (50 Hz and harmonics, 35 dB below the voice), white noise (15 dB below it), a second singer appended, and
one singer filed under two names. Recall: share of the faults that are named as what they are. Precision: share of what
is so named that has the fault; recordings with another of these faults count as neither. False alarms: share of the
recordings without any fault of ours that are so named; some of them may have faults of their own. After that, each
singer of the corpus as it is gets two names in turn.
"""

import json
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import soundfile
import soxr
import typer
from rich.console import Console
from rich.table import Table

from singer_verify.audio import load_audio
from singer_verify.audio.decoding import probe_audio
from singer_verify.cli.application import show_progress
from singer_verify.corpora.labels import read_utterance_labels
from singer_verify.evaluation.label_checks import check_labels, find_same_singers
from singer_verify.evaluation.scoring.scoring import Scoring
from singer_verify.inference import Model, load_model, load_model_scoring
from singer_verify.inference.audit import (
    AuditReport,
    AuditSettings,
    audit_corpus,
    embed_recordings,
    number_songs,
    read_audio_corpus,
)
from singer_verify.reports.audit import write_audit

app = typer.Typer(pretty_exceptions_enable=False)
NAMED_AS = {
    "swapped label": ("label",),
    "copy, another name": ("copy", "excerpt"),
    "excerpt, another name": ("copy", "excerpt"),
    "second voice": ("voices",),
    "one singer, two names": ("same_singer",),
    "band limit": ("bandwidth",),
    "clipping": ("clipping",),
    "noise": ("noise",),
    "hum": ("hum",),
}


@dataclass
class FaultyCorpus:
    """A copy of a corpus, with faults.

    Attributes:
        root: its folder.
        songs: song of each of its recordings, by path.
        faults: name of the fault of each recording that has one, by path.
        sources: recordings without a fault whose sound is elsewhere, too.
        split_singer: the singer with two names, and the second name.
    """

    root: Path
    songs: dict[str, str] = field(default_factory=dict)
    faults: dict[str, str] = field(default_factory=dict)
    sources: set[str] = field(default_factory=set)
    split_singer: tuple[str, str] = ("", "")

    def write(self, path: str, samples: np.ndarray, rate: int, fault: str, song: str) -> None:
        """Write a faulty recording, in place of a link or under a new name."""
        target = self.root / path
        target.unlink(missing_ok=True)
        if target.suffix == ".ogg":
            soundfile.write(target, samples, rate, format="OGG", subtype="VORBIS")
        else:
            soundfile.write(target, np.clip(samples, -1.0, 1.0), rate, format="FLAC", subtype="PCM_16")
        self.songs[path], self.faults[path] = song, fault


def inject_faults(corpus: Path, root: Path, num_each: int, seed: int) -> FaultyCorpus:
    """Copy a corpus by links, and put faults into it."""
    generator = np.random.default_rng(seed)
    utterances = read_audio_corpus(corpus)
    paths = [utterance.path for utterance in utterances]
    songs = read_utterance_labels(paths, corpus, report=False).get("song", np.array(paths, object))
    singers = sorted({utterance.singer for utterance in utterances})
    by_singer = {name: [u.path for u in utterances if u.singer == name] for name in singers}
    faulty = FaultyCorpus(root, dict(zip(paths, map(str, songs), strict=True)))
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).symlink_to((corpus / path).resolve())
    _split_singer(faulty, str(generator.choice(singers)), by_singer, generator)
    free = [path for path in generator.permutation(sorted(faulty.songs)).tolist() if _singer(path) in singers]
    free = [path for path in free if _singer(path) not in faulty.split_singer]

    def take() -> tuple[str, np.ndarray, int]:
        path = free.pop()
        rate = probe_audio(corpus / path).sample_rate
        return path, load_audio(corpus / path, rate), rate

    def choose_other(path: str) -> str:
        others = [name for name in singers if name != _singer(path) and name not in faulty.split_singer]
        return str(generator.choice(others))

    changes: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {
        "band limit": lambda x, rate: soxr.resample(soxr.resample(x, rate, 8000), 8000, rate),
        "clipping": _clip,
        "noise": lambda x, rate: x + _level(x) * 10 ** (-15 / 20) * generator.standard_normal(len(x)),
        "hum": _add_hum,
    }
    for _ in range(num_each):
        for fault, change in changes.items():
            path, samples, rate = take()
            faulty.write(path, change(samples, rate), rate, fault, faulty.songs[path])
        path, samples, rate = take()
        faulty.sources.add(path)
        where = by_singer[choose_other(path)][0].rsplit("/", 1)[0]
        faulty.write(f"{where}/copied {Path(path).stem}.ogg", 0.5 * samples, rate, "copy, another name", f"copy {path}")
        path, samples, rate = take()
        faulty.sources.add(path)
        length = int(len(samples) * generator.uniform(0.4, 0.6))
        first = int(generator.integers(len(samples) - length))
        where = by_singer[choose_other(path)][0].rsplit("/", 1)[0]
        excerpt = 0.5 * samples[first : first + length]
        faulty.write(f"{where}/cut {Path(path).stem}.flac", excerpt, rate, "excerpt, another name", f"excerpt {path}")
        path, samples, rate = take()
        source = str(generator.choice(by_singer[choose_other(path)]))
        faulty.sources.add(source)
        second = load_audio(corpus / source, rate)
        parts = samples, second * (_level(samples) / _level(second))
        kept = [part[: int(len(part) * generator.uniform(0.5, 1.0))] for part in parts]
        faulty.write(path, np.concatenate(kept), rate, "second voice", faulty.songs[path])
    _swap_labels(faulty, free, num_each)
    return faulty


def _singer(path: str) -> str:
    return path.split("/")[1]


def _level(samples: np.ndarray) -> float:
    """Return the level of the loudest tenth of a recording, in steps of 20 ms."""
    power = np.square(samples[: len(samples) // 320 * 320]).reshape(-1, 320).mean(axis=1)
    return float(np.sqrt(np.percentile(power, 90)))


def _clip(samples: np.ndarray, rate: int) -> np.ndarray:
    return np.clip(samples / np.percentile(np.abs(samples), 98), -1.0, 1.0)


def _add_hum(samples: np.ndarray, rate: int) -> np.ndarray:
    time_s = np.arange(len(samples)) / rate
    hum = sum(np.sin(2 * np.pi * 50 * k * time_s) / k for k in (1, 2, 3))
    return samples + _level(samples) * 10 ** (-35 / 20) * hum / np.sqrt(np.square(hum).mean())


def _split_singer(
    faulty: FaultyCorpus, singer: str, by_singer: dict[str, list[str]], generator: np.random.Generator
) -> None:
    """File half of a singer's recordings under another name."""
    moved = choose_half({path: faulty.songs[path] for path in by_singer[singer]}, generator)
    name = f"{singer} again"
    for path in moved:
        _move(faulty, path, path.replace(f"/{singer}/", f"/{name}/", 1), "")
    faulty.split_singer = (singer, name)


def choose_half(songs: dict[str, str], generator: np.random.Generator) -> list[str]:
    """Choose half of a singer's songs, or recordings where there are fewer than four songs."""
    names = sorted(set(songs.values()))
    if len(names) < 4:
        return list(generator.permutation(sorted(songs))[: len(songs) // 2].tolist())
    chosen = set(generator.permutation(names)[: len(names) // 2].tolist())
    return [path for path, song in songs.items() if song in chosen]


def _swap_labels(faulty: FaultyCorpus, free: list[str], num_each: int) -> None:
    """Exchange recordings of two singers, until as many labels are wrong."""
    num_swapped = 0
    while num_swapped < num_each:
        first = free.pop()
        second = next(path for path in reversed(free) if _singer(path) != _singer(first))
        free.remove(second)
        for path, other in ((first, second), (second, first)):
            _move(faulty, path, f"{other.rsplit('/', 1)[0]}/of another {Path(path).name}", "swapped label")
        num_swapped += 2


def _move(faulty: FaultyCorpus, path: str, target: str, fault: str) -> None:
    (faulty.root / target).parent.mkdir(parents=True, exist_ok=True)
    (faulty.root / path).rename(faulty.root / target)
    faulty.songs[target] = faulty.songs.pop(path)
    if fault:
        faulty.faults[target] = fault


def count_fault(report: AuditReport, faulty: FaultyCorpus, fault: str) -> list[str]:
    """Build the row of a fault: number, found, recall, precision, false alarms."""
    kinds = NAMED_AS[fault]
    if fault == "one singer, two names":
        pairs = {frozenset((item.singer, item.other)) for item in report.findings if item.kind in kinds}
        hits = frozenset(faulty.split_singer) in pairs
        num_singers = len({utterance.singer for utterance in report.utterances})
        others = num_singers * (num_singers - 1) // 2 - 1
        return _format_row(fault, 1, int(hits), len(pairs) - hits, others)
    named = {path for item in report.findings if item.kind in kinds for path in (item.path, item.other)}
    injected = {path for path, name in faulty.faults.items() if name == fault}
    clean = {utterance.path for utterance in report.utterances} - set(faulty.faults)
    clean -= faulty.sources if "copy" in kinds else set()  # which share their sound indeed
    return _format_row(fault, len(injected), len(named & injected), len(named & clean), len(clean))


def _format_row(fault: str, number: int, found: int, wrong: int, clean: int) -> list[str]:
    precision = f"{100 * found / (found + wrong):.0f}" if found + wrong else "—"
    rates = f"{100 * found / number:.0f}", precision, f"{100 * wrong / clean:.1f}"
    return [fault, str(number), *rates]


@app.command()
def measure(
    corpus: Path,
    model: Annotated[Path | None, typer.Option(help="The model, without which labels are not checked.")] = None,
    each: Annotated[int, typer.Option(help="Recordings with each fault.")] = 10,
    false_alarms: float = 0.05,
    seed: int = 0,
    out: Annotated[Path | None, typer.Option(help="Folder for the audit, to look at.")] = None,
) -> None:
    """Print the table."""
    folder = Path(tempfile.mkdtemp())
    try:
        faulty = inject_faults(corpus, folder / corpus.absolute().name, each, seed)
        table = pd.DataFrame(sorted(faulty.songs.items()), columns=["utterance", "song"])
        table.to_csv(faulty.root / "corpus.csv", index=False)
        loaded = None if model is None else load_model(model)
        scoring = None if loaded is None else load_model_scoring(loaded)
        settings = AuditSettings(false_alarms)
        report = audit_corpus(faulty.root, loaded, scoring, settings, show_progress)
        if out is not None:
            write_audit(report, out)
            (out / "faults.json").write_text(json.dumps(faulty.faults, indent=1))
    finally:
        shutil.rmtree(folder)
    rows = Table("fault", "number", "recall %", "precision %", "false alarms %")
    for fault in NAMED_AS:
        rows.add_row(*count_fault(report, faulty, fault))
    Console().print(rows)
    Console().print(f"{corpus}: {len(report.utterances)} recordings, {len(faulty.faults)} with a fault, seed {seed}.")
    for note in report.notes:
        Console().print(f"* {note}")
    if loaded is not None and scoring is not None:
        Console().print(split_each_singer(corpus, loaded, scoring, false_alarms, seed))


def split_each_singer(corpus: Path, model: Model, scoring: Scoring, false_alarms: float, seed: int) -> str:
    """Give each singer two names in turn, and count how often the two are named as one singer."""
    embedded = embed_recordings(corpus, read_audio_corpus(corpus), model, show_progress)
    own = np.array([utterance.singer for utterance in embedded.utterances])
    paths = [utterance.path for utterance in embedded.utterances]
    labels = read_utterance_labels(paths, corpus, report=False).get("song", np.array(paths, object))
    none = [np.zeros((0, embedded.embeddings.shape[1]), np.float32)] * len(paths)
    generator = np.random.default_rng(seed)
    hits = others = 0
    for singer in sorted(set(own)):
        rows = np.flatnonzero(own == singer)
        moved = choose_half({paths[row]: str(labels[row]) for row in rows}, generator)
        names = np.where(np.isin(paths, sorted(moved)), f"{singer} again", own)
        listed, index = np.unique(names, return_inverse=True)
        checks = check_labels(embedded.embeddings, none, index, number_songs(labels), scoring)
        pairs = find_same_singers(checks.scores, index, false_alarms)
        wanted = {singer, f"{singer} again"}
        is_hit = any({listed[pair.first], listed[pair.second]} == wanted for pair in pairs)
        hits, others = hits + is_hit, others + len(pairs) - is_hit
    number = len(set(own))
    num_pairs = number * (number * (number + 1) // 2 - 1)
    return f"Each singer in turn under two names: {hits} of {number} named, and {others} of {num_pairs} other pairs."


if __name__ == "__main__":
    app()
