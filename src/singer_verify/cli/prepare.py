"""Commands that create what a training starts from: the folder of a project, and a corpus from a data set."""

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from singer_verify.cli.application import app, show_comparing
from singer_verify.cli.console import print_result


@app.command()
def new(
    folder: Annotated[Path, typer.Argument(help="The folder to create; an existing one must hold none of these.")],
) -> None:
    """Create a project: a folder with train.py, its settings in conf/, and example data."""
    from singer_verify.project_files import copy_project_files

    copy_project_files(folder)
    typer.echo(f"{folder}: ready; cd there and run python train.py to train on the example data.")


@app.command()
def prepare(
    corpus: Annotated[
        str,
        typer.Argument(
            help="The reader: dagstuhl_choirset, damp, gtsinger, jingju, jvs_music, m4singer, mir1k, mir_qbsh, nhss, "
            "nus48e, opensinger, ravdess, singstyle111, vctk, vocadito, vocalset, folder, or your_package.reader."
        ),
    ],
    source: Annotated[Path, typer.Argument(help="The folder of the data set, as downloaded.")],
    out: Annotated[Path, typer.Option(help="The corpus folder to create.")],
    val: Annotated[
        float | None, typer.Option(help="Singers of the val split: a fraction below 1, or a number.")
    ] = None,
    test: Annotated[float | None, typer.Option(help="Singers of the test split: a fraction, or a number.")] = None,
    splits: Annotated[Path | None, typer.Option(help="A csv of singer,split that assigns singers to splits.")] = None,
    folds: Annotated[
        int | None, typer.Option(help="Divide the singers into folds, as the label fold, for data.folds=N.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Seed of the draw of splits, and of --balance.")] = 0,
    keep: Annotated[list[str] | None, typer.Option(help="label=value,value: prepare only these utterances.")] = None,
    balance: Annotated[
        str | None, typer.Option(help="A label: keep equally many utterances of each value per singer.")
    ] = None,
    drop_duplicates: Annotated[bool, typer.Option(help="Leave out recordings that appear under two singers.")] = False,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the files instead of linking them.")] = False,
    labels: Annotated[
        Path | None,
        typer.Option(
            help="A csv of labels: a row per utterance, its path from SOURCE on in a column utterance (or path, file, "
            "filename, file_name, file_path, audio, wav), or a row per singer, in a column singer; others are labels."
        ),
    ] = None,
    metadata: Annotated[
        Path | None, typer.Option(help="damp, vocadito, jingju: the table that names the singers.")
    ] = None,
    snr_db: Annotated[float | None, typer.Option(help="mir1k: mix voice and accompaniment at this ratio.")] = None,
    microphone: Annotated[
        str | None, typer.Option(help="vctk 0.92: 1 or 2; dagstuhl_choirset: DYN, HSM, LRX or all.")
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Another option of the reader, as jvs_music: version, nhss: whole."),
    ] = None,
) -> None:
    """Prepare a corpus from a data set: links in <out>/{train,val,test}/<singer>/, and corpus.csv with labels.

    Example: singer-verify prepare vocalset VocalSet1-2/ --out /corpora/vocalset --val 4
    """
    from singer_verify.corpora.preparation import prepare_corpus as write
    from singer_verify.corpora.splits import SelectionSettings, select_recordings
    from singer_verify.progress_bars import track_progress
    from singer_verify.reports.console_tables import build_corpus_table

    settings = {"metadata": metadata, "snr_db": snr_db, "microphone": microphone}
    given = {name: value for name, value in settings.items() if value is not None}
    given |= _parse_reader_options(option or [])
    choices = SelectionSettings(tuple(keep or ()), balance, drop_duplicates, splits, val, test, seed, labels, folds)
    chosen = select_recordings(corpus, source, given, choices, show_comparing)
    table = write(chosen, out, copy, lambda recordings: track_progress(recordings, "Preparing", Console(stderr=True)))
    print_result(build_corpus_table(table, str(out)))


def _parse_reader_options(options: list[str]) -> dict[str, Any]:
    """Parse `name=value`, where the value is yaml: a number, true, or text."""
    import yaml

    from singer_verify.errors import SingerVerifyError

    if wrong := [option for option in options if not option.partition("=")[0].isidentifier() or "=" not in option]:
        raise SingerVerifyError(f"--option {wrong[0]}: expected name=value.")
    try:
        return {name: yaml.safe_load(value) for name, _, value in (option.partition("=") for option in options)}
    except yaml.YAMLError as error:
        raise SingerVerifyError(f"--option: {error}; quote the value.") from error
