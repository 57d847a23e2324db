"""The steps of `evaluate`, each with progress and with a word on what is left out."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.progress import track

from singer_verify.corpora.folder import read_corpus
from singer_verify.corpora.labels import labels_of
from singer_verify.entry import LOGGER
from singer_verify.evaluation.condition_choice import ConditionChoice, chosen_conditions
from singer_verify.evaluation.conditions import Descriptions
from singer_verify.evaluation.judgement import JudgedUtterances, Judgement
from singer_verify.evaluation.judging import Evaluation, judge
from singer_verify.evaluation.trial_checks import diagnose, usable
from singer_verify.evaluation.trial_findings import sentences
from singer_verify.evaluation.trial_list import TrialList
from singer_verify.evaluation.trial_paths import indices_in
from singer_verify.evaluation.trials import Trials
from singer_verify.recognition.descriptions import lengths, pitches
from singer_verify.workers import num_cores


def chosen_of_split(wanted: str | None, corpus: Path, split: str) -> ConditionChoice:
    """The conditions that a user wants, of those that the labels of a split allow.

    Raises:
        SingerVerifyError: see `chosen_conditions` and `read_corpus`.
    """
    read = read_corpus(corpus, splits=(split,), required=(split,))
    paths = [utterance.path for utterance in read.splits[split].utterances]
    return chosen_conditions(wanted, labels_of(paths, corpus), is_measurable=not read.is_ready)


def trials_of(listed: TrialList, path: Path, corpus: Path, utterances: JudgedUtterances) -> Trials:
    """The trials of a list that can be judged; its faults are named and counted."""
    singers = [utterances.singers[number] for number in utterances.singer_index]
    diagnosis = diagnose(listed, corpus, dict(zip(utterances.paths.tolist(), singers, strict=True)))
    for sentence in sentences(diagnosis):
        LOGGER.warning("%s: %s", path, sentence)
    return indices_in(usable(listed, diagnosis), utterances.paths)


def described(utterances: JudgedUtterances, corpus: Path, choice: ConditionChoice) -> Descriptions:
    """What the conditions need to know, and no more: pitch takes as long to measure as embedding does."""
    paths = [corpus / str(path) for path in utterances.paths]
    console = Console(stderr=True)
    labels = {label: values for label, values in utterances.labels.items() if label in choice.labels}
    seconds = median_f0_hz = None
    if choice.needs_length:
        seconds = np.array(list(lengths(paths)))
    if choice.needs_pitch:
        shown = track(pitches(paths, num_cores()), "Measuring pitch", total=len(paths), console=console)
        median_f0_hz = np.array(list(shown))
    return Descriptions(labels, seconds, median_f0_hz)


def judged(utterances: JudgedUtterances, descriptions: Descriptions, evaluation: Evaluation) -> Judgement:
    """See `judge`."""
    return judge(utterances.embeddings, utterances.singer_index, descriptions, evaluation, _progress)


def _progress(singers: Iterable[int], doing: str) -> Iterable[int]:
    return track(list(singers), doing, console=Console(stderr=True), transient=True)
