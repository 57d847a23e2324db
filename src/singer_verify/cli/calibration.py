"""The command that fits a model's scoring: projection, cohort, calibration, threshold."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from singer_verify.cli.embedding import embed_files, singers_of_split
from singer_verify.cli.models import ModelArgument
from singer_verify.cli.places import require_file_place
from singer_verify.entry import LOGGER

if TYPE_CHECKING:  # torch and scikit-learn take seconds to import
    from singer_verify.evaluation.scoring import Scoring
    from singer_verify.evaluation.scoring_fitting import SungBy
    from singer_verify.recognition import Embedder


def calibrate(
    model: ModelArgument,
    corpus: Annotated[Path, typer.Argument(help="A corpus folder, <root>/<split>/<singer>/**/<utterance>.")],
    split: Annotated[str, typer.Option(help="The split to calibrate on.")] = "val",
    project: Annotated[str, typer.Option(help="none, centre, whiten or lda, fitted to the cohort.")] = "none",
    dims: Annotated[int | None, typer.Option(help="Of lda (default: singers of the cohort less one)")] = None,
    norm: Annotated[str, typer.Option(help="none, s-norm or as-norm (adaptive), against the cohort.")] = "none",
    nearest: Annotated[int | None, typer.Option(help="Of as-norm (default: 200, of a small cohort a quarter)")] = None,
    cohort: Annotated[
        Path | None, typer.Option(help="Other singers: a corpus, or a folder of singers (default: CORPUS)")
    ] = None,
    cohort_split: Annotated[str, typer.Option(help="The split of the cohort, where it is a corpus.")] = "train",
    prior: Annotated[float, typer.Option(help="Share of trials of one singer that the calibration is best for.")] = 0.5,
    out: Annotated[Path | None, typer.Option(help="The .npz to write (default: scoring.npz in the run folder)")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Fit how a model's embeddings are scored: log-likelihood ratios, threshold; projection and cohort if wanted.

    Ratios and thresholds are fitted to pairs of recordings, and to recordings against singers known from 2, 3, 5 and 10
    others, as far as the corpus has so many of each singer.
    """
    from singer_verify.card import CARD_KEY
    from singer_verify.evaluation.scoring_fitting import fit_scoring, refuse_shared_singers
    from singer_verify.recognition import Embedder
    from singer_verify.recognition.scoring_file import save_scoring
    from singer_verify.reports.calibration import calibration_table, fitted_values
    from singer_verify.runs.checkpoints import checkpoint_of, read_checkpoint
    from singer_verify.runs.fingerprint import fingerprint

    _check(project, dims, norm, nearest, cohort, prior)
    path = _out_path(model, out)
    needs_cohort = (project, norm) != ("none", "none")
    checkpoint, embedder = read_checkpoint(checkpoint_of(model)), Embedder.load(model)
    judged_files = singers_of_split(corpus, split)
    cohort_files = _cohort_files(embedder, cohort or corpus, cohort_split) if needs_cohort else {}
    refuse_shared_singers(set(judged_files.values()), set(cohort_files.values()))
    others = _embedded(embedder, cohort_files) if needs_cohort else None
    scoring = _uncalibrated(others, project, dims, norm, nearest)
    judged = _embedded(embedder, judged_files)
    _warn_of_heard_singers(judged, checkpoint[CARD_KEY])
    origin = f"{judged.num_singers} singers of {corpus.resolve().name}/{split}"
    fitted = fit_scoring(scoring, judged, origin, prior)
    save_scoring(path, fitted.scoring, fingerprint(checkpoint))
    result = {"out": str(path), "split": split, "project": project, "norm": norm, "prior": prior}
    result |= fitted_values(judged, others, fitted)
    if as_json:
        typer.echo(json.dumps(result, indent=2))
    else:
        Console().print(calibration_table(result, model))
        typer.echo(f"{path}: written.")


def _check(project: str, dims: int | None, norm: str, nearest: int | None, cohort: Path | None, prior: float) -> None:
    """Refuse settings that are none, and those that would have no effect."""
    from singer_verify.errors import SingerVerifyError, require_at_least, require_between, require_one_of
    from singer_verify.evaluation.calibration_fitting import LEAST_PRIOR
    from singer_verify.evaluation.scoring_fitting import NORMS, PROJECTIONS

    require_one_of(PROJECTIONS, **{"--project": project})
    require_one_of(NORMS, **{"--norm": norm})
    require_between(LEAST_PRIOR, 1.0 - LEAST_PRIOR, **{"--prior": prior})
    for option, value, least, needed in (
        ("--dims", dims, 1, "--project lda"),
        ("--nearest", nearest, 2, "--norm as-norm"),
    ):
        if value is not None:
            require_at_least(least, **{option: value})
            if f"--project {project}" != needed and f"--norm {norm}" != needed:
                raise SingerVerifyError(f"{option} {value}: has no effect without {needed}.")
    if cohort is not None and (project, norm) == ("none", "none"):
        raise SingerVerifyError(f"--cohort {cohort}: has no effect without --project or --norm; give one of them.")


def _out_path(model: Path, out: Path | None) -> Path:
    """The file to write; the run's own for its best model alone, so that the file there is never for another."""
    from singer_verify.errors import SingerVerifyError
    from singer_verify.recognition.model_scoring import scoring_path
    from singer_verify.runs.checkpoints import BEST, SAVED_MODEL

    is_best = model.is_dir() or model.name in (BEST.name, SAVED_MODEL.name)
    path = out or (scoring_path(model) if is_best else None)
    if path is None:
        raise SingerVerifyError(f"{model}: is not the best model of a run folder; say where to write with --out.")
    require_file_place("--out", path, ".npz")
    return path


def _cohort_files(embedder: "Embedder", folder: Path, split: str) -> dict[Path, str]:
    """Files and their singers: those of a corpus' split, or of a folder of folders, one for each singer."""
    from singer_verify.corpora.folder import SPLITS
    from singer_verify.errors import SingerVerifyError

    if any((folder / name).is_dir() for name in (split, *SPLITS)):
        return singers_of_split(folder, split)
    files = embedder.files_below([folder])
    if loose := [file for file in files if file.parent == folder or file == folder]:
        raise SingerVerifyError(
            f"{loose[0]}: lies in no singer's folder; a cohort is a corpus, or a folder with a folder for each singer."
        )
    return {file: file.relative_to(folder).parts[0] for file in files}


def _embedded(embedder: "Embedder", singer_of: dict[Path, str]) -> "SungBy":
    import numpy as np

    from singer_verify.corpora.identities import identities
    from singer_verify.evaluation.scoring_fitting import SungBy

    files, embeddings = embed_files(embedder, list(singer_of))
    return SungBy(embeddings, np.array([singer_of[file] for file in files]), tuple(identities(files)))


def _uncalibrated(others: "SungBy | None", project: str, dims: int | None, norm: str, nearest: int | None) -> "Scoring":
    from singer_verify.evaluation.scoring import COSINE, Scoring
    from singer_verify.evaluation.scoring_fitting import cohort_of, projection_of

    if others is None:
        return COSINE
    projection = projection_of(others, project, dims)
    return Scoring(projection, cohort_of(others, projection, norm, nearest), cohort_singers=others.known)


def _warn_of_heard_singers(judged: "SungBy", card: dict[str, Any]) -> None:
    from singer_verify.evaluation.overlap import TRAINING, overlap
    from singer_verify.reports.overlap_words import overlap_sentences
    from singer_verify.runs.heard import training_singers

    if (known := training_singers(card)) is not None:
        for sentence in overlap_sentences({TRAINING: overlap(known, judged.singers.tolist(), judged.recordings)}):
            LOGGER.warning("%s", sentence)
