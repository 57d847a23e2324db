"""Folds over singers: every singer of a corpus is judged once, by a model that has never heard them."""

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from singer_verify.corpora.corpus import CORPUS_SEPARATOR, Corpus, Split, Utterance
from singer_verify.corpora.labels import read_utterance_labels
from singer_verify.errors import SingerVerifyError, require_at_least

ALL_SPLIT, JUDGED_SPLIT = "all", "test"
FOLD_LABEL, GENDER_LABEL = "fold", "gender"
MIN_FOLDS, MIN_SINGERS_PER_FOLD = 3, 2  # one is judged, one decides when to stop, the others are learned from


def assign_folds(num_utterances: Mapping[str, int], groups: Mapping[str, str], num_folds: int) -> dict[str, int]:
    """Assign singers to folds, so that each fold has about as many singers and utterances of each group.

    Singers are taken group by group, those with the most utterances first, each into the fold with the fewest singers
    of the group, then of all, then utterances. The result depends on nothing but the arguments.

    Args:
        num_utterances: number of utterances by singer.
        groups: group of each singer, such as the gender.
        num_folds: number of folds.

    Returns:
        the fold of each singer, numbered from 0.
    """
    of_group: defaultdict[str, Counter[int]] = defaultdict(Counter)
    singers, utterances = Counter[int](), Counter[int]()
    folds: dict[str, int] = {}
    for singer in sorted(num_utterances, key=lambda name: (groups[name], -num_utterances[name], name)):
        counts = of_group[groups[singer]]
        fold = min(range(num_folds), key=lambda fold: (counts[fold], singers[fold], utterances[fold], fold))
        folds[singer] = fold
        counts[fold] += 1
        singers[fold] += 1
        utterances[fold] += num_utterances[singer]
    return folds


def divide_into_folds(corpus: Corpus, num_folds: int, fold: int) -> Corpus:
    """Divide the singers of all splits of a corpus into folds, whatever the splits were.

    One fold is judged (the split `test`), the next decides which step is best (`val`), and the others are learned from
    (`train`). Each of several combined corpora is divided on its own. A label `fold` in `corpus.csv` is taken as it is;
    else folds are balanced by the label `gender`, if there is one, and by the number of utterances.

    Args:
        corpus: a corpus, or several combined.
        num_folds: number of folds.
        fold: number of the judged fold, from 0.

    Raises:
        SingerVerifyError: too few singers, or labels that make no folds.
    """
    require_at_least(MIN_FOLDS, **{"data.folds": num_folds})
    if not (isinstance(fold, int) and 0 <= fold < num_folds):
        raise SingerVerifyError(f"data.fold={fold}: expected a number from 0 to {num_folds - 1}, one of the folds.")
    utterances = sorted(
        (utterance for split in corpus.splits.values() for utterance in split.utterances),
        key=lambda utterance: (utterance.singer, utterance.path),
    )
    paths = [utterance.path for utterance in utterances]
    labels = read_utterance_labels(paths, corpus.root, corpus.part_roots, report=False)
    of_singer: defaultdict[str, list[int]] = defaultdict(list)
    for number, utterance in enumerate(utterances):
        of_singer[utterance.singer].append(number)
    corpora: dict[str, list[str]] = {_get_corpus_name(corpus, root): [] for root in corpus.part_roots or [corpus.root]}
    for singer in of_singer:
        corpora[singer.rpartition(CORPUS_SEPARATOR)[0]].append(singer)
    folds: dict[str, int] = {}
    for name, singers in corpora.items():
        rows = {singer: of_singer[singer] for singer in singers}
        folds |= _divide_singers(rows, labels, num_folds, f"{corpus.root}{f', {name}' if name else ''}")
    inner = (fold + 1) % num_folds
    names = dict.fromkeys(range(num_folds), "train") | {fold: JUDGED_SPLIT, inner: "val"}
    parts: dict[str, list[Utterance]] = {"train": [], "val": [], JUDGED_SPLIT: []}
    for utterance in utterances:
        parts[names[folds[utterance.singer]]].append(utterance)
    num_ignored = sum(split.num_ignored for split in corpus.splits.values())
    return replace(
        corpus,
        splits={name: Split(name, tuple(part), 0) for name, part in parts.items()},
        whole=replace(corpus, splits={ALL_SPLIT: Split(ALL_SPLIT, tuple(utterances), num_ignored)}),
    )


def _get_corpus_name(corpus: Corpus, root: Path) -> str:
    return root.name if corpus.part_roots else ""


def _divide_singers(
    rows: Mapping[str, list[int]], labels: Mapping[str, np.ndarray], num_folds: int, where: str
) -> dict[str, int]:
    """Divide the singers of one corpus.

    Args:
        rows: numbers of the utterances of each singer.
        labels: values of all utterances by label.
        num_folds: number of folds.
        where: the corpus, for messages.
    """
    if len(rows) < num_folds * MIN_SINGERS_PER_FOLD:
        raise SingerVerifyError(
            f"{where}: has {len(rows)} singers in the folders train, val and test; data.folds={num_folds} needs at "
            f"least {num_folds * MIN_SINGERS_PER_FOLD}, {MIN_SINGERS_PER_FOLD} in each fold: give fewer folds."
        )
    values = {
        label: {singer: {str(labels[label][number]) for number in numbers} for singer, numbers in rows.items()}
        for label in (FOLD_LABEL, GENDER_LABEL)
        if label in labels
    }
    given = values.get(FOLD_LABEL, {})
    if any(value != {""} for value in given.values()):
        return _read_folds(given, num_folds, where)
    genders = {singer: "".join(sorted(values.get(GENDER_LABEL, {}).get(singer, ()))) for singer in rows}
    return assign_folds({singer: len(numbers) for singer, numbers in rows.items()}, genders, num_folds)


def _read_folds(given: Mapping[str, set[str]], num_folds: int, where: str) -> dict[str, int]:
    """Number the folds that a table of labels names, in the order of their names."""
    if torn := [singer for singer, values in given.items() if len(values) > 1 or "" in values]:
        raise SingerVerifyError(
            f"{where}: corpus.csv gives {torn[0]} the folds {', '.join(map(repr, sorted(given[torn[0]])))}; expected "
            f"one fold for all utterances of each singer."
        )
    names = sorted({value for values in given.values() for value in values}, key=lambda name: (len(name), name))
    counts = Counter(next(iter(values)) for values in given.values())
    if len(names) != num_folds or min(counts.values()) < MIN_SINGERS_PER_FOLD:
        found = ", ".join(f"{name} with {counts[name]} singers" for name in names)
        raise SingerVerifyError(
            f"{where}: corpus.csv has the folds {found}; data.folds={num_folds} expects {num_folds} of at least "
            f"{MIN_SINGERS_PER_FOLD} singers each."
        )
    return {singer: names.index(next(iter(values))) for singer, values in given.items()}
