"""Nested subsets of what a training learns from, fewer singers or fewer minutes of each, for learning curves.

Singers, and the utterances of each singer, are put into an order that a hash of the seed and the name decides; a subset
is the beginning of it. So a smaller subset is part of a larger one, another seed draws others, and files that are added
to a corpus leave the order of the rest as it is.
"""

import hashlib
import logging
import os
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from itertools import chain

import numpy as np
from jaxtyping import Float

from singer_verify.corpora.corpus import CORPUS_SEPARATOR, Corpus, Split
from singer_verify.corpora.folds import GENDER_LABEL
from singer_verify.corpora.labels import read_utterance_labels
from singer_verify.corpora.names import normalise_name
from singer_verify.errors import SingerVerifyError, format_names, require_at_least

log = logging.getLogger(__name__)
MIN_SINGERS = 2  # that a training can tell apart, in each corpus
MAX_NAMED = 8  # singers that the log names
ROUNDING = 1e-9  # share of a limit that sums of minutes may be above it by rounding


def limit_singers(corpus: Corpus, max_singers: int | None, seed: int) -> Corpus:
    """Leave only so many singers in the training split; frames are still computed for all, once for all subsets.

    Women and men, where the label `gender` tells them, and corpora, where several are combined, take turns until they
    have no more singers. A corpus comes in with two singers, since a batch has singers of one corpus: where only one of
    them would fit, neither is taken.

    Args:
        corpus: a corpus, its folds, or several corpora combined.
        max_singers: number of singers in all; None keeps them all, and so does a number that is larger than theirs.
        seed: seed of the order.

    Raises:
        SingerVerifyError: fewer than two singers are asked for, or the table of labels cannot be read.
    """
    if max_singers is None:
        return corpus
    require_at_least(MIN_SINGERS, **{"data.max_singers": max_singers})
    training = corpus.splits["train"]
    kept = set(choose_singers(_read_genders(corpus, training), max_singers, seed))
    if kept == set(training.singers):
        log.info("data.max_singers=%d: there are %d training singers; all are used.", max_singers, len(kept))
        return corpus
    why = "" if len(kept) == max_singers else ", because the first singers of each corpus come two at a time"
    log.info(
        "data.max_singers=%d: learning from %d of %d training singers%s: %s.",
        *(max_singers, len(kept), len(training.singers), why, format_names(sorted(kept), MAX_NAMED)),
    )
    utterances = tuple(utterance for utterance in training.utterances if utterance.singer in kept)
    limited = Split(training.name, utterances, training.num_ignored)
    return replace(corpus, splits=corpus.splits | {training.name: limited}, whole=corpus.whole or corpus)


def _read_genders(corpus: Corpus, split: Split) -> dict[str, str]:
    """Read the gender of each singer of a split, `""` where unknown."""
    paths = [utterance.path for utterance in split.utterances]
    labels = read_utterance_labels(paths, corpus.root, corpus.part_roots, report=False)
    values: defaultdict[str, set[str]] = defaultdict(set)
    for utterance, gender in zip(split.utterances, labels.get(GENDER_LABEL, [""] * len(paths)), strict=True):
        values[utterance.singer].add(str(gender))
    return {singer: "".join(sorted(genders)) for singer, genders in values.items()}


def choose_singers(genders: Mapping[str, str], max_singers: int, seed: int) -> list[str]:
    """Choose singers, in the order in which they come in as the number grows.

    Args:
        genders: gender of each singer; singers of combined corpora are named `corpus/singer`.
        max_singers: largest number of singers.
        seed: seed of the order.
    """
    by_corpus: defaultdict[str, defaultdict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for singer in sorted(genders, key=lambda singer: _compute_hash(seed, singer)):
        by_corpus[singer.rpartition(CORPUS_SEPARATOR)[0]][genders[singer]].append(singer)
    orders = {name: _take_turns(by_gender, (seed, name)) for name, by_gender in by_corpus.items()}
    corpora = sorted(orders, key=lambda name: _compute_hash(seed, name))
    first = [orders[name][:MIN_SINGERS] for name in corpora]
    later = _take_turns({name: orders[name][MIN_SINGERS:] for name in corpora}, (seed,))
    chosen: list[str] = []
    for singers in [*first, *([singer] for singer in later)]:
        if len(chosen) + len(singers) > max_singers:
            break
        chosen += singers
    return chosen


def _take_turns(groups: Mapping[str, Sequence[str]], key: tuple[object, ...]) -> list[str]:
    """Merge the singers of groups, one of each group in turn, without those that have no more."""
    names = sorted(groups, key=lambda name: _compute_hash(*key, name))
    turns = range(max(map(len, groups.values()), default=0))
    return list(chain.from_iterable(groups[name][turn : turn + 1] for turn in turns for name in names))


def choose_utterances(
    corpus: Corpus,
    singers: Sequence[str],
    paths: Sequence[str],
    minutes: Float[np.ndarray, " utterances"],
    max_minutes: float,
    seed: int,
) -> Collection[str]:
    """Choose utterances of each singer until the next one would be longer than what is left of a number of minutes.

    Utterances are taken whole. The first one of each singer is taken however long it is.

    Args:
        corpus: the corpus.
        singers: (utterances,), singer of each utterance.
        paths: (utterances,), paths relative to the corpus root.
        minutes: duration of each.
        max_minutes: largest number of minutes of each singer.
        seed: seed of the order.

    Returns:
        the paths of the chosen utterances.

    Raises:
        SingerVerifyError: the number of minutes is not positive.
    """
    require_positive_minutes(max_minutes)
    rows: defaultdict[str, list[int]] = defaultdict(list)
    for row, singer in enumerate(singers):
        rows[singer].append(row)
    chosen: set[str] = set()
    folders = [f"{os.path.relpath(root, corpus.root)}/" for root in corpus.part_roots]
    for singer, own in rows.items():
        keys = {row: _compute_hash(seed, singer, _get_path_below_singer(paths[row], folders)) for row in own}
        order = sorted(own, key=keys.__getitem__)
        fits = np.cumsum(minutes[order]) <= max_minutes * (1 + ROUNDING)
        chosen.update(paths[row] for row in order[: max(int(fits.sum()), 1)])
    return chosen


def require_positive_minutes(max_minutes: float | None) -> None:
    """Refuse a number of minutes that is not positive.

    Raises:
        SingerVerifyError: naming the setting and its value.
    """
    if max_minutes is not None and not max_minutes > 0:  # nan neither
        raise SingerVerifyError(
            f"data.max_minutes={max_minutes}: expected a positive number of minutes of each singer, or null for all."
        )


def _get_path_below_singer(path: str, folders: Sequence[str]) -> str:
    """Return the part of a path that neither the split nor the place of a corpus among others changes."""
    folder = next((folder for folder in folders if path.startswith(folder)), "")
    return path.removeprefix(folder).split("/", 2)[2]


def _compute_hash(*parts: object) -> str:
    text = "\0".join(normalise_name(str(part)) for part in parts)
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
