"""Evaluation of a model on a split: embed its utterances, measure what conditions need, score the trials."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Float

from singer_verify.audio.content import NO_CONTENT
from singer_verify.audio.measures import RecordingMeasures
from singer_verify.corpora.corpus import Utterance, read_corpus
from singer_verify.corpora.duplicates import RecordingRegister
from singer_verify.corpora.labels import read_domains, read_utterance_labels
from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.evaluation.conditions import ConditionSelection, UtteranceMetadata, select_conditions
from singer_verify.evaluation.confounds import F0_SEMITONES, VOICED_SHARE, NuisanceVariables
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
from singer_verify.inference.enrolment import describe_enrolment_mismatch
from singer_verify.inference.model import Model, load_model
from singer_verify.inference.recording_measures import PitchMeasures, find_f0_settings, measure_pitch, read_durations
from singer_verify.inference.scoring_file import load_model_scoring
from singer_verify.inference.split import embed_utterances
from singer_verify.store.utterance_frames import ExtractedFrames
from singer_verify.worker_processes import count_available_cores

log = logging.getLogger(__name__)
Item = TypeVar("Item")
STAGE_DESCRIPTIONS = {COUNTING_STAGE: "Counting trials", COMPARING_STAGE: "Comparing singers"}
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
    confounds: bool = True,
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
        confounds: whether to measure what else than the voice tells the singers apart.
        progress: wrapper that reports the progress of long loops.

    Raises:
        SingerVerifyError: the model, the corpus or the trials cannot be used.
    """
    plan = plan_evaluation(Path(corpus), split, None if trials is None else Path(trials), conditions, confounds)
    model = model if isinstance(model, Model) else load_model(model)
    scoring = load_model_scoring(model) if scoring is None else scoring
    require_known_domains(scoring, plan)
    utterances = embed_split(model, plan.corpus, split, progress, measures_recordings=confounds)
    settings = num_enrolment, num_resamples, seed, progress, find_f0_settings(model.feature.recipe)
    return evaluate_utterances(utterances, scoring, plan, *settings)


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
        confounds: whether confounds are measured.
    """

    corpus: Path
    split: str
    conditions: ConditionSelection
    trial_path: Path | None = None
    trials: TrialList | None = None
    singer_by_path: Mapping[str, str] = field(default_factory=dict)
    confounds: bool = True


def plan_evaluation(
    corpus: Path, split: str, trials: Path | None, conditions: str | None, confounds: bool = True
) -> EvaluationPlan:
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
    return EvaluationPlan(corpus, split, selection, trials, listed, singer_by_path, confounds)


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
    f0_settings: Mapping[str, Any] | None = None,
) -> EvaluationResult:
    """Evaluate embedded utterances.

    Args:
        utterances: the embedded utterances.
        scoring: scoring of the embeddings.
        plan: what is evaluated.
        num_enrolment, num_resamples, seed, progress: see `evaluate`.
        f0_settings: settings of the f0 tracker of the model's recipe; None if it has none.
    """
    trials = select_usable_trials(utterances, plan)
    if trials is not None and trials.models is not None:
        for remark in describe_enrolment_mismatch(scoring, int(trials.models.num_recordings.max())):
            log.warning("%s: %s", plan.trial_path, remark)
    settings = EvaluationSettings(scoring, trials, num_enrolment, num_resamples, seed, plan.conditions.names)
    pitch = None
    if plan.conditions.needs_pitch or (plan.confounds and utterances.measures and f0_settings is not None):
        recordings = [plan.corpus / str(path) for path in utterances.paths]
        measured = measure_pitch(recordings, count_available_cores(), f0_settings)
        pitch = list(progress(measured, "Measuring pitch", total=len(recordings)))
    metadata = _collect_metadata(utterances, plan, pitch)
    nuisances = _collect_nuisances(utterances, pitch, f0_settings is not None) if plan.confounds else None
    if scoring.centring is not None:
        domains = read_domains(utterances.paths.tolist(), plan.corpus, scoring.centring.label)
        metadata = replace(metadata, domains=domains)

    def show_stage(singers: Iterable[int], stage: str) -> Iterable[int]:
        return progress(singers, STAGE_DESCRIPTIONS[stage])

    index = utterances.singer_index
    return evaluate_embeddings(utterances.embeddings, index, metadata, settings, show_stage, nuisances=nuisances)


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


def embed_split(
    model: Model, corpus: Path, split: str, progress: Progress = show_nothing, measures_recordings: bool = False
) -> EvaluatedUtterances:
    """Embed the usable utterances of a split as validation does, with their singers, labels and measures."""
    utterances = read_corpus(corpus, splits=(split,), required=(split,)).splits[split].utterances
    register = RecordingRegister(corpus, measures_recordings)
    indices, embeddings = embed_usable_utterances(model, corpus, utterances, progress, register)
    singers, singer_index = np.unique([utterances[index].singer for index in indices], return_inverse=True)
    paths = [utterances[index].path for index in indices]
    labels = read_utterance_labels(paths, corpus, others=[utterance.path for utterance in utterances])
    contents = [register.contents[path] for path in paths]
    return EvaluatedUtterances(
        *(np.array(paths, object), tuple(singers.tolist()), singer_index, labels, embeddings),
        contents=np.array(contents, np.int64),
        copies=register.copies,
        measures=_tabulate_measures([register.measures[path] for path in paths]) if register.measures else {},
    )


def _tabulate_measures(recordings: list[RecordingMeasures]) -> dict[str, Float[np.ndarray, " utterances"]]:
    return {
        name: np.array([getattr(recording, name) for recording in recordings])
        for name in ("duration_s", "level_db", "noise_db", "snr_db", "bandwidth_hz")
    }


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


def _collect_metadata(
    utterances: EvaluatedUtterances, plan: EvaluationPlan, pitch: list[PitchMeasures] | None
) -> UtteranceMetadata:
    """Collect what the conditions need, and no more."""
    labels = {label: values for label, values in utterances.labels.items() if label in plan.conditions.labels}
    seconds = median_f0_hz = None
    if plan.conditions.needs_length:
        seconds = np.array(list(read_durations([plan.corpus / str(path) for path in utterances.paths])))
    if plan.conditions.needs_pitch and pitch is not None:
        median_f0_hz = np.array([measures.median_f0_hz for measures in pitch])
    return UtteranceMetadata(labels, seconds, median_f0_hz)


def _collect_nuisances(
    utterances: EvaluatedUtterances, pitch: list[PitchMeasures] | None, uses_pitch: bool
) -> NuisanceVariables:
    """Collect the labels and measurements whose confounding is measured."""
    measures = dict(utterances.measures)
    if pitch is not None:
        measures[F0_SEMITONES] = 12.0 * np.log2([recording.median_f0_hz for recording in pitch])
        measures[VOICED_SHARE] = np.array([recording.voiced_share for recording in pitch])
    contents = utterances.contents[utterances.contents != NO_CONTENT]
    num_shared = len(contents) - len(np.unique(contents))  # of one singer, they would be copies
    return NuisanceVariables(utterances.labels, measures, len(utterances.copies), num_shared, uses_pitch)


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
