"""A corpus on disk: `<root>/<split>/<singer>/**/<utterance>`."""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Int

from singer_verify.audio import AUDIO_SUFFIXES
from singer_verify.errors import SingerVerifyError

SPLITS = ("train", "val", "test")
PRECOMPUTED_SUFFIX = ".npy"


@dataclass(frozen=True)
class Utterance:
    """One recording: its path relative to the corpus root, and the singer it belongs to."""

    path: str
    singer: str


@dataclass(frozen=True)
class Split:
    """The utterances of one split, ordered by singer and path, and the number of files that were ignored."""

    name: str
    utterances: tuple[Utterance, ...]
    num_ignored: int

    @property
    def singers(self) -> tuple[str, ...]:
        """Sorted: a singer's number is its place here, on every machine."""
        return tuple(sorted({utterance.singer for utterance in self.utterances}))


@dataclass(frozen=True)
class Corpus:
    """A data set in the layout above. Either all its utterances are audio, or all are ready features (`.npy`).

    Attributes:
        root: where the utterances' paths begin.
        splits: by name.
        parts: roots of the data sets that were joined to this one; none, where it is one data set.
    """

    root: Path
    splits: dict[str, Split]
    parts: tuple[Path, ...] = ()

    @property
    def has_precomputed_features(self) -> bool:
        return any(
            utterance.path.endswith(PRECOMPUTED_SUFFIX) for utterance in next(iter(self.splits.values())).utterances
        )

    def format_summary(self) -> str:
        """One line: singers and utterances per split, and how many files were ignored."""
        parts = [
            f"{name} {len(split.singers)} singers, {len(split.utterances)} utterances"
            for name, split in self.splits.items()
        ]
        ignored = sum(split.num_ignored for split in self.splits.values())
        return f"{self.root}: {'; '.join(parts)}; {ignored} other files ignored."


def read_corpus(root: Path, splits: tuple[str, ...] = SPLITS, required: tuple[str, ...] = ("train", "val")) -> Corpus:
    """List the utterances of a corpus. The folder under the split is the singer, whatever the file names say.

    Args:
        root: folder that holds the splits.
        splits: read where they exist.
        required: splits that must exist.

    Raises:
        SingerVerifyError: no such folder, a missing or empty split, a singer without utterances, a singer in two
            splits, or audio mixed with ready features.
    """
    if not root.is_dir():
        raise SingerVerifyError(
            f"data.root={root}: no such folder; expected <root>/{{train,val}}/<singer>/<utterance>."
        )
    if strays := [name for name in splits if Path(name).name != name or name == ".."]:
        raise SingerVerifyError(f"split {strays[0]}: expected the name of a folder in {root}, for instance val.")
    found = [name for name in splits if (root / name).is_dir()]
    if missing := [name for name in required if name not in found]:
        subfolders = ", ".join(sorted(entry.name for entry in root.iterdir() if entry.is_dir())) or "none"
        raise SingerVerifyError(
            f"{root}: has no folder {' and no folder '.join(missing)} (subfolders found: {subfolders}); "
            f"expected <root>/{{{','.join(required)}}}/<singer>/<utterance>."
        )
    corpus = Corpus(root, {name: _read_split(root, name) for name in found})
    _check_disjoint_singers(corpus)
    _check_single_file_type(corpus)
    return corpus


def _read_split(root: Path, name: str) -> Split:
    utterances: list[Utterance] = []
    num_ignored = 0
    for entry in sorted(os.scandir(root / name), key=lambda entry: entry.name):
        if entry.name.startswith(".") or not entry.is_dir():
            num_ignored += 1
            continue
        paths = sorted(_find_files(Path(entry.path)))
        kept = [path for path in paths if _is_utterance(path)]
        num_ignored += len(paths) - len(kept)
        if not kept:
            raise SingerVerifyError(
                f"{entry.path}: singer {entry.name} has no utterance ({len(paths)} files of other kinds); "
                f"expected {' '.join(sorted(AUDIO_SUFFIXES | {PRECOMPUTED_SUFFIX}))}; add some or delete the folder."
            )
        utterances += [Utterance(path.relative_to(root).as_posix(), entry.name) for path in kept]
    if not utterances:
        raise SingerVerifyError(f"{root / name}: holds no singer folder; expected {name}/<singer>/<utterance>.")
    return Split(name, tuple(utterances), num_ignored)


def _find_files(folder: Path) -> Iterator[Path]:
    for directory, _, file_names in os.walk(folder, followlinks=True):
        yield from (Path(directory, file_name) for file_name in file_names)


def _is_utterance(path: Path) -> bool:
    return not path.name.startswith(".") and path.suffix.lower() in AUDIO_SUFFIXES | {PRECOMPUTED_SUFFIX}


def _check_disjoint_singers(corpus: Corpus) -> None:
    appearances = Counter(singer for split in corpus.splits.values() for singer in split.singers)
    if shared := sorted(singer for singer, count in appearances.items() if count > 1):
        raise SingerVerifyError(
            f"{corpus.root}: {', '.join(shared)} found in more than one split; a model must be judged on singers it "
            f"has not heard, so move each singer's folder into one split."
        )


def _check_single_file_type(corpus: Corpus) -> None:
    kinds = Counter(
        Path(utterance.path).suffix.lower() == PRECOMPUTED_SUFFIX
        for split in corpus.splits.values()
        for utterance in split.utterances
    )
    if len(kinds) > 1:
        raise SingerVerifyError(
            f"{corpus.root}: holds {kinds[False]} audio files and {kinds[True]} .npy files; expected one kind, "
            f"so move the others out of the corpus."
        )


CORPUS_SEPARATOR = "/"  # in no folder's name


def read_corpora(roots: list[Path]) -> Corpus:
    """One corpus of all; its root is the folder that holds them all, and its utterances' paths begin there.

    Raises:
        SingerVerifyError: none given, two of one folder name, several of which one holds ready features, or one that
            cannot be read.
    """
    if not roots:
        raise SingerVerifyError("data.root=[]: expected the folder of a corpus, or a list of them.")
    if len(roots) == 1:
        return read_corpus(roots[0])
    places = [Path(os.path.abspath(root)) for root in roots]
    if twice := [name for name, count in Counter(place.name for place in places).items() if count > 1]:
        raise SingerVerifyError(
            f"data.root: two corpora are in folders named {twice[0]}; their singers are named after the folder, so "
            f"give each its own name."
        )
    corpora = {
        place.name: read_corpus(place) for place in sorted(places, key=lambda place: place.name + CORPUS_SEPARATOR)
    }
    if ready := [name for name, corpus in corpora.items() if corpus.has_precomputed_features]:
        raise SingerVerifyError(f"data.root: {ready[0]} holds ready features; only corpora of audio train together.")
    root = Path(os.path.commonpath([place.parent for place in places]))
    names = list(dict.fromkeys(name for corpus in corpora.values() for name in corpus.splits))
    return Corpus(root, {name: _join_splits(name, root, corpora) for name in names}, tuple(places))


def compute_corpus_indices(singers: tuple[str, ...]) -> Int[np.ndarray, " singers"]:
    """The corpus of each singer, numbered from 0; all 0 where there is one corpus."""
    names = [singer.rpartition(CORPUS_SEPARATOR)[0] for singer in singers]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _join_splits(name: str, root: Path, corpora: dict[str, Corpus]) -> Split:
    parts = {corpus_name: corpus for corpus_name, corpus in corpora.items() if name in corpus.splits}
    utterances = tuple(
        Utterance((corpus.root / utterance.path).relative_to(root).as_posix(), f"{corpus_name}/{utterance.singer}")
        for corpus_name, corpus in parts.items()
        for utterance in corpus.splits[name].utterances
    )
    return Split(name, utterances, sum(corpus.splits[name].num_ignored for corpus in parts.values()))
