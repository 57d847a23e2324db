"""Robustness of a model: the trials of an evaluation again, after the recordings were degraded.

With `sides="test"`, enrolled recordings stay clean, as with a gallery that was recorded with care. In a pair of
utterances either may be the test recording, so every pair is two trials: one utterance clean and the other degraded,
and the reverse. Without a degradation the two have one score, and all error rates are those of the plain trials. Where
a list of trials compares singers with recordings, the singers are enrolled from clean recordings: each trial is one.
With `sides="both"`, all recordings are degraded and every trial is one.

Cohort, projection, calibration and threshold stay those of the clean evaluation.
"""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float

from singer_verify.corpora.corpus import PRECOMPUTED_SUFFIX, Utterance, read_corpus
from singer_verify.corpora.labels import read_domains
from singer_verify.data.degradations import Degradation
from singer_verify.errors import SingerVerifyError, require_choice
from singer_verify.evaluation.conditions import UtteranceMetadata
from singer_verify.evaluation.evaluate import EvaluationSettings
from singer_verify.evaluation.evaluate import evaluate as evaluate_embeddings
from singer_verify.evaluation.metrics.registry import EER
from singer_verify.evaluation.results import DegradedResult, EvaluatedUtterances, EvaluationResult, RobustnessResult
from singer_verify.evaluation.scoring.scoring import Scoring
from singer_verify.features.precomputed import PrecomputedFeature
from singer_verify.features.voice import unwrap_feature
from singer_verify.inference.evaluation import EvaluationPlan, Progress, select_usable_trials, show_nothing
from singer_verify.inference.model import Model
from singer_verify.inference.split import embed_utterances
from singer_verify.store.utterance_frames import ExtractedFrames

log = logging.getLogger(__name__)
TEST_SIDE, BOTH_SIDES = SIDES = ("test", "both")
NUM_NAMED_RECORDINGS = 3


def require_audio(model: Model | None, plan: EvaluationPlan) -> None:
    """Refuse what cannot be degraded, before anything is embedded.

    Args:
        model: the model; None while it is not loaded.
        plan: what is evaluated.

    Raises:
        SingerVerifyError: the corpus holds precomputed features, or the model takes them.
    """
    expected = "a degradation changes audio; evaluate a model whose recipe is computed from audio, on recordings."
    for path in plan.singer_by_path:
        if path.lower().endswith(PRECOMPUTED_SUFFIX):
            raise SingerVerifyError(f"--degrade: {plan.corpus / path} holds precomputed features; {expected}")
    if model is not None and isinstance(unwrap_feature(model.feature), PrecomputedFeature):
        raise SingerVerifyError(f"--degrade: the model was trained on precomputed features; {expected}")


def evaluate_degradations(
    model: Model,
    utterances: EvaluatedUtterances,
    result: EvaluationResult,
    scoring: Scoring,
    plan: EvaluationPlan,
    degradations: Sequence[Degradation],
    sides: str = TEST_SIDE,
    num_enrolment: int = 3,
    num_resamples: int = 500,
    seed: int = 0,
    progress: Progress = show_nothing,
) -> RobustnessResult:
    """Evaluate the same trials after each degradation, with the differences from the clean trials.

    Recordings that a degradation makes unusable are left out from its trials and from the clean ones it is compared
    with, and logged.

    Args:
        model: model that embeds.
        utterances: clean utterances, see `embed_split`.
        result: their evaluation, with the same settings.
        scoring: scoring of the embeddings.
        plan: what is evaluated.
        degradations: degradations, each evaluated by itself.
        sides: sides of the trials that are degraded, `test` or `both`.
        num_enrolment: see `evaluate`.
        num_resamples: see `evaluate`.
        seed: see `evaluate`.
        progress: wrapper that reports the progress of long loops.

    Raises:
        SingerVerifyError: see `require_audio`.
    """
    require_choice(SIDES, sides=sides)
    require_audio(model, plan)
    split = read_corpus(plan.corpus, splits=(plan.split,), required=(plan.split,)).splits[plan.split]
    listed = {utterance.path: utterance for utterance in split.utterances}
    recordings = [listed[path] for path in utterances.paths.tolist()]
    settings = EvaluationSettings(scoring, None, num_enrolment, num_resamples, seed, frozenset())
    entries = []
    for number, degradation in enumerate(degradations, start=1):
        title = f"{degradation.kind} {degradation.strength_text} ({number} of {len(degradations)})"
        indices, embeddings, unusable = _embed_degraded(model, plan, recordings, degradation, title, progress)
        empty = np.zeros(0)
        entry = DegradedResult(
            degradation.kind, degradation.strength, degradation.strength_text, 0, unusable, {}, {}, empty, empty
        )
        try:
            entries.append(
                _compare_with_clean(entry, utterances, result, plan, settings, indices, embeddings, sides == BOTH_SIDES)
            )
        except SingerVerifyError as error:  # too few recordings are left
            log.warning("%s: not evaluated: %s", title, error)
            entries.append(replace(entry, failure=str(error)))
    files = next((degradation.accompaniment for degradation in degradations if degradation.accompaniment), ())
    has_accompaniment = any(degradation.kind == "accompaniment" for degradation in degradations)
    source = f"{len(files)} files" if files else "synthesised chords, bass and drums"
    return RobustnessResult(tuple(entries), sides, result.metrics[EER], source if has_accompaniment else "")


def _embed_degraded(
    model: Model,
    plan: EvaluationPlan,
    recordings: Sequence[Utterance],
    degradation: Degradation,
    title: str,
    progress: Progress,
) -> tuple[list[int], Float[np.ndarray, "usable embedding"], dict[str, str]]:
    """Embed degraded recordings: which can be used, their embeddings, and why the others cannot, by path."""
    reasons: list[str] = []

    def show(extracted: Iterable[ExtractedFrames]) -> Iterable[ExtractedFrames]:
        return progress(extracted, title, total=len(recordings))

    indices: list[int] = []
    embeddings = np.zeros((0, model.embedding_size), np.float32)
    try:
        indices, embeddings = embed_utterances(model, plan.corpus, recordings, reasons.append, show, change=degradation)
    except SingerVerifyError:
        if len(reasons) < len(recordings):
            raise
    left_out = sorted(set(range(len(recordings))) - set(indices))
    if left_out:
        named = "; ".join(reasons[:NUM_NAMED_RECORDINGS])
        log.warning(
            "%s: %d of %d recordings cannot be used any more and are left out from the clean trials as well (%s%s).",
            title,
            len(left_out),
            len(recordings),
            named.replace(".;", ";").rstrip("."),
            "; …" if len(reasons) > NUM_NAMED_RECORDINGS else "",
        )
    unusable = {recordings[index].path: reason for index, reason in zip(left_out, reasons, strict=True)}
    return indices, embeddings, unusable


def _compare_with_clean(
    entry: DegradedResult,
    utterances: EvaluatedUtterances,
    result: EvaluationResult,
    plan: EvaluationPlan,
    settings: EvaluationSettings,
    indices: list[int],
    embeddings: Float[np.ndarray, "usable embedding"],
    is_both: bool,
) -> DegradedResult:
    """Evaluate the trials of usable recordings, degraded and clean.

    Raises:
        SingerVerifyError: too few recordings are left, see `evaluate`.
    """
    kept = _select_utterances(utterances, indices)
    settings = replace(settings, trials=select_usable_trials(kept, plan, report=False))
    domains = None
    if settings.scoring.centring is not None:
        domains = read_domains(kept.paths.tolist(), plan.corpus, settings.scoring.centring.label)
    metadata = UtteranceMetadata({}, domains=domains)
    clean = result
    if entry.unusable:
        clean = evaluate_embeddings(kept.embeddings, kept.singer_index, metadata, settings)
    enrolled, tests = (embeddings, None) if is_both else (kept.embeddings, embeddings)
    degraded = evaluate_embeddings(enrolled, kept.singer_index, metadata, settings, test_embeddings=tests)
    return replace(
        entry,
        num_singers=len(kept.singers),
        metrics=degraded.metrics,
        clean=clean.metrics,
        resampled_eers=degraded.resampled_eers,
        resampled_clean=clean.resampled_eers,
    )


def _select_utterances(utterances: EvaluatedUtterances, indices: list[int]) -> EvaluatedUtterances:
    """Return some of the utterances, with the singers that are left numbered anew."""
    singers, singer_index = np.unique(utterances.singer_index[indices], return_inverse=True)
    paths = utterances.paths[indices]
    return replace(
        utterances,
        paths=paths,
        singers=tuple(utterances.singers[singer] for singer in singers.tolist()),
        singer_index=singer_index,
        labels={label: values[indices] for label, values in utterances.labels.items()},
        embeddings=utterances.embeddings[indices],
        contents=utterances.contents[indices] if len(utterances.contents) else utterances.contents,
        copies={copy: path for copy, path in utterances.copies.items() if path in paths},
        measures={name: values[indices] for name, values in utterances.measures.items()},
    )
