"""The command that judges a model on the singers of a corpus."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from singer_verify.cli.embedding import judged_utterances
from singer_verify.cli.models import ModelArgument
from singer_verify.entry import LOGGER

if TYPE_CHECKING:  # torch takes seconds to import
    from singer_verify.evaluation.conditions import Descriptions
    from singer_verify.evaluation.judgement import JudgedUtterances
    from singer_verify.evaluation.trials import Trials

FEWEST_COLUMNS = 120  # of the tables, so that a line is a condition
LENGTH, PITCH = "length", "pitch"  # conditions that are measured, beside the labels


def evaluate(
    model: ModelArgument,
    corpus: Annotated[Path, typer.Argument(help="A corpus folder, <root>/<split>/<singer>/**/<utterance>.")],
    split: Annotated[str, typer.Option(help="The split to evaluate on.")] = "val",
    trials: Annotated[Path | None, typer.Option(help="A list of trials (default: all pairs of utterances)")] = None,
    conditions: Annotated[
        str | None, typer.Option(help="Labels, length, pitch, separated by commas, or none (default: all there are)")
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
    from singer_verify.errors import require_at_least
    from singer_verify.evaluation.judging import Evaluation, judge
    from singer_verify.recognition import Embedder
    from singer_verify.recognition.model_scoring import scoring_of
    from singer_verify.reports.evaluation_about import About, scoring_in_words
    from singer_verify.reports.evaluation_files import figures_record
    from singer_verify.reports.evaluation_folder import write_report
    from singer_verify.reports.evaluation_text import conditions_table, judgement_table
    from singer_verify.runs.choosing import chose_model

    require_at_least(1, **{"--enrol": enrol})
    require_at_least(20, **{"--resamples": resamples})
    require_at_least(0, **{"--seed": seed})
    chosen = _chosen_conditions(conditions, corpus)
    fitted = scoring_of(model, scoring, threshold)
    utterances = judged_utterances(Embedder.load(model), corpus, split)
    listed = None if trials is None else _listed(trials, corpus, utterances)
    evaluation = Evaluation(fitted, listed, enrol, resamples, seed)
    described = _described(utterances, corpus, chosen)
    judgement = judge(utterances.embeddings, utterances.singer_index, described, evaluation, _progress)
    about = About(
        model=model.resolve().name,
        corpus=corpus.resolve().name,
        split=split,
        scoring=scoring_in_words(fitted),
        trials="all pairs" if trials is None else f"those of {trials.name}",
        calibrated_threshold=None if fitted.calibration is None else fitted.calibration.threshold(0.5),
        chose_model=chose_model(model, corpus / str(utterances.paths[0]), split),
    )
    if out is not None:
        write_report(judgement, utterances, about, out, corpus, ("tsne", "umap") if umap else ("tsne",))
    if as_json:
        typer.echo(json.dumps(figures_record(judgement, utterances, about), indent=2))
        return
    console = Console(width=max(Console().width, FEWEST_COLUMNS))
    console.print(judgement_table(judgement, utterances, about))
    console.print(conditions_table(judgement.conditions))
    typer.echo(f"{out}: report.html and its figures and tables." if out else "--out DIR writes a report with figures.")


def _chosen_conditions(wanted: str | None, corpus: Path) -> set[str]:
    """Names of labels, `length` and `pitch`."""
    from singer_verify.corpora.labels import read_labels
    from singer_verify.errors import require_one_of

    allowed = [*map(str, read_labels(corpus).columns), LENGTH, PITCH]
    if wanted is None:
        return set(allowed)
    chosen = [] if wanted == "none" else wanted.split(",")
    for name in chosen:
        require_one_of((*allowed, "none"), **{"--conditions": name})
    return set(chosen)


def _listed(path: Path, corpus: Path, utterances: "JudgedUtterances") -> "Trials":
    """The trials of a list that can be judged; its faults are named and counted."""
    from singer_verify.evaluation.trial_checks import diagnose, usable
    from singer_verify.evaluation.trial_files import read_trials
    from singer_verify.evaluation.trial_findings import sentences
    from singer_verify.evaluation.trial_paths import indices_in

    listed = read_trials(path)
    singers = [utterances.singers[number] for number in utterances.singer_index]
    diagnosis = diagnose(listed, corpus, dict(zip(utterances.paths.tolist(), singers, strict=True)))
    for sentence in sentences(diagnosis):
        LOGGER.warning("%s: %s", path, sentence)
    return indices_in(usable(listed, diagnosis), utterances.paths)


def _described(utterances: "JudgedUtterances", corpus: Path, chosen: set[str]) -> "Descriptions":
    """What the conditions need to know; ready features have neither length nor pitch."""
    import numpy as np
    from rich.progress import track

    from singer_verify.audio import AUDIO_SUFFIXES
    from singer_verify.evaluation.conditions import Descriptions
    from singer_verify.recognition.descriptions import lengths_and_pitches
    from singer_verify.workers import num_cores

    labels = {label: values for label, values in utterances.labels.items() if label in chosen}
    paths = [corpus / str(path) for path in utterances.paths]
    is_audio = all(path.suffix.lower() in AUDIO_SUFFIXES for path in paths)
    if not is_audio or not {LENGTH, PITCH} & chosen:
        return Descriptions(labels)
    measured = lengths_and_pitches(paths, num_cores())
    shown = track(measured, "Measuring length and pitch", total=len(paths), console=Console(stderr=True))
    seconds, median_f0_hz = np.array(list(shown)).T
    return Descriptions(labels, seconds if LENGTH in chosen else None, median_f0_hz if PITCH in chosen else None)


def _progress(singers: Iterable[int], doing: str) -> Iterable[int]:
    from rich.progress import track

    return track(list(singers), doing, console=Console(stderr=True), transient=True)
