"""The command that fits a model's scoring: projection, cohort, calibration, threshold."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from singer_verify.cli.application import (
    DeviceOption,
    JsonOption,
    ModelArgument,
    app,
    show_progress,
    takes_trust,
)
from singer_verify.cli.console import LOGGER, print_result, require_output_file

if TYPE_CHECKING:  # torch and scikit-learn take seconds to import
    from singer_verify.evaluation.scoring.fitting import LabelledEmbeddings
    from singer_verify.evaluation.scoring.scoring import Scoring
    from singer_verify.inference import Model


@app.command()
@takes_trust
def calibrate(
    model_path: ModelArgument,
    corpora: Annotated[
        list[Path],
        typer.Argument(metavar="CORPUS...", help="Corpus folders, <root>/<split>/<singer>/**/<utterance>."),
    ],
    split: Annotated[str, typer.Option(help="The split to calibrate on.")] = "val",
    centre_by: Annotated[
        str | None,
        typer.Option(
            metavar="LABEL",
            help="Subtract the mean embedding of each domain that this label tells; corpus: of each corpus folder.",
        ),
    ] = None,
    project: Annotated[
        str, typer.Option(help="Projection: none, centre, whiten or lda, fitted to the cohort.")
    ] = "none",
    dims: Annotated[int | None, typer.Option(help="Dimensions of lda (default: cohort singers less one).")] = None,
    norm: Annotated[
        str, typer.Option(help="Score normalisation against the cohort: none, s-norm or as-norm (adaptive).")
    ] = "none",
    nearest: Annotated[
        int | None,
        typer.Option(help="Cohort embeddings as-norm compares with (default: 200, at most a quarter of them)."),
    ] = None,
    cohort: Annotated[
        list[Path] | None,
        typer.Option(help="Other singers: a corpus, or a folder of singers; may be repeated (default: CORPUS...)."),
    ] = None,
    cohort_split: Annotated[str, typer.Option(help="The split of the cohort, if it is a corpus.")] = "train",
    prior: Annotated[
        float, typer.Option(help="Prior probability of a same-singer pair that the calibration is optimised for.")
    ] = 0.5,
    enrolment_score: Annotated[
        str,
        typer.Option(
            help="How singers known from several recordings are scored: by their mean, or by the max or the best3 of "
            "the scores of single ones."
        ),
    ] = "mean",
    out: Annotated[
        Path | None, typer.Option(help="The .npz to write (default: scoring.npz in the run folder).")
    ] = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Fit how a model's embeddings are scored: calibration and threshold, with projection and normalisation if wanted.

    Calibration and threshold are fitted to pairs of recordings, and to recordings against singers enrolled with 2, 3, 5
    and 10 others, as far as the corpus has that many per singer.
    """
    from singer_verify.errors import require_choice
    from singer_verify.evaluation.scoring.fitting import fit_scoring, require_disjoint_singers
    from singer_verify.evaluation.scoring.scoring import ENROLMENT_SCORES
    from singer_verify.inference import load_model
    from singer_verify.inference.scoring_file import save_scoring
    from singer_verify.reports.console_tables import build_calibration_record, build_calibration_table

    _check_calibration_options(centre_by, project, dims, norm, nearest, cohort, prior)
    require_choice(tuple(ENROLMENT_SCORES), **{"--enrolment-score": enrolment_score})
    path = _resolve_scoring_path(model_path, out)
    needs_cohort = (centre_by, project, norm) != (None, "none", "none")
    model = load_model(model_path, device)
    folders = cohort or corpora
    is_combined = max(len(corpora), len(folders)) > 1
    files, domains = _find_labelled_files(model, corpora, split, centre_by, is_combined, True)
    cohort_files, cohort_domains = dict[Path, str](), dict[Path, str]()
    if needs_cohort:
        cohort_files, cohort_domains = _find_labelled_files(model, folders, cohort_split, centre_by, is_combined, False)
    require_disjoint_singers(set(files.values()), set(cohort_files.values()))
    others = _embed_labelled_files(model, cohort_files, cohort_domains) if needs_cohort else None
    scoring = _fit_uncalibrated_scoring(others, centre_by, project, dims, norm, nearest)
    scoring = scoring.with_enrolment_score(enrolment_score)
    if scoring.centring is not None:
        scoring.centring.require_known([*domains.values()])
    labelled = _embed_labelled_files(model, files, domains)
    _warn_seen_singers(labelled, model)
    origin = f"{labelled.num_singers} singers of {', '.join(f'{corpus.resolve().name}/{split}' for corpus in corpora)}"
    fitted = fit_scoring(scoring, labelled, origin, prior)
    save_scoring(path, fitted.scoring, model.fingerprint)
    result = {
        "out": str(path),
        "split": split,
        "centre_by": centre_by,
        "project": project,
        "norm": norm,
        "prior": prior,
    }
    result |= build_calibration_record(labelled, others, fitted)
    if as_json:
        typer.echo(json.dumps(result, indent=2))
    else:
        print_result(build_calibration_table(result, model_path))
        typer.echo(f"{path}: written.")


def _check_calibration_options(
    centre_by: str | None,
    project: str,
    dims: int | None,
    norm: str,
    nearest: int | None,
    cohort: list[Path] | None,
    prior: float,
) -> None:
    """Refuse invalid settings, and settings that would have no effect."""
    from singer_verify.errors import SingerVerifyError, require_at_least, require_between, require_choice
    from singer_verify.evaluation.scoring.calibration import MIN_PRIOR
    from singer_verify.evaluation.scoring.fitting import NORMS, PROJECTIONS

    require_choice(PROJECTIONS, **{"--project": project})
    require_choice(NORMS, **{"--norm": norm})
    require_between(MIN_PRIOR, 1.0 - MIN_PRIOR, **{"--prior": prior})
    for option, value, least, needed in (
        ("--dims", dims, 1, "--project lda"),
        ("--nearest", nearest, 2, "--norm as-norm"),
    ):
        if value is not None:
            require_at_least(least, **{option: value})
            if f"--project {project}" != needed and f"--norm {norm}" != needed:
                raise SingerVerifyError(f"{option} {value}: has no effect without {needed}.")
    if cohort and (centre_by, project, norm) == (None, "none", "none"):
        raise SingerVerifyError(
            f"--cohort {cohort[0]}: has no effect without --project or --norm or --centre-by; give one of them."
        )


def _resolve_scoring_path(model: Path, out: Path | None) -> Path:
    """Return the file to write: by default the run's, but only for its best model, so that it never fits another."""
    from singer_verify.errors import SingerVerifyError
    from singer_verify.inference.scoring_file import find_scoring_path
    from singer_verify.runs.folder import BEST_CHECKPOINT, SAVED_MODEL

    is_best = model.is_dir() or model.name in (BEST_CHECKPOINT.name, SAVED_MODEL.name)
    path = out or (find_scoring_path(model) if is_best else None)
    if path is None:
        raise SingerVerifyError(f"{model}: is not the best model of a run folder; name a file with --out.")
    require_output_file("--out", path, ".npz")
    return path


def _find_labelled_files(
    model: "Model", folders: list[Path], split: str, label: str | None, is_combined: bool, is_corpus: bool
) -> tuple[dict[Path, str], dict[Path, str]]:
    """Find the files of a split of several corpora, with the singer of each, and its domain where a label tells it.

    Args:
        model: model that the files are for.
        folders: folders of the corpora.
        split: name of the split.
        label: name of the label that tells the domain; None without.
        is_combined: whether singers are named after the corpus too, as several corpora may have singers of a name.
        is_corpus: whether each folder has to be a corpus; otherwise it may have one folder per singer.

    Raises:
        SingerVerifyError: two corpora have the same name, or see `find_singer_files` and `_read_domains`.
    """
    from singer_verify.corpora.corpus import CORPUS_SEPARATOR
    from singer_verify.corpora.labels import get_corpus_name
    from singer_verify.errors import SingerVerifyError
    from singer_verify.inference.enrolment import find_singer_files
    from singer_verify.inference.evaluation import read_split_singers

    files, domains = dict[Path, str](), dict[Path, str]()
    folder_by_name = dict[str, Path]()
    for folder in folders:
        name = get_corpus_name(folder)
        if (first := folder_by_name.setdefault(name, folder)) is not folder:
            raise SingerVerifyError(
                f"{first} and {folder}: two corpora are in folders named {name}; singers are named after the folder, "
                f"so rename one of them, or give each only once."
            )
        own = read_split_singers(folder, split) if is_corpus else find_singer_files(model, folder, (split,))
        domains |= _read_domains(folder, own, label)
        files |= {file: f"{name}{CORPUS_SEPARATOR}{singer}" if is_combined else singer for file, singer in own.items()}
    return files, domains


def _read_domains(folder: Path, files: dict[Path, str], label: str | None) -> dict[Path, str]:
    """Read the domain of each file from the table of its corpus; none where no label tells it."""
    from singer_verify.corpora.corpus import SPLITS
    from singer_verify.corpora.labels import (
        CORPUS_LABEL,
        CORPUS_TABLE_NAME,
        get_corpus_name,
        read_domains,
        read_utterance_labels,
    )
    from singer_verify.errors import SingerVerifyError

    if label is None:
        return {}
    paths = [file.relative_to(folder).as_posix() for file in files]
    is_corpus = any((folder / name).is_dir() for name in SPLITS) or (folder / CORPUS_TABLE_NAME).is_file()
    if not is_corpus and label == CORPUS_LABEL:
        return dict.fromkeys(files, get_corpus_name(folder))
    domains = read_domains(paths, folder, label) if is_corpus else None
    if domains is None:
        labels = read_utterance_labels(paths, folder, report=False) if is_corpus else {}
        found = f"has the labels {', '.join(labels)}" if labels else "has no labels"
        raise SingerVerifyError(
            f"--centre-by {label}: {folder / CORPUS_TABLE_NAME} {found}; expected a column {label}."
        )
    return dict(zip(files, domains.tolist(), strict=True))


def _embed_labelled_files(
    model: "Model", singer_of: dict[Path, str], domain_of: dict[Path, str]
) -> "LabelledEmbeddings":
    import numpy as np

    from singer_verify.corpora.corpus import Utterance
    from singer_verify.corpora.duplicates import RecordingRegister
    from singer_verify.evaluation.scoring.fitting import LabelledEmbeddings
    from singer_verify.inference.evaluation import embed_usable_utterances

    utterances, register = (
        [Utterance(str(file), singer) for file, singer in singer_of.items()],
        RecordingRegister(Path()),
    )
    indices, embeddings = embed_usable_utterances(model, Path(), utterances, show_progress, register)
    embedded = [utterances[index] for index in indices]
    contents = tuple(register.contents[utterance.path] for utterance in embedded)
    singers = np.array([utterance.singer for utterance in embedded])
    domains = np.array([domain_of[Path(utterance.path)] for utterance in embedded], object) if domain_of else None
    return LabelledEmbeddings(embeddings, singers, contents, domains)


def _fit_uncalibrated_scoring(
    others: "LabelledEmbeddings | None",
    centre_by: str | None,
    project: str,
    dims: int | None,
    norm: str,
    nearest: int | None,
) -> "Scoring":
    from dataclasses import replace

    from singer_verify.evaluation.scoring.domains import fit_domain_centring
    from singer_verify.evaluation.scoring.fitting import build_cohort, fit_projection
    from singer_verify.evaluation.scoring.scoring import COSINE, Scoring

    if others is None:
        return COSINE
    seen_singers, centring = others.seen_singers, None
    if centre_by is not None:
        assert others.domains is not None
        centring = fit_domain_centring(others.embeddings, others.singers, others.domains, centre_by)
        others = replace(others, embeddings=centring.centre(others.embeddings, others.domains))
    projection = fit_projection(others, project, dims)
    cohort = build_cohort(others, projection, norm, nearest)
    return Scoring(projection, cohort, cohort_singers=seen_singers, centring=centring)


def _warn_seen_singers(labelled: "LabelledEmbeddings", model: "Model") -> None:
    from singer_verify.evaluation.seen_singers import TRAINING, compute_singer_overlap
    from singer_verify.reports.evaluation.text import describe_overlaps

    assert model.checkpoint is not None
    if (training_singers := model.checkpoint.metadata.collect_training_singers()) is not None:
        for sentence in describe_overlaps(
            {TRAINING: compute_singer_overlap(training_singers, labelled.singers.tolist(), labelled.recordings)}
        ):
            LOGGER.warning("%s", sentence)
