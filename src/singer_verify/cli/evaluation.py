"""The command that judges a model on the singers of a corpus."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from singer_verify.cli.embedding import judged_utterances
from singer_verify.cli.models import ModelArgument

if TYPE_CHECKING:  # torch takes seconds to import
    from singer_verify.evaluation.judgement import JudgedUtterances, Judgement
    from singer_verify.reports.evaluation_about import About

FEWEST_COLUMNS = 120  # of the tables, so that a line is a condition


def evaluate(
    model: ModelArgument,
    corpus: Annotated[Path, typer.Argument(help="A corpus folder, <root>/<split>/<singer>/**/<utterance>.")],
    split: Annotated[str, typer.Option(help="The split to evaluate on.")] = "val",
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
    from singer_verify.cli.judging import chosen_of_split, described, judged, trials_of
    from singer_verify.evaluation.judging import Evaluation
    from singer_verify.evaluation.trial_files import read_trials
    from singer_verify.recognition import Embedder
    from singer_verify.recognition.model_scoring import scoring_of
    from singer_verify.reports.evaluation_about import about_evaluation
    from singer_verify.reports.evaluation_folder import write_report

    _check(enrol, resamples, seed, umap, out)
    listed = None if trials is None else read_trials(trials)
    choice = chosen_of_split(conditions, corpus, split)
    fitted = scoring_of(model, scoring, threshold)
    utterances = judged_utterances(Embedder.load(model), corpus, split)
    numbered = None if trials is None or listed is None else trials_of(listed, trials, corpus, utterances)
    evaluation = Evaluation(fitted, numbered, enrol, resamples, seed, choice.names)
    judgement = judged(utterances, described(utterances, corpus, choice), evaluation)
    source = "all pairs" if trials is None else f"those of {trials.name}"
    about = about_evaluation(model, corpus, split, fitted, utterances, source)
    _print(judgement, utterances, about, as_json)
    if out is not None:  # after the figures were printed: a full disk does not take them
        write_report(judgement, utterances, about, out, corpus, ("tsne", "umap") if umap else ("tsne",))
    if not as_json:
        typer.echo(
            f"{out}: report.html and its figures and tables." if out else "--out DIR writes a report with figures."
        )


def _check(enrol: int, resamples: int, seed: int, umap: bool, out: Path | None) -> None:
    """Refuse what would be found wrong only after an hour's work."""
    from singer_verify.errors import SingerVerifyError, require_at_least
    from singer_verify.reports.embedding_map import available_methods
    from singer_verify.reports.evaluation_folder import require_place

    require_at_least(1, **{"--enrol": enrol})
    require_at_least(20, **{"--resamples": resamples})
    require_at_least(0, **{"--seed": seed})
    if umap and "umap" not in available_methods():
        raise SingerVerifyError(
            "--umap: umap-learn is not installed; pip install 'singer_verify[umap]', or leave --umap out."
        )
    if out is not None:
        require_place(out)


def _print(judgement: "Judgement", utterances: "JudgedUtterances", about: "About", as_json: bool) -> None:
    from singer_verify.reports.evaluation_files import figures_record
    from singer_verify.reports.evaluation_text import conditions_table, judgement_table

    if as_json:
        typer.echo(json.dumps(figures_record(judgement, utterances, about), indent=2))
        return
    console = Console(width=max(Console().width, FEWEST_COLUMNS))
    console.print(judgement_table(judgement, utterances, about))
    console.print(conditions_table(judgement.conditions))
