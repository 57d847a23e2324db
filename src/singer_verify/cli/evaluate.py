"""The command that evaluates a model on a split of a corpus."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from singer_verify.cli.application import (
    CorpusArgument,
    DeviceOption,
    DomainOption,
    EnrolmentScoreOption,
    JsonOption,
    ModelArgument,
    ScoringOption,
    ThresholdOption,
    app,
    parse_degradation_options,
    show_progress,
    takes_trust,
)
from singer_verify.cli.console import print_result, tell_page
from singer_verify.progress_bars import can_draw

if TYPE_CHECKING:  # torch takes seconds to import: only commands that need it do
    from singer_verify.evaluation.results import EvaluatedUtterances, EvaluationResult, RobustnessResult
    from singer_verify.inference.evaluation_context import EvaluationContext

MAX_CONFOUND_COLUMNS = 80
MIN_PIPED_COLUMNS = 120  # width of the tables in a file or a pipe, so that a condition fits on one line


@app.command("evaluate")
@takes_trust
def evaluate_model(
    model_path: ModelArgument,
    corpus: CorpusArgument,
    split: Annotated[str, typer.Option(help="The split to evaluate on.")] = "val",
    trials: Annotated[
        Path | None, typer.Option(help="A list of trials (default: all pairs of utterances); one side may be singers.")
    ] = None,
    conditions: Annotated[
        str | None,
        typer.Option(
            help="Labels, length, pitch, or names of conditions such as hard, separated by commas; 'cross song + same "
            "gender' joins two; none for none of them (default: all)."
        ),
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for a report: a page, figures, tables.")] = None,
    scoring: ScoringOption = None,
    threshold: ThresholdOption = None,
    domain: DomainOption = None,
    enrol: Annotated[int, typer.Option(help="Enrolment utterances per singer, for identification.")] = 3,
    enrolment_score: EnrolmentScoreOption = None,
    resamples: Annotated[int, typer.Option(help="Resamples of the bootstrap over singers.")] = 500,
    seed: Annotated[
        int, typer.Option(help="Seed of the bootstrap, of the draw of enrolment utterances and of degradations.")
    ] = 0,
    confounds: Annotated[
        bool, typer.Option(help="Tell what labels, levels and durations alone would score, and how conditions differ.")
    ] = True,
    umap: Annotated[bool, typer.Option("--umap", help="Draw a UMAP of the embeddings as well.")] = False,
    degrade: Annotated[
        str | None,
        typer.Option(
            help="Evaluate again after degradations: standard, or noise, reverb, mp3, band_limit, gain, accompaniment, "
            "pitch_shift, tempo, clipping, opus, aac, separated by commas; with strengths: noise=20:10:0,mp3=64."
        ),
    ] = None,
    degrade_sides: Annotated[
        str, typer.Option(help="What is degraded: test (the other side stays clean) or both sides of a trial.")
    ] = "test",
    accompaniment: Annotated[
        Path | None, typer.Option(help="Folder of audio files to accompany the voice (default: synthesised).")
    ] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Evaluate a model: error rates and costs with 95 % intervals over singers, by condition, and its worst errors.

    Example: singer-verify evaluate runs/first /corpora/vocalset --out report
    """
    from singer_verify.evaluation.embedding_map import MIN_MAP_UTTERANCES, map_utterances
    from singer_verify.evaluation.evaluate import select_models_scoring
    from singer_verify.inference import load_model, load_model_scoring
    from singer_verify.inference.evaluation import (
        embed_split,
        evaluate_utterances,
        plan_evaluation,
        require_known_domains,
    )
    from singer_verify.inference.evaluation_context import build_evaluation_context, describe_models
    from singer_verify.inference.recording_measures import find_f0_settings
    from singer_verify.inference.robustness import evaluate_degradations, require_audio
    from singer_verify.reports.evaluation.files import REPORT_FILE_NAME, write_evaluation_report

    _check_evaluation_options(enrol, resamples, seed, umap, out)
    _check_degraded_sides(degrade, degrade_sides)
    degradations = parse_degradation_options(degrade, accompaniment, seed)
    plan = plan_evaluation(corpus, split, trials, conditions, confounds)
    if degradations:
        require_audio(None, plan)
    model = load_model(model_path, device)
    model_scoring = load_model_scoring(model, scoring, threshold, domain, enrolment_score)
    require_known_domains(model_scoring, plan)
    if degradations:
        require_audio(model, plan)
    scoring_as_loaded = model_scoring
    utterances = embed_split(model, corpus, split, show_progress, confounds)
    settings = enrol, resamples, seed, show_progress, find_f0_settings(model.feature.recipe)
    result = evaluate_utterances(utterances, model_scoring, plan, *settings)
    source = "all pairs" if trials is None else f"those of {trials.name}"
    if result.models is not None:
        source += f" ({describe_models(result.models, model_scoring)})"
        model_scoring = select_models_scoring(model_scoring, result.models)
    context = build_evaluation_context(model, corpus, split, model_scoring, utterances, source)
    if not (as_json and degradations):  # which are one JSON
        _print_evaluation(result, utterances, context, as_json)
    robustness = None
    if degradations:
        arguments = (model, utterances, result, scoring_as_loaded, plan, degradations, degrade_sides)
        robustness = evaluate_degradations(*arguments, enrol, resamples, seed, show_progress)
        _print_robustness(robustness, result, utterances, context, as_json)
    if out is not None:  # after the metrics were printed: a full disk does not take them
        methods = ("tsne", "umap") if umap else ("tsne",)
        has_map = len(utterances.paths) >= MIN_MAP_UTTERANCES
        maps = [map_utterances(utterances.embeddings, method) for method in methods if has_map]
        write_evaluation_report(result, utterances, context, out, corpus, maps, robustness)
    if not as_json:
        if out is None:
            typer.echo("--out DIR writes a report with figures.")
        else:
            typer.echo(f"{out}: report.html and its figures and tables.")
            tell_page(out / REPORT_FILE_NAME)


def _check_evaluation_options(enrol: int, resamples: int, seed: int, umap: bool, out: Path | None) -> None:
    """Refuse what would otherwise fail only after an hour's work."""
    from singer_verify.errors import SingerVerifyError, format_installation, require_at_least
    from singer_verify.evaluation.embedding_map import find_available_methods
    from singer_verify.reports.evaluation.files import require_report_folder

    require_at_least(1, **{"--enrol": enrol})
    require_at_least(20, **{"--resamples": resamples})
    require_at_least(0, **{"--seed": seed})
    if umap and "umap" not in find_available_methods():
        raise SingerVerifyError(
            f"--umap: umap-learn is not installed; {format_installation('umap')}, or leave --umap out."
        )
    if out is not None:
        require_report_folder(out)


def _check_degraded_sides(degrade: str | None, sides: str) -> None:
    from singer_verify.errors import SingerVerifyError, require_choice
    from singer_verify.inference.robustness import SIDES, TEST_SIDE

    require_choice(SIDES, **{"--degrade-sides": sides})
    if degrade is None and sides != TEST_SIDE:
        raise SingerVerifyError(f"--degrade-sides {sides}: nothing is degraded; add --degrade, or leave it out.")


def _print_robustness(
    robustness: "RobustnessResult",
    result: "EvaluationResult",
    utterances: "EvaluatedUtterances",
    context: "EvaluationContext",
    as_json: bool,
) -> None:
    from singer_verify.reports.evaluation.files import build_evaluation_record
    from singer_verify.reports.evaluation.robustness import build_robustness_table

    if as_json:
        typer.echo(json.dumps(build_evaluation_record(result, utterances, context, robustness), indent=2))
    else:
        print_result(build_robustness_table(robustness))


def _print_evaluation(
    result: "EvaluationResult", utterances: "EvaluatedUtterances", context: "EvaluationContext", as_json: bool
) -> None:
    from singer_verify.reports.evaluation.confounds import build_confound_table
    from singer_verify.reports.evaluation.files import build_evaluation_record
    from singer_verify.reports.evaluation.text import build_conditions_table, build_evaluation_table

    if as_json:
        typer.echo(json.dumps(build_evaluation_record(result, utterances, context), indent=2))
        return
    console = Console()
    if not can_draw(console):
        console = Console(width=max(console.width, MIN_PIPED_COLUMNS))
    print_result(
        build_evaluation_table(result, utterances, context),
        build_conditions_table(result.conditions, console.width),
        console=console,
    )
    if result.confounds is not None:
        console.print(build_confound_table(result), width=min(console.width, MAX_CONFOUND_COLUMNS))
