"""The command `singer-verify`: prepare corpora, embed recordings, evaluate models, keep track of runs."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import rich
import typer
from rich.console import Console

from singer_verify.entry import LOGGER, plain_mistakes, start_log

if TYPE_CHECKING:  # torch takes seconds to import: only commands that need it do
    import numpy as np

    from singer_verify.recognition import Embedder

app = typer.Typer(no_args_is_help=True, add_completion=False, help=__doc__)

ModelArgument = Annotated[Path, typer.Argument(help="A run folder (its best model), a .ckpt or a saved_model.pt.")]


@app.command()
def embed(
    model: ModelArgument,
    paths: Annotated[list[Path], typer.Argument(help="Audio files, or folders searched recursively.")],
    out: Annotated[Path, typer.Option(help="The .npz file to write.")],
) -> None:
    """Write an .npz of `paths` (strings) and `embeddings` (float32, files × embedding, rows of unit length)."""
    import numpy as np

    from singer_verify.errors import SingerVerifyError
    from singer_verify.recognition import Embedder

    if out.suffix != ".npz":
        raise SingerVerifyError(f"--out {out}: expected a file name that ends in .npz.")
    if not out.resolve().parent.is_dir():
        raise SingerVerifyError(f"--out {out}: no such folder {out.resolve().parent}; make it first.")
    embedder = Embedder.load(model)
    files, embeddings = _embed_files(embedder, embedder.files_below(paths))
    part = out.with_name(f"{out.name}.part")
    with open(part, "wb") as file:
        np.savez(file, paths=np.array([str(path) for path in files]), embeddings=embeddings)
    os.replace(part, out)
    typer.echo(f"{out}: {len(files)} embeddings of {embeddings.shape[1]} dimensions.")


@app.command()
def evaluate(
    model: ModelArgument,
    corpus: Annotated[Path, typer.Argument(help="A corpus folder, <root>/<split>/<singer>/**/<utterance>.")],
    split: Annotated[str, typer.Option(help="The split to evaluate on.")] = "val",
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Error rates over all pairs of utterances of a split, with a 95 % interval over singers, and by condition."""
    import numpy as np

    from singer_verify.corpora.folder import read_corpus
    from singer_verify.corpora.labels import read_labels
    from singer_verify.evaluation.breakdown import verify_conditions
    from singer_verify.evaluation.verification import eer_interval, verify_all_pairs
    from singer_verify.recognition import Embedder
    from singer_verify.reports.console import conditions_table, evaluation_table

    known = read_labels(corpus)
    utterances = read_corpus(corpus, splits=(split,), required=(split,)).splits[split].utterances
    singer_of = {corpus / utterance.path: utterance.singer for utterance in utterances}
    files, embeddings = _embed_files(Embedder.load(model), list(singer_of))
    singers, singer_index = np.unique([singer_of[file] for file in files], return_inverse=True)
    figures = verify_all_pairs(embeddings, singer_index)
    low, high = eer_interval(embeddings, singer_index)
    known = known.reindex([file.relative_to(corpus).as_posix() for file in files], fill_value="")
    labels = {str(label): known[label].to_numpy(object) for label in known.columns}
    by_condition = verify_conditions(embeddings, singer_index, labels)
    result = {
        "split": split,
        "eer": figures.eer,
        "eer_interval_95": [low, high],
        "threshold": figures.threshold,
        "min_dcf_0.01": figures.min_dcf_01,
        "min_dcf_0.05": figures.min_dcf_05,
        "num_trials": figures.num_trials,
        "num_target_trials": figures.num_targets,
        "num_singers": len(singers),
        "num_utterances": len(files),
        "conditions": [vars(figures) for figures in by_condition],
    }
    if as_json:
        typer.echo(json.dumps(result, indent=2))
    else:
        Console().print(evaluation_table(result, model), *([conditions_table(by_condition)] if by_condition else []))


@app.command()
def prepare(
    corpus: Annotated[str, typer.Argument(help="The reader: vocalset, damp, nus48e, mir1k, vctk, ..., or folder.")],
    source: Annotated[Path, typer.Argument(help="The folder of the data set as it was downloaded.")],
    out: Annotated[Path, typer.Option(help="The corpus folder to make.")],
    val: Annotated[float | None, typer.Option(help="Singers of the val split: a share below 1, or a number.")] = None,
    test: Annotated[float | None, typer.Option(help="Singers of the test split: a share, or a number.")] = None,
    splits: Annotated[Path | None, typer.Option(help="A csv of singer,split that says who goes where.")] = None,
    seed: Annotated[int, typer.Option(help="Of the draw of splits, and of --balance.")] = 0,
    keep: Annotated[list[str] | None, typer.Option(help="label=value,value: prepare only these utterances.")] = None,
    balance: Annotated[str | None, typer.Option(help="A label: equally many of each value for each singer.")] = None,
    drop_duplicates: Annotated[bool, typer.Option(help="Leave out recordings that two singers share.")] = False,
    copy: Annotated[bool, typer.Option("--copy", help="Copy the files instead of linking them.")] = False,
    labels: Annotated[Path | None, typer.Option(help="folder: a csv of utterance and labels.")] = None,
    metadata: Annotated[Path | None, typer.Option(help="damp: the table of performances.")] = None,
    snr_db: Annotated[float | None, typer.Option(help="mir1k: mix voice and accompaniment at this ratio.")] = None,
    microphone: Annotated[str | None, typer.Option(help="vctk 0.92: 1 or 2.")] = None,
) -> None:
    """Make a corpus folder of a data set: links in <out>/{train,val,test}/<singer>/, and corpus.csv with labels."""
    from rich.progress import track

    from singer_verify.corpora.choosing import Choices, choose
    from singer_verify.corpora.preparing import prepare as write
    from singer_verify.reports.corpora import corpus_table

    settings = {"labels": labels, "metadata": metadata, "snr_db": snr_db, "microphone": microphone}
    given = {name: value for name, value in settings.items() if value is not None}
    choices = Choices(tuple(keep or ()), balance, drop_duplicates, splits, val, test, seed)
    chosen = choose(corpus, source, given, choices)
    table = write(chosen, out, copy, lambda each: track(each, "Preparing", console=Console(stderr=True)))
    Console().print(corpus_table(table, str(out)))


@app.command()
def runs(
    folder: Annotated[Path, typer.Argument(help="Where the runs are.")] = Path("runs"),
    as_json: Annotated[bool, typer.Option("--json", help="Print the runs as JSON.")] = False,
) -> None:
    """The tree of runs: each below the run whose weights it began with."""
    from dataclasses import asdict

    from singer_verify.runs.tree import runs_below

    found = runs_below(folder)
    if as_json:
        typer.echo(json.dumps([asdict(run) for run in found], indent=2))
    else:
        from rich.console import Console

        from singer_verify.reports.runs import runs_table

        Console().print(runs_table(found, str(folder)))
        _print_progress(folder)


def _print_progress(folder: Path) -> None:
    """How far a sweep is, where the folder is one."""
    from singer_verify.sweeps.plan import PLAN_NAME
    from singer_verify.sweeps.progress import in_words, progress_of

    if (folder / PLAN_NAME).is_file():
        progress = progress_of(folder)
        typer.echo(f"Sweep {folder}: {in_words(progress)}.")
        for name, reason in progress.failed.items():
            typer.echo(f"failed: {name}: {reason}")


@app.command()
def leaderboard(
    sweep: Annotated[Path, typer.Argument(help="The folder of a sweep.")],
    baseline: Annotated[str | None, typer.Option(help="Settings of one cell [default: features=mel40]")] = None,
    split: Annotated[str, typer.Option(help="The split to judge on.")] = "val",
    corpus: Annotated[Path | None, typer.Option(help="Another corpus than that of the runs.")] = None,
    out: Annotated[Path | None, typer.Option(help="Folder for all files [default: SWEEP/leaderboard]")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")] = False,
) -> None:
    """Compare the cells of a sweep with one of them, and write it all as csv, md, tex, figure and page."""
    from singer_verify.reports.leaderboard_files import records
    from singer_verify.reports.leaderboard_folder import write_leaderboard
    from singer_verify.reports.leaderboard_sweep import leaderboard_of
    from singer_verify.reports.leaderboard_table import FEWEST_COLUMNS, leaderboard_table

    board = leaderboard_of(sweep, baseline, split, corpus)
    folder = out or sweep / "leaderboard"
    write_leaderboard(board, folder)
    if as_json:
        typer.echo(json.dumps(records(board), indent=2))
    else:
        Console(width=max(Console().width, FEWEST_COLUMNS)).print(leaderboard_table(board))
        typer.echo(f"{folder}: leaderboard.csv, .md, .tex, .html, .png and .svg.")


@app.command()
def import_weights(
    file: Annotated[Path, typer.Argument(help="Of singer_id_encoder, Resemblyzer, Real-Time-Voice-Cloning or AutoVC.")],
    features: Annotated[str, typer.Option(help="Its recipe: a name in conf/features, or the path of such a yaml.")],
    out: Annotated[Path, typer.Option(help="The run folder to make.")],
    window_frames: Annotated[int, typer.Option(help="Length of an evaluation window, in frames.")] = 160,
) -> None:
    """Make a run of weights trained elsewhere, to evaluate, embed with, or begin a training with (init_from=...)."""
    from singer_verify.errors import require_at_least
    from singer_verify.features import feature_from_recipe
    from singer_verify.features.naming import read_recipe
    from singer_verify.features.normalisation import Normalisation
    from singer_verify.runs.foreign import import_run

    require_at_least(1, **{"--window-frames": window_frames})
    recipe = read_recipe(features)
    import_run(file, feature_from_recipe(recipe), window_frames, out, Normalisation.from_recipe(recipe))
    typer.echo(f"{out}: ready for evaluate, embed and init_from={out}.")


def _embed_files(embedder: "Embedder", files: list[Path]) -> tuple[list[Path], "np.ndarray"]:
    """Embeddings of the files that can be used; the others are named and counted."""
    import numpy as np
    from rich.progress import track

    from singer_verify.errors import SingerVerifyError, UtteranceError

    kept, embeddings = [], []
    for file in track(files, "Embedding", console=Console(stderr=True)):
        try:
            embeddings.append(embedder.embed_file(file))
            kept.append(file)
        except UtteranceError as error:
            LOGGER.warning("Skipped: %s", error)
    if not kept:
        raise SingerVerifyError(f"none of {len(files)} files can be used; the reasons are above.")
    if len(kept) < len(files):
        LOGGER.warning("%d of %d files skipped.", len(files) - len(kept), len(files))
    return kept, np.stack(embeddings)


def main() -> None:
    """Entry point of the console command."""
    rich.reconfigure(stderr=True)  # progress of what lies below; results alone go to standard output
    start_log(Console(stderr=True))
    with plain_mistakes():
        app()


if __name__ == "__main__":
    main()
