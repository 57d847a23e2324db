"""Commands on models: embed recordings, evaluate, take over weights trained elsewhere."""

import json
import os
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from singer_verify.cli.embedding import embed_files

ModelArgument = Annotated[Path, typer.Argument(help="A run folder (its best model), a .ckpt or a saved_model.pt.")]


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
    files, embeddings = embed_files(embedder, embedder.files_below(paths))
    part = out.with_name(f"{out.name}.part")
    with open(part, "wb") as file:
        np.savez(file, paths=np.array([str(path) for path in files]), embeddings=embeddings)
    os.replace(part, out)
    typer.echo(f"{out}: {len(files)} embeddings of {embeddings.shape[1]} dimensions.")


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
    files, embeddings = embed_files(Embedder.load(model), list(singer_of))
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
