"""The steps of `evaluate`, each with progress and with a word on what is left out."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track

from singer_verify.cli.console import LOGGER
from singer_verify.cli.embed import embed_split
from singer_verify.cli.options import ModelArgument
from singer_verify.corpora.corpus import read_corpus
from singer_verify.corpora.labels import read_utterance_labels
from singer_verify.evaluation.conditions import ConditionSelection, UtteranceMetadata, select_conditions
from singer_verify.evaluation.evaluate import EvaluationSettings, evaluate
from singer_verify.evaluation.results import EvaluatedUtterances, EvaluationResult
from singer_verify.evaluation.trials.paths import index_trials
from singer_verify.evaluation.trials.trial_list import TrialList, Trials
from singer_verify.evaluation.trials.validation import format_fault_messages, select_valid_trials, validate_trials
from singer_verify.inference.descriptions import measure_median_f0, read_durations
from singer_verify.worker_processes import count_available_cores

if TYPE_CHECKING:  # torch takes seconds to import
    from singer_verify.reports.evaluation.about import EvaluationContext


def choose_split_conditions(wanted: str | None, corpus: Path, split: str) -> ConditionSelection:
    """The conditions that a user wants, of those that the labels of a split allow.

    Raises:
        SingerVerifyError: see `select_conditions` and `read_corpus`.
    """
    read = read_corpus(corpus, splits=(split,), required=(split,))
    paths = [utterance.path for utterance in read.splits[split].utterances]
    return select_conditions(
        wanted, read_utterance_labels(paths, corpus), is_measurable=not read.has_precomputed_features
    )


def select_usable_trials(listed: TrialList, path: Path, corpus: Path, utterances: EvaluatedUtterances) -> Trials:
    """The trials of a list that can be judged; its faults are named and counted."""
    singers = [utterances.singers[number] for number in utterances.singer_index]
    diagnosis = validate_trials(listed, corpus, dict(zip(utterances.paths.tolist(), singers, strict=True)))
    for sentence in format_fault_messages(diagnosis):
        LOGGER.warning("%s: %s", path, sentence)
    return index_trials(select_valid_trials(listed, diagnosis), utterances.paths)


def measure_descriptions(
    utterances: EvaluatedUtterances, corpus: Path, choice: ConditionSelection
) -> UtteranceMetadata:
    """What the conditions need to know, and no more: pitch takes as long to measure as embedding does."""
    paths = [corpus / str(path) for path in utterances.paths]
    console = Console(stderr=True)
    labels = {label: values for label, values in utterances.labels.items() if label in choice.labels}
    seconds = median_f0_hz = None
    if choice.needs_length:
        seconds = np.array(list(read_durations(paths)))
    if choice.needs_pitch:
        shown = track(
            measure_median_f0(paths, count_available_cores()), "Measuring pitch", total=len(paths), console=console
        )
        median_f0_hz = np.array(list(shown))
    return UtteranceMetadata(labels, seconds, median_f0_hz)


def evaluate_with_progress(
    utterances: EvaluatedUtterances, descriptions: UtteranceMetadata, evaluation: EvaluationSettings
) -> EvaluationResult:
    """See `evaluate`."""
    return evaluate(utterances.embeddings, utterances.singer_index, descriptions, evaluation, _track_singers)


def _track_singers(singers: Iterable[int], doing: str) -> Iterable[int]:
    return track(list(singers), doing, console=Console(stderr=True), transient=True)


MIN_CONSOLE_COLUMNS = 120  # of the tables, so that a line is a condition


def evaluate_model(
    model_path: ModelArgument,
    corpus: Annotated[Path, typer.Argument(help="A corpus folder, <root>/<split>/<singer>/**/<utterance>.")],
    split: Annotated[str, typer.Option(help="The split to evaluate_model on.")] = "val",
    trials: Annotated[Path | None, typer.Option(help="A list of trials (default: all pairs of utterances)")] = None,
    conditions: Annotated[
        str | None,
        typer.Option(help="Labels, length, pitch, names like hard, separated by commas, or none (default: all)"),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for the report: a page, figures, tables.")] = None,
    scoring: Annotated[Path | None, typer.Option(help="Of `calibrate` (default: the run's, or cosine)")] = None,
    threshold: Annotated[float | None, typer.Option(help="Of scores, judged as if it had been chosen before.")] = None,
    enrol: Annotated[int, typer.Option(help="Utterances from which a singer is known, for identification.")] = 3,
    resamples: Annotated[int, typer.Option(help="Of the bootstrap over singers.")] = 500,
    seed: Annotated[int, typer.Option(help="Of the bootstrap and of the draw of enrolment utterances.")] = 0,
    umap: Annotated[bool, typer.Option("--umap", help="Draw a UMAP of the embeddings too.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Judge a model: error rates and costs with 95 % intervals over singers, by condition, and where it fails."""
    from singer_verify.evaluation.embedding_map import MIN_MAP_UTTERANCES, map_utterances
    from singer_verify.evaluation.evaluate import EvaluationSettings
    from singer_verify.evaluation.trials.formats import read_trials
    from singer_verify.inference import load_model
    from singer_verify.inference.scoring_file import load_model_scoring
    from singer_verify.reports.evaluation.about import build_evaluation_context
    from singer_verify.reports.evaluation.files import write_evaluation_report

    _check_evaluation_options(enrol, resamples, seed, umap, out)
    listed = None if trials is None else read_trials(trials)
    choice = choose_split_conditions(conditions, corpus, split)
    model = load_model(model_path)
    fitted = load_model_scoring(model, scoring, threshold)
    utterances = embed_split(model, corpus, split)
    numbered = None if trials is None or listed is None else select_usable_trials(listed, trials, corpus, utterances)
    evaluation = EvaluationSettings(fitted, numbered, enrol, resamples, seed, choice.names)
    judgement = evaluate_with_progress(utterances, measure_descriptions(utterances, corpus, choice), evaluation)
    source = "all pairs" if trials is None else f"those of {trials.name}"
    about = build_evaluation_context(model, corpus, split, fitted, utterances, source)
    _print_evaluation(judgement, utterances, about, as_json)
    if out is not None:  # after the figures were printed: a full disk does not take them
        methods = ("tsne", "umap") if umap else ("tsne",)
        has_map = len(utterances.paths) >= MIN_MAP_UTTERANCES
        maps = [map_utterances(utterances.embeddings, method) for method in methods if has_map]
        write_evaluation_report(judgement, utterances, about, out, corpus, maps)
    if not as_json:
        typer.echo(
            f"{out}: report.html and its figures and tables." if out else "--out DIR writes a report with figures."
        )


def _check_evaluation_options(enrol: int, resamples: int, seed: int, umap: bool, out: Path | None) -> None:
    """Refuse what would be found wrong only after an hour's work."""
    from singer_verify.errors import SingerVerifyError, require_at_least
    from singer_verify.evaluation.embedding_map import find_available_methods
    from singer_verify.reports.evaluation.files import require_report_folder

    require_at_least(1, **{"--enrol": enrol})
    require_at_least(20, **{"--resamples": resamples})
    require_at_least(0, **{"--seed": seed})
    if umap and "umap" not in find_available_methods():
        raise SingerVerifyError(
            "--umap: umap-learn is not installed; pip install 'singer_verify[umap]', or leave --umap out."
        )
    if out is not None:
        require_report_folder(out)


def _print_evaluation(
    judgement: "EvaluationResult", utterances: "EvaluatedUtterances", about: "EvaluationContext", as_json: bool
) -> None:
    from singer_verify.reports.evaluation.files import build_evaluation_record
    from singer_verify.reports.evaluation.text import build_conditions_table, build_evaluation_table

    if as_json:
        typer.echo(json.dumps(build_evaluation_record(judgement, utterances, about), indent=2))
        return
    console = Console(width=max(Console().width, MIN_CONSOLE_COLUMNS))
    console.print(build_evaluation_table(judgement, utterances, about))
    console.print(build_conditions_table(judgement.conditions))
