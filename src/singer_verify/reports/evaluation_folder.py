"""All forms of an evaluation written into a folder, all whole or none."""

import os
from pathlib import Path

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.judgement import JudgedUtterances, Judgement
from singer_verify.reports.evaluation_about import About
from singer_verify.reports.evaluation_audio import Excerpts
from singer_verify.reports.evaluation_figures import evaluation_figures
from singer_verify.reports.evaluation_files import (
    as_json,
    conditions_csv,
    figures_record,
    singers_csv,
    worst_trials_csv,
)
from singer_verify.reports.evaluation_page import PageParts, evaluation_page
from singer_verify.reports.picture_files import picture_files
from singer_verify.whole_files import write_files

REPORT_NAME, FIGURES_NAME = "report.html", "figures.json"


def require_place(folder: Path, setting: str = "--out") -> None:
    """Refuse a folder that cannot be written to, before anything is computed; nothing is made yet.

    Args:
        folder: that is there, or can be made.
        setting: by which a user chose it.

    Raises:
        SingerVerifyError: it is a file or lies in one, or may not be written to.
    """
    there = next(place for place in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(place))
    if not there.is_dir():
        raise SingerVerifyError(f"{setting} {folder}: {there} is no folder; name another folder with {setting}.")
    if not os.access(there, os.W_OK | os.X_OK):
        raise SingerVerifyError(f"{setting} {folder}: {there} may not be written to; name another with {setting}.")


def write_report(
    judgement: Judgement,
    utterances: JudgedUtterances,
    about: About,
    folder: Path,
    audio_root: Path,
    map_methods: tuple[str, ...] = ("tsne",),
) -> None:
    """Write report.html, figures.json, conditions.csv, singers.csv, worst_trials.csv, and each figure as png and svg.

    Args:
        judgement: what was found.
        utterances: that were judged.
        about: of what.
        folder: made where it is missing.
        audio_root: where the utterances' paths begin, for the sounds of the worst trials.
        map_methods: of `embedding_map.METHODS`; `umap` takes twenty seconds before it begins.

    Raises:
        SingerVerifyError: the folder cannot be written to, or a method that is not installed.
    """
    figures = evaluation_figures(judgement, utterances, about, map_methods)
    pictures = {name: picture_files(figure) for name, figure in figures.items()}
    parts = PageParts({name: files["svg"] for name, files in pictures.items()}, Excerpts(audio_root))
    contents = {
        REPORT_NAME: evaluation_page(judgement, utterances, about, parts).encode(),
        FIGURES_NAME: as_json(figures_record(judgement, utterances, about)),
        **_tables(judgement, utterances),
        **{f"{name}.{suffix}": file for name, files in pictures.items() for suffix, file in files.items()},
    }
    write_files(contents, folder)


def _tables(judgement: Judgement, utterances: JudgedUtterances) -> dict[str, bytes]:
    return {
        "conditions.csv": conditions_csv(judgement),
        "singers.csv": singers_csv(judgement, utterances),
        "worst_trials.csv": worst_trials_csv(judgement, utterances),
    }
