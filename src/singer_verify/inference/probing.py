"""Probes of models on a split: embed its utterances, read or measure its labels, and probe them."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from singer_verify.corpora.corpus import read_corpus
from singer_verify.corpora.labels import CORPUS_TABLE_NAME, read_utterance_labels
from singer_verify.errors import SingerVerifyError, format_names
from singer_verify.evaluation.conditions import UNKNOWN
from singer_verify.evaluation.probe_tasks import (
    RECORDING,
    SINGER,
    ProbeTask,
    plan_label_task,
    plan_singer_task,
)
from singer_verify.evaluation.probes import NUM_FOLDS, LabelProbes, correct_p_values, probe_label
from singer_verify.evaluation.results import EvaluatedUtterances
from singer_verify.evaluation.scoring.scoring import COSINE
from singer_verify.evaluation.seen_singers import SingerOverlap
from singer_verify.inference.evaluation import Progress, embed_split, show_nothing
from singer_verify.inference.evaluation_context import build_evaluation_context
from singer_verify.inference.model import Model
from singer_verify.inference.recording_measures import measure_pitch, read_durations
from singer_verify.worker_processes import count_available_cores

log = logging.getLogger(__name__)
PITCH, DURATION = "pitch", "duration"
MEASURED_LABELS = (
    PITCH,
    DURATION,
)  # measured where the corpus has no such label: MIDI number of the median f0, seconds
SONG_LABELS = ("song", "sentence", "statement", "excerpt", "exercise", "text")  # the first there is tells songs apart
NO_LABELS = "none"
A4_HZ, A4_MIDI = 440.0, 69.0
Embed = Callable[[Model, Path, str, Progress], EvaluatedUtterances]
MIN_RESAMPLES, NUM_RESAMPLES_PER_DIFFERENCE = 500, 100


@dataclass(frozen=True)
class ProbeOptions:
    """What a user asks for.

    Attributes:
        labels: names of labels; None takes the singer and every label with two values or more.
        numbers: names of the labels that are numbers, `none` for none of them; None finds out.
        disjoint: label whose values train and test of a probe of the singer do not share, or `recording`; None takes
            the first of `SONG_LABELS` that the corpus has.
        num_folds: number of folds of each probe.
        num_resamples: number of bootstrap resamples of the singers; None takes 500, or 100 for each difference of two
            models, because Holm's correction multiplies the smallest possible p, 2 / resamples, by their number.
        seed: seed of folds and resamples.
    """

    labels: tuple[str, ...] | None = None
    numbers: tuple[str, ...] | None = None
    disjoint: str | None = None
    num_folds: int = NUM_FOLDS
    num_resamples: int | None = None
    seed: int = 0


@dataclass(frozen=True)
class ProbePlan:
    """What is probed, checked before anything is embedded.

    Attributes:
        options: what the user asked for.
        labels: names of the labels to probe.
        disjoint: label whose values train and test of a probe of the singer do not share, or `recording`.
    """

    options: ProbeOptions
    labels: tuple[str, ...]
    disjoint: str


@dataclass(frozen=True)
class ProbeReport:
    """The probes of several models on the same utterances.

    Attributes:
        models: names of the models, the first of which the others are compared with.
        place: what they were probed on, for instance "ravdess, val split".
        num_singers: number of singers.
        num_utterances: number of utterances that every model can embed.
        num_resamples: number of bootstrap resamples of the singers.
        probes: the probes of each label.
        refused: why a label was not probed, by its name.
        overlaps: number of singers each model has seen before, see `EvaluationContext`.
        num_trainings: number of trainings of each model, over which its scores are means.
        has_folds: whether each singer is embedded by a model that has not heard them.
    """

    models: tuple[str, ...]
    place: str
    num_singers: int
    num_utterances: int
    num_resamples: int
    probes: tuple[LabelProbes, ...]
    refused: dict[str, str] = field(default_factory=dict)
    overlaps: tuple[dict[str, SingerOverlap | None], ...] = ()
    num_trainings: tuple[int, ...] = ()
    has_folds: bool = False


def plan_probes(corpus: Path, split: str, options: ProbeOptions) -> ProbePlan:
    """Choose what is probed on a split, and refuse what its labels do not allow, before an hour's work is begun.

    Raises:
        SingerVerifyError: see `choose_labels` and `read_corpus`.
    """
    read = read_corpus(corpus, splits=(split,), required=(split,))
    utterances = read.splits[split].utterances
    labels = read_utterance_labels([utterance.path for utterance in utterances], corpus, report=False)
    singers = np.array([utterance.singer for utterance in utterances], object)
    where = str(corpus / CORPUS_TABLE_NAME)
    return choose_labels(labels, singers, options, where, is_measurable=not read.has_precomputed_features)


def choose_labels(
    labels: dict[str, np.ndarray],
    singers: np.ndarray,
    options: ProbeOptions,
    where: str,
    is_measurable: bool,
    spaces: np.ndarray | None = None,
) -> ProbePlan:
    """Choose what is probed.

    Args:
        labels: values of all utterances by label.
        singers: (utterances,), singer of each.
        options: what the user asks for.
        where: the table of labels, for messages.
        is_measurable: whether there is sound to measure pitch and duration in.
        spaces: (utterances,), number of the model that embeds each; None for one model.

    Raises:
        SingerVerifyError: an unknown label, one that the user named and that cannot be probed, or none that can.
    """
    _require_known_labels(labels, options, where, is_measurable)
    disjoint = options.disjoint
    if disjoint is None:
        disjoint = next((label for label in SONG_LABELS if label in labels and _has_values(labels[label])), RECORDING)
    names = options.labels or (SINGER, *(name for name in labels if _has_values(labels[name])))
    plan = ProbePlan(options, tuple(dict.fromkeys(names)), disjoint)
    listed, singer_index = np.unique(singers.astype(str), return_inverse=True)
    readable = {name: labels[name] for name in plan.labels if name in labels}
    _, refused = _plan_tasks(plan, readable, labels.get(disjoint), listed.tolist(), singer_index, spaces)
    if options.labels is not None and refused:
        raise SingerVerifyError(next(iter(refused.values())))
    if set(plan.labels) <= set(refused):
        raise SingerVerifyError(f"{where}: no label can be probed. {' '.join(refused.values())}")
    return plan  # tasks are planned again when it is known which utterances can be used


def _has_values(values: np.ndarray) -> bool:
    return len({value for value in values.tolist() if value != UNKNOWN}) >= 2


def _require_known_labels(table: dict[str, np.ndarray], options: ProbeOptions, where: str, is_measurable: bool) -> None:
    """Refuse names of labels that the corpus does not have, listing those it has."""
    there = f"{where} has " + (f"the labels {', '.join(table)}" if table else "no labels")
    for name in options.labels or ():
        if name in MEASURED_LABELS and name not in table and not is_measurable:
            raise SingerVerifyError(f"--label {name}: {there}, and there is no sound to measure it in.")
        if name not in (SINGER, *table, *MEASURED_LABELS):
            choices = ", ".join((SINGER, *(name for name in MEASURED_LABELS if name not in table)))
            raise SingerVerifyError(f"--label {name}: {there}; expected one of them, or {choices}.")
    for name in options.numbers or ():
        if name not in (*table, NO_LABELS):
            raise SingerVerifyError(f"--numbers {name}: {there}; expected one of them, or {NO_LABELS}.")
    if options.disjoint is not None and options.disjoint not in (*table, RECORDING):
        raise SingerVerifyError(f"--disjoint {options.disjoint}: {there}; expected one of them, or {RECORDING}.")


def probe_models(
    models: Sequence[Model],
    corpus: Path,
    split: str,
    plan: ProbePlan,
    progress: Progress = show_nothing,
    embed: Embed = embed_split,
) -> ProbeReport:
    """Embed a split with each of several models, and probe the labels of the utterances that all of them can embed.

    Args:
        models: models; the first is what the others are compared with.
        corpus: root folder of the corpus.
        split: name of the split.
        plan: what is probed.
        progress: wrapper that reports the progress of long loops.
        embed: function that embeds a split.

    Raises:
        SingerVerifyError: a model is given twice, no utterance can be used by all models, or no label can be probed.
    """
    names = _name_apart([_get_model_path(model) for model in models])
    embedded = [embed(model, corpus, split, progress) for model in models]
    shared, embeddings = _select_shared(embedded, f"{corpus}, split {split}")
    contexts = [
        build_evaluation_context(model, corpus, split, COSINE, utterances)
        for model, utterances in zip(models, embedded, strict=True)
    ]
    place = f"{contexts[0].corpus}, {split} split"
    report = probe_embeddings(names, [[rows] for rows in embeddings], shared, corpus, plan, place, progress)
    return replace(report, overlaps=tuple(dict(context.overlaps) for context in contexts))


def probe_embeddings(
    names: Sequence[str],
    embeddings: Sequence[Sequence[Float[np.ndarray, "utterances _"]]],
    utterances: EvaluatedUtterances,
    root: Path,
    plan: ProbePlan,
    place: str,
    progress: Progress = show_nothing,
    spaces: Int[np.ndarray, " utterances"] | None = None,
) -> ProbeReport:
    """Probe the labels of embedded utterances.

    Args:
        names: names of the models; the first is what the others are compared with.
        embeddings: embeddings of the utterances by each training of each model.
        utterances: utterances with their singers and labels.
        root: folder that their paths are relative to, for what is measured.
        plan: what is probed.
        place: what they are probed on, in words.
        progress: wrapper that reports the progress of long loops.
        spaces: (utterances,), number of the model that embeds each, where several embed a part each; None otherwise.

    Raises:
        SingerVerifyError: no label can be probed.
    """
    options, songs = plan.options, utterances.labels.get(plan.disjoint)
    labels = _collect_labels(plan, utterances, root, progress)
    tasks, refused = _plan_tasks(plan, labels, songs, list(utterances.singers), utterances.singer_index, spaces)
    if not tasks:
        raise SingerVerifyError(f"{place}: no label can be probed. {' '.join(refused.values())}")
    num_resamples = options.num_resamples or max(
        MIN_RESAMPLES, NUM_RESAMPLES_PER_DIFFERENCE * len(tasks) * (len(names) - 1)
    )
    probes = [
        probe_label(embeddings, task, options.num_folds, num_resamples, options.seed)
        for task in progress(tasks, "Probing", total=len(tasks))
    ]
    return ProbeReport(
        models=tuple(names),
        place=place,
        num_singers=len(np.unique(utterances.singer_index)),
        num_utterances=len(utterances.paths),
        num_resamples=num_resamples,
        probes=tuple(correct_p_values(probes)),
        refused=refused,
        num_trainings=tuple(len(trainings) for trainings in embeddings),
        has_folds=spaces is not None,
    )


def _get_model_path(model: Model) -> Path:
    assert model.checkpoint is not None
    return model.checkpoint.model_path.resolve()


def _name_apart(paths: Sequence[Path]) -> tuple[str, ...]:
    """Name models by their last folder, and by as many above it as tell them apart."""
    longest = max(len(path.parts) for path in paths)
    for number in range(1, longest + 1):
        names = tuple("/".join(path.parts[-number:]) for path in paths)
        if len(set(names)) == len(names):
            return names
    raise SingerVerifyError(f"{paths[0]}: is given twice; give each model once.")


def _select_shared(
    embedded: Sequence[EvaluatedUtterances], where: str
) -> tuple[EvaluatedUtterances, list[Float[np.ndarray, "shared _"]]]:
    """Select the utterances that all models can embed; those that one model cannot are logged."""
    first = embedded[0]
    common = set(first.paths.tolist()).intersection(*(utterances.paths.tolist() for utterances in embedded[1:]))
    if not common:
        raise SingerVerifyError(f"{where}: no utterance can be used by all models.")
    if most := max(len(utterances.paths) for utterances in embedded) - len(common):
        log.warning("Utterances left out, which one of the models cannot use: %d.", most)
    rows = [np.flatnonzero([path in common for path in utterances.paths.tolist()]) for utterances in embedded]
    embeddings = [utterances.embeddings[kept] for utterances, kept in zip(embedded, rows, strict=True)]
    kept = rows[0]
    labels = {label: values[kept] for label, values in first.labels.items()}
    contents = first.contents[kept] if len(first.contents) else first.contents
    singer_index = first.singer_index[kept]
    return EvaluatedUtterances(
        first.paths[kept], first.singers, singer_index, labels, first.embeddings[kept], contents
    ), embeddings


def _collect_labels(
    plan: ProbePlan, utterances: EvaluatedUtterances, root: Path, progress: Progress
) -> dict[str, np.ndarray]:
    """Collect the labels to probe, measuring those that the corpus does not have."""
    missing = [name for name in plan.labels if name in MEASURED_LABELS and name not in utterances.labels]
    measured = measure_labels(missing, [root / str(path) for path in utterances.paths], progress)
    labels = utterances.labels | measured
    return {name: labels[name] for name in plan.labels if name in labels}


def measure_labels(
    names: Sequence[str], files: Sequence[Path], progress: Progress
) -> dict[str, Float[np.ndarray, " files"]]:
    """Measure some of `MEASURED_LABELS` of recordings, NaN where that fails: pitch in MIDI numbers, duration in s."""
    labels = dict[str, np.ndarray]()
    if PITCH in names:
        measured = progress(measure_pitch(files, count_available_cores()), "Measuring pitch", total=len(files))
        labels[PITCH] = A4_MIDI + 12.0 * np.log2(np.array([pitch.median_f0_hz for pitch in measured]) / A4_HZ)
    if DURATION in names:
        labels[DURATION] = np.array(list(progress(read_durations(files), "Measuring durations", total=len(files))))
    return labels


def _plan_tasks(
    plan: ProbePlan,
    labels: dict[str, np.ndarray],
    songs: np.ndarray | None,
    singers: list[str],
    singer_index: np.ndarray,
    spaces: np.ndarray | None,
) -> tuple[list[ProbeTask], dict[str, str]]:
    """Plan the probe of each label that is given; return also why others cannot be probed."""
    tasks, refused = list[ProbeTask](), dict[str, str]()
    numbers = plan.options.numbers
    for name in plan.labels:
        try:
            if name == SINGER:
                tasks.append(plan_singer_task(singers, singer_index, plan.disjoint, songs, spaces))
            elif name in labels:
                is_number = None if numbers is None else name in numbers
                tasks.append(plan_label_task(name, labels[name], singer_index, is_number, spaces))
        except SingerVerifyError as error:
            refused[name] = str(error)
    return tasks, refused


def describe_task(task: ProbeTask, num_utterances: int) -> list[str]:
    """Say which of the utterances a task leaves out."""
    sentences = []
    if task.num_unknown:
        sentences.append(f"{task.label}: {task.num_unknown} of {num_utterances} utterances without a value left out.")
    num_alone = num_utterances - task.num_unknown - len(task.rows)
    if len(task.spaces) and num_alone:
        sentences.append(
            f"{task.label}: {num_alone} of {num_utterances} utterances left out, because fewer than two "
            f"{task.disjoint}s of their fold have their value."
        )
    elif task.left_out:
        number, unit, names = len(task.left_out), task.disjoint, format_names(task.left_out)
        kind = "singer" if task.label == SINGER else "value"
        which = f"1 {kind} with one {unit}" if number == 1 else f"{number} {kind}s with one {unit} each"
        sentences.append(f"{task.label}: {which} left out ({names}).")
    return sentences
