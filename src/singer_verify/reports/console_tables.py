"""Console tables of the commands: calibration, verification, identification, galleries, corpora, weights."""

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:  # verify prints one table: it waits neither for pandas nor for the metrics of the others
    import pandas as pd

    from singer_verify.evaluation.scoring.fitting import FittedMultiEnrolment, FittedScoring, LabelledEmbeddings
    from singer_verify.evaluation.scoring.scoring import Threshold
    from singer_verify.inference.bulk_enrolment import SingerEnrolment
    from singer_verify.inference.gallery_file import SingerLabels
    from singer_verify.inference.identification import IdentificationResult
    from singer_verify.inference.verification import VerificationResult
    from singer_verify.runs.packaged_model import PackagedModel
    from singer_verify.sweeps.machine_speed import MachineSpeed

DECISIONS = {True: "the same singer", False: "different singers", None: "none: no threshold"}
SECONDS_PER_HOUR = 3600


def build_calibration_record(
    evaluated: "LabelledEmbeddings", others: "LabelledEmbeddings | None", fitted: "FittedScoring"
) -> dict[str, Any]:
    """Build the plain values of a fitted scoring.

    Args:
        evaluated: embeddings whose trials it was fitted to.
        others: embeddings of projection and cohort; None without either.
        fitted: the scoring.
    """
    scoring = fitted.scoring
    assert scoring.calibration is not None
    assert scoring.threshold is not None
    return {
        "num_singers": evaluated.num_singers,
        "num_utterances": len(evaluated.singers),
        "num_trials": fitted.num_trials,
        "num_target_trials": fitted.num_targets,
        "num_trials_used": fitted.num_used,
        "domains": [] if scoring.centring is None else list(scoring.centring.means),
        "num_dims": None if scoring.projection is None else scoring.projection.matrix.shape[1],
        "num_nearest": None if scoring.cohort is None else scoring.cohort.num_nearest,
        "num_cohort_singers": 0 if others is None else others.num_singers,
        "num_cohort_utterances": 0 if others is None else len(others.singers),
        "slope": scoring.calibration.slope,
        "offset": scoring.calibration.offset,
        "origin": scoring.calibration.origin,
        "threshold": scoring.threshold.score,
        **fitted.metrics,
        "enrolment_score": scoring.enrolment_score,
        "several": [_build_several_record(enrolment) for enrolment in fitted.multi_enrolment],
    }


def _build_several_record(fitted: "FittedMultiEnrolment") -> dict[str, float]:
    """Build the plain values fitted for singers enrolled with several recordings."""
    several = fitted.multi_enrolment
    return {
        "num_recordings": several.num_recordings,
        "num_trials_used": fitted.num_trials,
        "slope": several.calibration.slope,
        "offset": several.calibration.offset,
        "threshold": several.threshold.score,
        "eer": fitted.eer,
    }


def build_calibration_table(result: dict[str, Any], model: Path) -> Table:
    """Build the table that `singer-verify calibrate` prints."""
    from singer_verify.evaluation.scoring.scoring import ENROLMENT_SCORE_WORDS

    table = Table(show_header=False, title=Text(f"{model} on {result['split']}"))  # not markup
    table.add_row("scoring", _format_fitted_scoring(result))
    table.add_row(
        "calibration",
        f"log-likelihood ratio = {result['slope']:.3f} × score {result['offset']:+.3f}, fitted for a "
        f"target prior of {result['prior']:g}",
    )
    table.add_row("threshold", f"{result['threshold']:.4f}, at the equal error rate")
    table.add_row("EER", f"{100 * result['eer']:.2f} %{_format_cosine_metric(result, 'eer', 100, ' %')}")
    table.add_row(
        "Cllr",
        f"{result['cllr']:.3f} bits; before calibration {result['cllr_uncalibrated']:.3f}, at best "
        f"{result['min_cllr']:.3f}{_format_cosine_metric(result, 'min_cllr', 1, '')}",
    )
    what = ENROLMENT_SCORE_WORDS[result["enrolment_score"]]
    for enrolment in result["several"]:
        table.add_row(
            f"known from {enrolment['num_recordings']}",
            f"threshold {enrolment['threshold']:.4f}, EER {100 * enrolment['eer']:.2f} %, of singers known from the "
            f"{what} of {enrolment['num_recordings']} recordings",
        )
    table.add_row("trials", _format_trial_counts(result))
    table.add_row("fitted to", Text(result["origin"]))
    table.add_row("caution", _format_caution(result))
    return table


def _format_fitted_scoring(result: dict[str, Any]) -> str:
    """Describe a scoring: "cosine after lda to 12 dimensions and s-norm (cohort: 572 utterances by 13 singers)"."""
    words = ["cosine"]
    if result["domains"]:
        words.append(f"after centring by {result['centre_by']} ({', '.join(result['domains'])})")
    if result["project"] != "none":
        fewer = f" to {result['num_dims']} dimensions" if result["project"] == "lda" else ""
        words.append(f"after {result['project']}{fewer}")
    if result["norm"] != "none":
        nearest = f" with the nearest {result['num_nearest']}" if result["num_nearest"] else ""
        words.append(f"and {result['norm']}{nearest}")
    if result["num_cohort_utterances"]:
        words.append(
            f"(cohort: {result['num_cohort_utterances']} utterances by {result['num_cohort_singers']} singers)"
        )
    return " ".join(words)


def _format_cosine_metric(result: dict[str, Any], name: str, factor: float, unit: str) -> str:
    """Format the same metric for the plain cosine, if the scoring is another."""
    if (result["centre_by"], result["project"], result["norm"]) == (None, "none", "none"):
        return ""
    decimals = 2 if unit else 3
    return f" (plain cosine {factor * result[f'{name}_cosine']:.{decimals}f}{unit})"


def _format_trial_counts(result: dict[str, Any]) -> str:
    used, all_of_them = result["num_trials_used"], result["num_trials"]
    drawn = "" if used == all_of_them else f", {used} of them drawn"
    return f"{all_of_them}, of which {result['num_target_trials']} target{drawn}"


def _format_caution(result: dict[str, Any]) -> str:
    from singer_verify.evaluation.metrics.bootstrap import MIN_RELIABLE_SINGERS

    few = (
        ", which is few: with other singers, threshold and ratios would differ"
        if result["num_singers"] < MIN_RELIABLE_SINGERS
        else ""
    )
    return (
        f"these metrics are on the {result['num_singers']} singers it was fitted to{few}; evaluate it on other singers"
    )


def build_verification_table(result: "VerificationResult") -> Table:
    """Build the table that `singer-verify verify` prints."""
    table = Table(show_header=False)
    table.add_row("score", f"{result.score:.4f}")
    table.add_row("threshold", Text(format_threshold(result.threshold)))
    table.add_row("decision", DECISIONS[result.is_same])
    if result.probability is not None:
        ratio = f"log-likelihood ratio {result.log_likelihood_ratio:.2f}"
        table.add_row(
            "probability", f"{result.probability:.3f} of the same singer at a prior of {result.prior:g} ({ratio})"
        )
    for remark in result.remarks:
        table.add_row("remark", Text(remark))
    return table


def format_identification(result: "IdentificationResult", recording: str) -> list[str]:
    """Format the best candidate, the threshold, and the remarks of an identification."""
    who = {True: result.best, False: "an unknown singer", None: "no threshold, so no decision"}
    return [f"{recording}: {who[result.is_known]}", f"threshold {format_threshold(result.threshold)}", *result.remarks]


def build_identification_table(result: "IdentificationResult") -> Table:
    """Build the table of all candidates, the likeliest first; those at or above their threshold in bold."""
    meaning = (
        None if result.prior is None else f"probability: of each singer separately, at a prior of {result.prior:g}"
    )
    table = Table(caption=meaning)
    names = ["rank", "singer", "recordings", "score"]
    names += [] if result.threshold is None else ["threshold"]
    names += [] if result.prior is None else ["probability"]
    for name in names:
        table.add_column(name, justify="left" if name == "singer" else "right")
    for rank, candidate in enumerate(result.candidates, start=1):
        numbers = [str(candidate.num_recordings), f"{candidate.score:.4f}"]
        numbers += [] if candidate.threshold is None else [f"{candidate.threshold:.4f}"]
        numbers += [] if candidate.probability is None else [f"{candidate.probability:.3f}"]
        table.add_row(str(rank), Text(candidate.singer), *numbers, style="bold" if candidate.is_accepted else None)
    return table


def build_gallery_table(recordings: dict[str, list[str]], gallery: str, labels: "SingerLabels | None" = None) -> Table:
    """Build the table that `singer-verify gallery` prints, with a column for each label that a singer has.

    Args:
        recordings: recordings of each singer.
        gallery: path of the gallery.
        labels: labels of singers.
    """
    labels = labels or {}
    table = Table(title=Text(gallery), show_lines=True)
    names = list(dict.fromkeys(name for values in labels.values() for name in values))
    for heading in ("singer", *names):
        table.add_column(Text(heading))
    table.add_column("recordings", overflow="fold")
    for singer, paths in recordings.items():
        values = [Text(labels.get(singer, {}).get(name, "")) for name in names]
        table.add_row(Text(singer), *values, Text("\n".join(paths)))
    return table


def build_bulk_enrolment_table(
    singers: "dict[str, SingerEnrolment]", num_recordings: dict[str, int], gallery: str
) -> Table:
    """Build the table that `singer-verify enrol --from` prints: a row for each singer, and their sum.

    Args:
        singers: what became of the recordings of each singer.
        num_recordings: number of recordings of each singer in the gallery now.
        gallery: path of the gallery.
    """
    columns = ("added", "enrolled before", "left out")
    table = Table(title=Text(gallery), show_footer=True)
    table.add_column("singer", footer=f"{len(singers)} singers")
    sums = [sum(counts) for counts in zip(*(vars(enrolment).values() for enrolment in singers.values()), strict=True)]
    for heading, total in zip((*columns, "in the gallery"), (*sums, sum(num_recordings.values())), strict=True):
        table.add_column(heading, footer=str(total), justify="right")
    for singer, enrolment in singers.items():
        numbers = (enrolment.added, enrolment.present, enrolment.left_out, num_recordings[singer])
        table.add_row(Text(singer), *map(str, numbers), style=None if num_recordings[singer] else "bold")
    return table


def build_machine_speed_table(result: "MachineSpeed", model: str) -> Table:
    """Build the table of speeds that `singer-verify bench` prints."""
    table = Table(title=Text(model), caption="times faster than real time: median and range of the repetitions")
    for heading in ("what", "device", "threads", "× real time", "range", "runs"):
        table.add_column(heading, justify="left" if heading in ("what", "device") else "right")
    before = None
    for measurement in result.measurements:
        place = measurement.device, measurement.num_threads
        if before not in (None, place):
            table.add_section()
        before = place
        unit = f" window{'s' if measurement.batch > 1 else ''}" if measurement.stage == "encoder" else ""
        count = f", {measurement.batch}{unit}" if unit or measurement.batch > 1 else ""
        lowest, highest = (_format_speed(extreme(measurement.speeds)) for extreme in (min, max))
        table.add_row(
            f"{measurement.stage}{count}",
            measurement.device,
            str(measurement.num_threads),
            _format_speed(measurement.median),
            f"{lowest} to {highest}",
            str(len(measurement.speeds)),
        )
    return table


def _format_speed(speed: float) -> str:
    """Format a multiple of real time: 7.3, 52, 1240."""
    return f"{speed:.1f}" if speed < 10 else f"{speed:.0f}"


def format_cold_start(result: "MachineSpeed") -> list[str]:
    """Format how long the first call takes, and how much memory is used."""
    cold = result.cold_start
    lines = [
        f"First embedding {cold.import_s + cold.load_s + cold.first_s:.1f} s after the start of a process:",
        f"  {cold.import_s:.1f} s to import, {cold.load_s:.2f} s to load, {cold.first_s:.2f} s to embed 10 s "
        f"({cold.second_s:.2f} s again).",
    ]
    if not math.isnan(cold.peak_mib):
        lines.append(f"Memory: {cold.loaded_mib:.0f} MiB with the model loaded, {cold.peak_mib:.0f} MiB at most.")
    if result.gpu:
        lines.append(f"{result.gpu}: {result.gpu_peak_mib:.0f} MiB at most.")
    return lines


def format_threshold(threshold: "Threshold | None") -> str:
    """Format a threshold and its origin."""
    return "none; set one with --threshold" if threshold is None else f"{threshold.score:.4f} ({threshold.origin})"


def build_corpus_table(utterances: "pd.DataFrame", title: str) -> Table:
    """Build the table of a prepared corpus: a row per split, and the labels.

    Args:
        utterances: the columns of `corpus.csv`.
        title: title of the table.
    """
    from singer_verify.corpora.corpus import SPLITS

    table = Table(title=title, caption=_format_label_counts(utterances))
    for name in ("split", "singers", "by gender", "utterances", "hours", "sample rates (Hz)"):
        table.add_column(name, justify="left" if name in ("split", "by gender") else "right")
    for split in [name for name in SPLITS if (utterances["split"] == name).any()]:
        part = utterances[utterances["split"] == split]
        hours = part["seconds"].astype(float).sum() / SECONDS_PER_HOUR
        rates = ", ".join(str(rate) for rate in sorted(part["sample_rate"].unique()))
        table.add_row(
            split, str(part["singer"].nunique()), _format_genders(part), str(len(part)), f"{hours:.2f}", rates
        )
    return table


def _format_genders(part: "pd.DataFrame") -> str:
    if "gender" not in part:
        return "unknown"
    genders = part.groupby("singer")["gender"].first()
    return ", ".join(f"{count} {name or 'unknown'}" for name, count in sorted(genders.value_counts().items()))


def _format_label_counts(utterances: "pd.DataFrame") -> str:
    from singer_verify.corpora.labels import NON_LABEL_COLUMNS, UTTERANCE_COLUMN

    names = [str(name) for name in utterances.columns if name not in (UTTERANCE_COLUMN, *NON_LABEL_COLUMNS)]
    counts = [f"{name} ({utterances[name][utterances[name] != ''].nunique()})" for name in names]
    return f"labels and their numbers of values: {', '.join(counts) or 'none'}"


def format_packaged_model(model: "PackagedModel | None") -> str:
    """Format the lines on the model that comes with the package."""
    if model is None:
        return "No model comes with this installation.\n"
    licence = f", licence {model.licence}" if model.licence else ""
    card = f"\n  its card: {model.card}" if model.card.is_file() else ""
    return f"{model.title} comes with the package{licence}: commands that name no model use it.\n  {model.path}{card}\n"


def build_published_weights_table() -> Group:
    """Build the table of the weights that can be imported, and the lines that tell where they are to be had."""
    from singer_verify.training.weight_layouts.published import MEASURED_CORPORA, PUBLISHED_WEIGHTS

    table = Table()
    for heading in ("network", "licence"):
        table.add_column(heading)
    for heading in ("parameters", *(f"EER %\n{corpus}" for corpus in MEASURED_CORPORA)):
        table.add_column(heading, justify="right")
    for weights in PUBLISHED_WEIGHTS:
        count = "" if weights.num_parameters is None else f"{weights.num_parameters / 1e6:.1f} M"
        eers = [weights.eers.get(corpus) for corpus in MEASURED_CORPORA]
        rates = ["" if eer is None else f"{100 * eer:.1f}" for eer in eers]
        table.add_row(weights.name, weights.licence, count, *rates)
    lines = [f"{weights.name}: {weights.origin}" for weights in PUBLISHED_WEIGHTS]
    commands = [
        f"  singer-verify import-weights FILE {weights.options + ' ' if weights.options else ''}--out RUN"
        for weights in PUBLISHED_WEIGHTS
    ]
    trials = "; ".join(f"{corpus}, {measured}" for corpus, measured in MEASURED_CORPORA.items())
    notes = [line for pair in zip(lines, commands, strict=True) for line in pair]
    return Group(table, f"Singers nobody trained on: {trials}. An empty cell was not measured.", *map(Text, notes))
