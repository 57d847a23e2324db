"""Evaluation of a model on a split: embed its utterances, measure what conditions need, score the trials."""

import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch.utils.data import DataLoader, Dataset

from singer_verify.audio import load_audio
from singer_verify.audio.decoding import probe_audio
from singer_verify.corpora.corpus import Utterance, read_corpus
from singer_verify.corpora.duplicates import RecordingRegister
from singer_verify.corpora.labels import read_domains, read_utterance_labels
from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.evaluation.conditions import ConditionSelection, UtteranceMetadata, select_conditions
from singer_verify.evaluation.evaluate import COMPARING_STAGE, COUNTING_STAGE, EvaluationSettings
from singer_verify.evaluation.evaluate import evaluate as evaluate_embeddings
from singer_verify.evaluation.results import EvaluatedUtterances, EvaluationResult
from singer_verify.evaluation.scoring.scoring import Scoring
from singer_verify.evaluation.trials.formats import read_trials
from singer_verify.evaluation.trials.singer_sides import index_singer_trials
from singer_verify.evaluation.trials.trial_list import TrialList, Trials, index_trials
from singer_verify.evaluation.trials.validation import (
    TrialListValidation,
    count_faults,
    select_valid_trials,
    validate_trials,
)
from singer_verify.features.f0 import MAX_F0_HZ, MIN_F0_HZ, F0Tracker, convert_samples_for_world
from singer_verify.inference.enrolment import describe_enrolment_mismatch
from singer_verify.inference.model import Model, load_model
from singer_verify.inference.scoring_file import load_model_scoring
from singer_verify.inference.split import embed_utterances
from singer_verify.store.utterance_frames import ExtractedFrames
from singer_verify.worker_processes import choose_start_method, count_available_cores

log = logging.getLogger(__name__)
Item = TypeVar("Item")
STAGE_DESCRIPTIONS = {COUNTING_STAGE: "Counting trials", COMPARING_STAGE: "Comparing singers"}
PITCH_SAMPLE_RATE, PITCH_HOP_MS = 16_000, 10.0
MIN_RECORDINGS_FOR_WORKERS = 16  # for fewer recordings, starting processes takes longer than measuring
NUM_FAULT_EXAMPLES = 3


@runtime_checkable
class Progress(Protocol):
    """Pass items on one by one, and show how many are done."""

    def __call__(self, items: Iterable[Item], description: str, total: int | None = None) -> Iterable[Item]: ...


def show_nothing(items: Iterable[Item], description: str, total: int | None = None) -> Iterable[Item]:
    """Pass items on without showing progress."""
    return items


def evaluate(
    model: Model | str | Path,
    corpus: str | Path,
    split: str = "val",
    *,
    trials: str | Path | None = None,
    conditions: str | None = None,
    scoring: Scoring | None = None,
    num_enrolment: int = 3,
    num_resamples: int = 500,
    seed: int = 0,
    progress: Progress = show_nothing,
) -> EvaluationResult:
    """Evaluate a model on the singers of a split: error rates and costs with 95 % intervals, by condition.

        result = evaluate(load_model("runs/first"), "corpus", "test")
        result.metrics["eer"]     # Estimate(value=..., low=..., high=...)

    Args:
        model: a model from `load_model`, or its path.
        corpus: a folder `<root>/<split>/<singer>/**/<utterance>`.
        split: name of the split; its singers should not be those of the training.
        trials: a list of trials, one side of which may be singers; None takes all pairs of utterances.
        conditions: names separated by commas, or "none"; None takes all that the corpus allows.
        scoring: scoring of the embeddings; None takes the model's own, see `load_model_scoring`.
        num_enrolment: utterances from which a singer is enrolled, for identification.
        num_resamples: number of bootstrap resamples of the singers.
        seed: random seed of the bootstrap and of the draw of enrolment utterances.
        progress: wrapper that reports the progress of long loops.

    Raises:
        SingerVerifyError: the model, the corpus or the trials cannot be used.
    """
    plan = plan_evaluation(Path(corpus), split, None if trials is None else Path(trials), conditions)
    model = model if isinstance(model, Model) else load_model(model)
    scoring = load_model_scoring(model) if scoring is None else scoring
    require_known_domains(scoring, plan)
    utterances = embed_split(model, plan.corpus, split, progress)
    return evaluate_utterances(utterances, scoring, plan, num_enrolment, num_resamples, seed, progress)


@dataclass(frozen=True)
class EvaluationPlan:
    """The contents of an evaluation, checked before anything is embedded.

    Attributes:
        corpus: root folder of the corpus.
        split: name of the split.
        conditions: conditions that are evaluated, and what has to be measured for them.
        trial_path: path of the list of trials; None for all pairs.
        trials: content of that list.
        singer_by_path: singer of each utterance of the split, whether it can be used or not.
    """

    corpus: Path
    split: str
    conditions: ConditionSelection
    trial_path: Path | None = None
    trials: TrialList | None = None
    singer_by_path: Mapping[str, str] = field(default_factory=dict)


def plan_evaluation(corpus: Path, split: str, trials: Path | None, conditions: str | None) -> EvaluationPlan:
    """Read the list of trials and choose the conditions, before an hour's work is begun.

    Raises:
        SingerVerifyError: see `read_trials`, `validate_trials`, `select_valid_trials`, `index_singer_trials`,
            `read_corpus` and `select_conditions`.
    """
    listed = None if trials is None else read_trials(trials)
    read = read_corpus(corpus, splits=(split,), required=(split,))
    singer_by_path = {utterance.path: utterance.singer for utterance in read.splits[split].utterances}
    if listed is not None:  # again when it is known which utterances can be used; this is said then
        _index_trials(select_valid_trials(listed, validate_trials(listed, corpus, singer_by_path)), singer_by_path)
    paths = list(singer_by_path)
    labels = read_utterance_labels(paths, corpus, report=False)  # embedding reports
    selection = select_conditions(conditions, labels, is_measurable=not read.has_precomputed_features)
    return EvaluationPlan(corpus, split, selection, trials, listed, singer_by_path)


def require_known_domains(scoring: Scoring, plan: EvaluationPlan) -> None:
    """Refuse utterances of a domain that the scoring does not know, before they are embedded.

    Raises:
        SingerVerifyError: naming the domains that are known.
    """
    if scoring.centring is not None:
        scoring.centring.require_known(read_domains(list(plan.singer_by_path), plan.corpus, scoring.centring.label))


def evaluate_utterances(
    utterances: EvaluatedUtterances,
    scoring: Scoring,
    plan: EvaluationPlan,
    num_enrolment: int = 3,
    num_resamples: int = 500,
    seed: int = 0,
    progress: Progress = show_nothing,
) -> EvaluationResult:
    """Evaluate embedded utterances; arguments as for `evaluate`."""
    trials = select_usable_trials(utterances, plan)
    if trials is not None and trials.models is not None:
        for remark in describe_enrolment_mismatch(scoring, int(trials.models.num_recordings.max())):
            log.warning("%s: %s", plan.trial_path, remark)
    settings = EvaluationSettings(scoring, trials, num_enrolment, num_resamples, seed, plan.conditions.names)
    metadata = _measure_metadata(utterances, plan, progress)
    if scoring.centring is not None:
        domains = read_domains(utterances.paths.tolist(), plan.corpus, scoring.centring.label)
        metadata = replace(metadata, domains=domains)

    def show_stage(singers: Iterable[int], stage: str) -> Iterable[int]:
        return progress(singers, STAGE_DESCRIPTIONS[stage])

    return evaluate_embeddings(utterances.embeddings, utterances.singer_index, metadata, settings, show_stage)


def embed_files(
    model: Model, files: list[Path], progress: Progress = show_nothing
) -> tuple[list[Path], Float[np.ndarray, "files embedding"]]:
    """Embed the files that can be used; the others are logged as warnings.

    Raises:
        SingerVerifyError: none of them can be used.
    """
    kept, embeddings = [], []
    results = (result for _, result in model.embed_many(files))
    for file, result in progress(zip(files, results, strict=True), "Embedding", total=len(files)):
        if isinstance(result, UtteranceError):
            log.warning("Skipped: %s", result)
        else:
            kept.append(file)
            embeddings.append(result.embedding)
    if not kept:
        raise SingerVerifyError(f"none of {len(files)} files can be used; the reasons are above.")
    if len(kept) < len(files):
        log.warning("%d of %d files skipped.", len(files) - len(kept), len(files))
    return kept, np.stack(embeddings)


def embed_split(model: Model, corpus: Path, split: str, progress: Progress = show_nothing) -> EvaluatedUtterances:
    """Embed the usable utterances of a split as validation does, with their singers and labels."""
    utterances = read_corpus(corpus, splits=(split,), required=(split,)).splits[split].utterances
    register = RecordingRegister(corpus)
    indices, embeddings = embed_usable_utterances(model, corpus, utterances, progress, register)
    singers, singer_index = np.unique([utterances[index].singer for index in indices], return_inverse=True)
    paths = [utterances[index].path for index in indices]
    labels = read_utterance_labels(paths, corpus, others=[utterance.path for utterance in utterances])
    contents = [register.contents[path] for path in paths]
    return EvaluatedUtterances(
        *(np.array(paths, object), tuple(singers.tolist()), singer_index, labels, embeddings),
        contents=np.array(contents, np.int64),
        copies=register.copies,
    )


def embed_usable_utterances(
    model: Model,
    root: Path,
    utterances: Sequence[Utterance],
    progress: Progress = show_nothing,
    register: RecordingRegister | None = None,
) -> tuple[list[int], Float[np.ndarray, "usable embedding"]]:
    """Embed whole utterances as validation does; those that cannot be used, and copies, are logged as warnings.

    Args:
        model: model that embeds.
        root: folder that the utterances' paths are relative to.
        utterances: utterances in the order of their split.
        progress: wrapper that reports the progress.
        register: takes down what the utterances sound like.

    Returns:
        indices of the utterances that were embedded, and their embeddings.

    Raises:
        SingerVerifyError: none of them can be used.
    """

    def report_skipped(reason: str) -> None:
        log.warning("Skipped: %s", reason)

    def show(extracted: Iterable[ExtractedFrames]) -> Iterable[ExtractedFrames]:
        return progress(extracted, "Embedding", total=len(utterances))

    indices, embeddings = embed_utterances(model, root, utterances, report_skipped, show, register)
    if len(indices) < len(utterances):
        log.warning("%d of %d files skipped.", len(utterances) - len(indices), len(utterances))
    return indices, embeddings


def read_split_singers(corpus: Path, split: str) -> dict[Path, str]:
    """Return the singer of each utterance of a split, by its file."""
    utterances = read_corpus(corpus, splits=(split,), required=(split,)).splits[split].utterances
    return {corpus / utterance.path: utterance.singer for utterance in utterances}


def select_usable_trials(utterances: EvaluatedUtterances, plan: EvaluationPlan, report: bool = True) -> Trials | None:
    """Select the trials of a list whose utterances can be used; None for all pairs.

    Args:
        utterances: utterances that can be used.
        plan: what is evaluated.
        report: whether faults of the list are logged.

    Raises:
        SingerVerifyError: none of its trials can be used, or none of one kind.
    """
    if plan.trials is None:
        return None
    unusable = plan.singer_by_path.keys() - set(utterances.paths) - utterances.copies.keys()
    validation = validate_trials(plan.trials, plan.corpus, plan.singer_by_path, utterances.copies, unusable)
    for message in format_fault_messages(validation) if report else []:
        log.warning("%s: %s", plan.trial_path, message)
    usable = {path: plan.singer_by_path[path] for path in utterances.paths.tolist()}
    return _index_trials(select_valid_trials(plan.trials, validation), usable)


def _index_trials(trials: TrialList, singer_by_path: Mapping[str, str]) -> Trials:
    """Return valid trials by the numbers of their utterances, and of the models of the singers that the list names."""
    if trials.singer_side is None:
        return index_trials(trials, [*singer_by_path])
    singers, singer_index = np.unique([*singer_by_path.values()], return_inverse=True)
    return index_singer_trials(trials, singer_by_path, singers.tolist(), singer_index)


def _measure_metadata(utterances: EvaluatedUtterances, plan: EvaluationPlan, progress: Progress) -> UtteranceMetadata:
    """Measure what the conditions need, and no more: pitch takes as long to measure as embeddings to compute."""
    paths = [plan.corpus / str(path) for path in utterances.paths]
    labels = {label: values for label, values in utterances.labels.items() if label in plan.conditions.labels}
    seconds = median_f0_hz = None
    if plan.conditions.needs_length:
        seconds = np.array(list(read_durations(paths)))
    if plan.conditions.needs_pitch:
        measured = measure_median_f0(paths, count_available_cores())
        median_f0_hz = np.array(list(progress(measured, "Measuring pitch", total=len(paths))))
    return UtteranceMetadata(labels, seconds, median_f0_hz)


class MedianF0Dataset(Dataset[float]):
    """Median f0 of each recording in Hz; NaN where it has none.

    Args:
        paths: paths of the recordings.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        self.f0 = F0Tracker(PITCH_SAMPLE_RATE, PITCH_HOP_MS, "dio", MIN_F0_HZ, MAX_F0_HZ)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> float:
        try:
            samples = load_audio(self.paths[index], PITCH_SAMPLE_RATE)
            f0_hz = self.f0(convert_samples_for_world(torch.from_numpy(samples)))
        except UtteranceError:  # reported when this recording was embedded
            return np.nan
        voiced = f0_hz[f0_hz > 0.0]
        return float(np.median(voiced)) if len(voiced) else np.nan


def measure_median_f0(paths: Sequence[Path], num_workers: int) -> Iterator[float]:
    """Measure the median f0 of each recording in Hz, in order.

    Args:
        paths: paths of audio files.
        num_workers: processes to use; a few recordings are measured in this one.
    """
    num_workers = 0 if len(paths) < MIN_RECORDINGS_FOR_WORKERS else num_workers
    yield from DataLoader(
        MedianF0Dataset(paths),
        batch_size=None,
        num_workers=num_workers,
        multiprocessing_context=choose_start_method(num_workers),
    )


def read_durations(paths: Sequence[Path]) -> Iterator[float]:
    """Measure the duration of each recording in seconds, in order; NaN where it cannot be decoded."""
    for path in paths:
        try:
            yield probe_audio(path).duration_s
        except UtteranceError:
            yield np.nan


def collect_fault_examples(validation: TrialListValidation) -> dict[str, list[str]]:
    """Name the first few files or trials of each fault."""
    listed = np.where(validation.is_target, "nontarget", "target")  # contradicting labels say the opposite
    return {
        "missing_files": list(validation.missing[:NUM_FAULT_EXAMPLES]),
        "missing_singers": list(validation.missing_singers[:NUM_FAULT_EXAMPLES]),
        "self_pairs": [validation.left[trial] for trial in _take_first(validation.is_self_pair)],
        "duplicates": [_format_pair(validation, trial) for trial in _take_first(validation.is_duplicate)],
        "contradicting_labels": [
            f"{_format_pair(validation, trial)} listed as {listed[trial]}"
            for trial in _take_first(validation.is_contradicting)
        ],
        "misnamed_files": [
            f"{path} named after {singer}" for path, singer in islice(validation.misnamed.items(), NUM_FAULT_EXAMPLES)
        ],
    }


def format_fault_messages(validation: TrialListValidation) -> list[str]:
    """Format what was found and what is done about it: a sentence for each fault, none for a list without any."""
    counts, examples = count_faults(validation), collect_fault_examples(validation)
    elsewhere = f", {validation.num_elsewhere} of them in another split or unusable" if validation.num_elsewhere else ""
    openings = {
        "missing_files": f"Trials of files that are not among the utterances of {validation.root}, left out: "
        f"{counts['num_with_missing_files']}; such files{elsewhere}",
        "missing_singers": f"Trials of singers without a usable recording in {validation.root}, left out: "
        f"{counts['num_with_missing_singers']}; such singers",
        "self_pairs": "Trials of a recording against itself, left out",
        "duplicates": "Trials that repeat an earlier one in either order, left out",
        "contradicting_labels": "Trials whose label contradicts the folders, where the folders decide",
        "misnamed_files": "Files named after another singer than their folder, where the folder decides",
    }
    return [
        f"{opening}: {number} ({'; '.join(examples[fault])}{'; …' if number > NUM_FAULT_EXAMPLES else ''})."
        for fault, opening in openings.items()
        if (number := counts[f"num_{fault}"])
    ]


def _take_first(is_chosen: np.ndarray) -> list[int]:
    return np.flatnonzero(is_chosen)[:NUM_FAULT_EXAMPLES].tolist()


def _format_pair(validation: TrialListValidation, trial: int) -> str:
    return f"{validation.left[trial]} – {validation.right[trial]}"
