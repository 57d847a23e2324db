"""A corpus on disk, `<root>/<split>/<singer>/**/<utterance>`, and several corpora combined into one.

The folder under the split is the singer, whatever the file names say. Singers of combined corpora are named
`corpus/singer`.
"""

import logging
import os
import re
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import numpy as np
from jaxtyping import Int

from singer_verify.audio import AUDIO_SUFFIXES
from singer_verify.corpora.file_search import (
    FoundFiles,
    find_files,
    is_folder,
    is_passed_over,
    list_folder,
    log_other_files,
    require_link_target,
    warn_passed_over,
)
from singer_verify.corpora.names import find_typed_path, normalise_name, require_table_name
from singer_verify.errors import SingerVerifyError, format_names

log = logging.getLogger(__name__)
FEMALE, MALE = "female", "male"
SINGING, SPEECH = "singing", "speech"
SPLITS = ("train", "val", "test")
PRECOMPUTED_SUFFIX = ".npy"
CORPUS_SEPARATOR = "/"  # cannot occur in a folder's name
VOCALSET_CODE_PATTERN = re.compile(r"([fm])(\d+)(?![^\W_])")  # f4_scales_straight, m10_row_vibrato
VOCALSET_SINGER_PATTERN = re.compile(r"(?:fe)?male\d+")
WORD_END_PATTERN = re.compile(r"(?<=[^\W_])(?![^\W_])")


@dataclass(frozen=True)
class VoiceChannel:
    """Location of the voice in a recording that also contains an accompaniment.

    Attributes:
        channel: index of the voice channel, from 0.
        accompaniment_channel: index of the channel with everything else.
        snr_db: power ratio of voice to accompaniment to mix them at; None takes the voice alone.
    """

    channel: int
    accompaniment_channel: int
    snr_db: float | None = None


@dataclass(frozen=True)
class Recording:
    """One utterance of a data set.

    Attributes:
        source: the file.
        singer: name of the singer.
        name: path below the singer's folder in the prepared corpus.
        labels: further annotations by label: gender, song, technique, vowel, exercise, emotion, ...
        split: train, val or test, if the data set defines splits.
        voice_channel: location of the voice; None if the file contains only the voice.
    """

    source: Path
    singer: str
    name: str
    labels: dict[str, str] = field(default_factory=dict)
    split: str = ""
    voice_channel: VoiceChannel | None = None


@dataclass(frozen=True)
class Utterance:
    """One recording: its path relative to the corpus root, as on disk, and its singer, in NFC."""

    path: str
    singer: str


@dataclass(frozen=True)
class Split:
    """The utterances of one split, sorted by singer and path, and the number of files that were ignored."""

    name: str
    utterances: tuple[Utterance, ...]
    num_ignored: int

    @property
    def singers(self) -> tuple[str, ...]:
        """Sorted names; a singer's index is the position in this tuple, on every machine."""
        return tuple(sorted({utterance.singer for utterance in self.utterances}))

    def format_summary(self) -> str:
        """Return the numbers of singers and utterances, and of singers with a single one."""
        counts = Counter(utterance.singer for utterance in self.utterances)
        single = sorted(singer for singer, count in counts.items() if count == 1)
        named = f" ({format_names(single)} with a single one)" if single else ""
        return f"{self.name} {len(counts)} singers, {len(self.utterances)} utterances{named}"


@dataclass(frozen=True)
class Corpus:
    """A data set in the layout above, either all audio or all precomputed features (`.npy`).

    Attributes:
        root: folder that the utterances' paths are relative to.
        splits: splits by name.
        part_roots: roots of the corpora that were combined; empty for a single corpus.
        whole: where splits are parts, the corpus whose frames are computed and stored: with all its utterances in one
            split, for folds, or with the complete training split, for a subset of its singers.
    """

    root: Path
    splits: dict[str, Split]
    part_roots: tuple[Path, ...] = ()
    whole: "Corpus | None" = None

    @property
    def has_precomputed_features(self) -> bool:
        first = next(iter(self.splits.values()), None)
        return first is not None and any(utterance.path.endswith(PRECOMPUTED_SUFFIX) for utterance in first.utterances)

    def format_summary(self) -> str:
        """Return the numbers of singers and utterances per split and of ignored files, in one line.

        Singers with a single recording are counted: they have no pair of recordings, which trials of one singer are.
        """
        split_summaries = [split.format_summary() for split in self.splits.values()]
        ignored = sum(split.num_ignored for split in self.splits.values())
        return f"{self.root}: {'; '.join(split_summaries)}; {ignored} other files ignored."


def read_corpus(root: Path, splits: tuple[str, ...] = SPLITS, required: tuple[str, ...] = ("train", "val")) -> Corpus:
    """List the utterances of a corpus.

    Args:
        root: folder that contains the splits.
        splits: names of the splits to read if they exist.
        required: splits that must exist.

    Raises:
        SingerVerifyError: the folder or a required split is missing, a split or singer has no utterances, a singer is
            in two splits, audio is mixed with precomputed features, a name contains a line break or a tab, or a link
            leads nowhere or to a file of another singer or split.
    """
    root = find_typed_path(root)
    if not root.is_dir():
        expected = ",".join(required or splits)
        expected = f"{{{expected}}}" if "," in expected else expected
        raise SingerVerifyError(f"{root}: no such folder; expected <root>/{expected}/<singer>/<utterance>.")
    if invalid := [name for name in splits if Path(name).name != name or name == ".."]:
        raise SingerVerifyError(
            f"{invalid[0]}: is no split; expected the name of a folder in {root}, for instance val."
        )
    present = [name for name in splits if (root / name).is_dir()]
    if missing := [name for name in required if name not in present]:
        subfolders = format_names(sorted(entry.name for entry in root.iterdir() if entry.is_dir())) or "none"
        raise SingerVerifyError(
            f"{root}: has no folder {' and no folder '.join(missing)} (subfolders: {subfolders}); "
            f"expected <root>/{{{','.join(required)}}}/<singer>/<utterance>. Folders named by singers become a corpus "
            f"with singer-verify prepare folder {root} --out CORPUS --val 0.2."
        )
    listed: dict[str, Utterance] = {}
    corpus = Corpus(root, {name: _read_split(root, name, listed) for name in present})
    _check_disjoint_singers(corpus)
    _check_single_file_type(corpus)
    return corpus


def _read_split(root: Path, name: str, listed: dict[str, Utterance]) -> Split:
    """List a split, and add its utterances to `listed`, which holds those of other splits by where their files lie."""
    utterances: list[Utterance] = []
    num_ignored = 0
    passed_over, others = FoundFiles(), list[Path]()
    for entry in list_folder(root / name):
        if is_passed_over(entry.name) or not is_folder(entry):
            num_ignored += 1
            (passed_over.hidden_folders if is_folder(entry) else others).append(Path(entry.path))
            if entry.is_symlink() and not entry.name.startswith("."):
                require_link_target(Path(entry.path))
            continue
        found = find_files(Path(entry.path))
        passed_over.hidden_folders += found.hidden_folders
        passed_over.linked_folders += found.linked_folders
        usable, repeated = _list_singer(root, normalise_name(entry.name), found, listed)
        passed_over.files += repeated
        others += [path for path in found.files if not _is_utterance(path.name)]
        num_ignored += len(found.files) - len(usable) - len(repeated)
        if not usable:
            raise SingerVerifyError(
                f"{entry.path}: singer {entry.name} has no utterances ({len(found.files)} other files); "
                f"expected {' '.join(sorted(AUDIO_SUFFIXES | {PRECOMPUTED_SUFFIX}))}; add some or delete the folder."
            )
        utterances += usable
    if not utterances:
        raise SingerVerifyError(f"{root / name}: contains no singer folders; expected {name}/<singer>/<utterance>.")
    for utterance in utterances:
        require_table_name(utterance.path, root)
    _report_merged_singers(root / name, utterances)
    warn_passed_over(root / name, "hidden or system folders", passed_over.hidden_folders)
    warn_passed_over(root / name, "links to folders that are read anyway", passed_over.linked_folders)
    warn_passed_over(root / name, "links to files that are listed anyway", passed_over.files)
    log_other_files(root / name, others)
    utterances.sort(key=lambda utterance: utterance.singer)  # stable: only merged folders move
    return Split(name, tuple(utterances), num_ignored)


def _report_merged_singers(folder: Path, utterances: list[Utterance]) -> None:
    folders = {(utterance.singer, PurePosixPath(utterance.path).parts[1]) for utterance in utterances}
    for singer, count in Counter(singer for singer, _ in folders).items():
        if count > 1:
            log.warning(
                "%s: %d folders are named %s, in two spellings of its accented letters; taken as one singer.",
                *(folder, count, singer),
            )


def _list_singer(
    root: Path, singer: str, found: FoundFiles, listed: dict[str, Utterance]
) -> tuple[list[Utterance], list[Path]]:
    """List the utterances of a singer, and the links to files that are listed already.

    Raises:
        SingerVerifyError: a link leads nowhere, or to a file of another singer or split.
    """
    real_root = os.path.realpath(root)
    for path in found.linked_files:
        if _is_utterance(path.name) or not path.suffix:  # without a suffix: a folder, perhaps
            require_link_target(path)
    utterances, repeated = list[Utterance](), list[Path]()
    candidates = [
        (real_path != os.path.join(real_root, relative_path), relative_path, real_path)
        for path, real_path in zip(found.files, found.real_paths, strict=True)
        if _is_utterance(path.name)
        for relative_path in [str(path).removeprefix(os.path.join(root, ""))]
    ]
    for _, relative_path, real_path in sorted(candidates):  # links last: a file is listed under its own name
        utterance = Utterance(relative_path.replace(os.sep, "/"), singer)
        first = listed.setdefault(real_path, utterance)
        if first is utterance:
            utterances.append(utterance)
        elif first.singer == singer and first.path.partition("/")[0] == utterance.path.partition("/")[0]:
            repeated.append(root / relative_path)
        else:
            raise SingerVerifyError(
                f"{root / first.path} and {root / relative_path}: links make one file two recordings, of "
                f"{first.singer} and of {singer}; a recording belongs to one singer in one split, so delete the link "
                f"that is wrong."
            )
    return sorted(utterances, key=_get_sort_key), repeated


def _get_sort_key(utterance: Utterance) -> tuple[tuple[str, ...], str]:
    """Sort by names without suffix, so that `song.flac` comes before its copy `song (1).flac`, and is the one kept."""
    *folders, name = utterance.path.split("/")
    stem, suffix = os.path.splitext(name)
    return (*folders, stem), suffix


def _is_utterance(name: str) -> bool:
    return not name.startswith(".") and Path(name).suffix.lower() in AUDIO_SUFFIXES | {PRECOMPUTED_SUFFIX}


def _check_disjoint_singers(corpus: Corpus) -> None:
    appearances = Counter(singer for split in corpus.splits.values() for singer in split.singers)
    if shared := sorted(singer for singer, count in appearances.items() if count > 1):
        raise SingerVerifyError(
            f"{corpus.root}: {', '.join(shared)} in more than one split; a model must be evaluated on unseen singers, "
            f"so move each singer's folder into one split."
        )


def _check_single_file_type(corpus: Corpus) -> None:
    kinds = Counter(
        Path(utterance.path).suffix.lower() == PRECOMPUTED_SUFFIX
        for split in corpus.splits.values()
        for utterance in split.utterances
    )
    if len(kinds) > 1:
        raise SingerVerifyError(
            f"{corpus.root}: contains {kinds[False]} audio files and {kinds[True]} .npy files; expected only one "
            f"kind; move the others out of the corpus."
        )


def read_corpora(roots: list[Path], required: tuple[str, ...] = ("train", "val")) -> Corpus:
    """Read several corpora as one, whose root is their closest common folder.

    Args:
        roots: folders of the corpora.
        required: splits that each of them must have.

    Raises:
        SingerVerifyError: no root is given, two folders have the same name, one of several corpora contains precomputed
            features, or a corpus cannot be read.
    """
    if not roots:
        raise SingerVerifyError("data.root=[]: expected the folder of a corpus, or a list of them.")
    if len(roots) == 1:
        return read_corpus(roots[0], required=required)
    absolute_roots = [Path(os.path.abspath(find_typed_path(root))) for root in roots]
    if repeated := [name for name, count in Counter(root.name for root in absolute_roots).items() if count > 1]:
        raise SingerVerifyError(
            f"data.root: two corpora are in folders named {repeated[0]}; singers are named after the folder, so rename "
            f"one of them."
        )
    corpora = {
        root.name: read_corpus(root, required=required)
        for root in sorted(absolute_roots, key=lambda root: root.name + CORPUS_SEPARATOR)
    }
    if precomputed := [name for name, corpus in corpora.items() if corpus.has_precomputed_features]:
        raise SingerVerifyError(
            f"data.root: {precomputed[0]} contains precomputed features; only audio corpora can be combined."
        )
    root = Path(os.path.commonpath([root.parent for root in absolute_roots]))
    names = list(dict.fromkeys(name for corpus in corpora.values() for name in corpus.splits))
    return Corpus(root, {name: _join_splits(name, root, corpora) for name in names}, tuple(absolute_roots))


def compute_corpus_indices(singers: tuple[str, ...]) -> Int[np.ndarray, " singers"]:
    """Return the corpus of each singer, numbered from 0; all 0 for a single corpus."""
    names = [singer.rpartition(CORPUS_SEPARATOR)[0] for singer in singers]
    return np.unique(names, return_inverse=True)[1].astype(np.int64)


def _join_splits(name: str, root: Path, corpora: dict[str, Corpus]) -> Split:
    corpora_with_split = {corpus_name: corpus for corpus_name, corpus in corpora.items() if name in corpus.splits}
    utterances = tuple(
        Utterance((corpus.root / utterance.path).relative_to(root).as_posix(), f"{corpus_name}/{utterance.singer}")
        for corpus_name, corpus in corpora_with_split.items()
        for utterance in corpus.splits[name].utterances
    )
    return Split(name, utterances, sum(corpus.splits[name].num_ignored for corpus in corpora_with_split.values()))


def parse_vocalset_singer(stem: str) -> str | None:
    """Return the singer encoded in a VocalSet file name, for example `male9` for `m9_caro_vibrato`, or None."""
    code = VOCALSET_CODE_PATTERN.match(stem)
    return f"{'fe' * (code[1] == 'f')}male{code[2]}" if code else None


def find_contradicting_singer(path: str, singer: str, singers: Collection[str]) -> str | None:
    """Return the singer that a file name mentions if it is not the singer of its folder, otherwise None.

    A name mentions a singer if it starts with the singer's name, or, in folders such as `male8` or `female1`, with a
    VocalSet code such as `m9`.

    Args:
        path: path of the file, with forward slashes.
        singer: name of its folder.
        singers: names of all singers (a set is fastest); those without a letter are ignored because take numbers look
            like them.
    """
    stem = normalise_name(PurePosixPath(path).stem)
    if VOCALSET_SINGER_PATTERN.fullmatch(singer) and (named_singer := parse_vocalset_singer(stem)):
        return named_singer if named_singer != singer else None
    prefixes = [stem[: end.start()] for end in WORD_END_PATTERN.finditer(stem)]
    named_singers = [name for name in prefixes if name in singers and any(map(str.isalpha, name))]
    return named_singers[-1] if named_singers and singer not in named_singers else None
