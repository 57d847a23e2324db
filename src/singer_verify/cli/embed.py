"""Recordings embedded for a command, with progress and with a word on those that cannot be used."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from singer_verify.cli.console import LOGGER, require_output_file
from singer_verify.cli.options import JsonOption, ModelArgument

if TYPE_CHECKING:  # torch takes seconds to import: only commands that need it do
    from collections.abc import Iterable, Sequence

    import numpy as np

    from singer_verify.corpora.corpus import Utterance
    from singer_verify.evaluation.results import EvaluatedUtterances
    from singer_verify.inference import Model
    from singer_verify.store.utterance_frames import ExtractedFrames


def embed_files(model: "Model", files: list[Path]) -> tuple[list[Path], "np.ndarray"]:
    """Embeddings of the files that can be used; the others are named and counted."""
    import numpy as np
    from rich.progress import track

    from singer_verify.errors import SingerVerifyError, UtteranceError

    kept, embeddings = [], []
    found = model.embed_many(files)
    for file, embedded in track(
        zip(files, (each for _, each in found), strict=True),
        "Embedding",
        total=len(files),
        console=Console(stderr=True),
    ):
        if isinstance(embedded, UtteranceError):
            LOGGER.warning("Skipped: %s", embedded)
        else:
            embeddings.append(embedded.embedding)
            kept.append(file)
    if not kept:
        raise SingerVerifyError(f"none of {len(files)} files can be used; the reasons are above.")
    if len(kept) < len(files):
        LOGGER.warning("%d of %d files skipped.", len(files) - len(kept), len(files))
    return kept, np.stack(embeddings)


def embed_utterances(model: "Model", root: Path, utterances: "Sequence[Utterance]") -> tuple[list[int], "np.ndarray"]:
    """Embed whole utterances as validation does; those that cannot be used are named and counted.

    Returns:
        which of the utterances were embedded, and their embeddings.
    """
    from rich.progress import track

    from singer_verify.inference.split import embed_utterances as embed_whole_utterances

    def progress(extracted: "Iterable[ExtractedFrames]") -> "Iterable[ExtractedFrames]":
        return track(extracted, "Embedding", total=len(utterances), console=Console(stderr=True))

    def report_skipped(reason: str) -> None:
        LOGGER.warning("Skipped: %s", reason)

    indices, embeddings = embed_whole_utterances(model, root, utterances, report_skipped, progress)
    if len(indices) < len(utterances):
        LOGGER.warning("%d of %d files skipped.", len(utterances) - len(indices), len(utterances))
    return indices, embeddings


def embed_split(model: "Model", corpus: Path, split: str) -> "EvaluatedUtterances":
    """Embed the utterances of a split that can be used, with their singers and labels."""
    import numpy as np

    from singer_verify.corpora.corpus import read_corpus
    from singer_verify.corpora.labels import read_utterance_labels
    from singer_verify.evaluation.results import EvaluatedUtterances

    utterances = read_corpus(corpus, splits=(split,), required=(split,)).splits[split].utterances
    indices, embeddings = embed_utterances(model, corpus, utterances)
    singers, singer_index = np.unique([utterances[index].singer for index in indices], return_inverse=True)
    paths = [utterances[index].path for index in indices]
    return EvaluatedUtterances(
        np.array(paths, object), tuple(singers.tolist()), singer_index, read_utterance_labels(paths, corpus), embeddings
    )


def read_split_singers(corpus: Path, split: str) -> dict[Path, str]:
    """The singer of each utterance of a split, by its file."""
    from singer_verify.corpora.corpus import read_corpus

    utterances = read_corpus(corpus, splits=(split,), required=(split,)).splits[split].utterances
    return {corpus / utterance.path: utterance.singer for utterance in utterances}


def embed(
    model_path: ModelArgument,
    paths: Annotated[list[Path], typer.Argument(help="Audio files, or folders searched recursively.")],
    out: Annotated[Path, typer.Option(help="The .npz file to write.")],
) -> None:
    """Write an .npz of `paths` (strings) and `embeddings` (float32, files × embedding, rows of unit length)."""
    import numpy as np

    from singer_verify.atomic_files import atomic_write
    from singer_verify.inference import load_model

    require_output_file("--out", out, ".npz")
    model = load_model(model_path)
    files, embeddings = embed_files(model, model.find_files(paths))
    with atomic_write(out, "--out") as part, open(part, "wb") as file:
        np.savez(file, paths=np.array([str(path) for path in files]), embeddings=embeddings)
    typer.echo(f"{out}: {len(files)} embeddings of {embeddings.shape[1]} dimensions.")


def import_weights(
    file: Annotated[Path, typer.Argument(help="Of singer_id_encoder, Resemblyzer, Real-Time-Voice-Cloning or AutoVC.")],
    features: Annotated[str, typer.Option(help="Its recipe: a name in conf/features, or the path of such a yaml.")],
    out: Annotated[Path, typer.Option(help="The run folder to make.")],
    window_frames: Annotated[int, typer.Option(help="Length of an evaluation window, in frames.")] = 160,
) -> None:
    """Make a run of weights trained elsewhere, to evaluate, embed with, or begin a training with (init_from=...)."""
    from singer_verify.errors import require_at_least
    from singer_verify.features.normalisation import Normalisation
    from singer_verify.features.recipe import build_feature, read_recipe
    from singer_verify.training.import_weights import import_weights_as_run

    require_at_least(1, **{"--window-frames": window_frames})
    recipe = read_recipe(features)
    import_weights_as_run(file, build_feature(recipe), window_frames, out, Normalisation.from_recipe(recipe))
    typer.echo(f"{out}: ready for evaluate, embed and init_from={out}.")


def table(
    model_path: ModelArgument,
    corpus: Annotated[Path, typer.Argument(help="A corpus folder, <root>/<split>/<singer>/**/<utterance>.")],
    out: Annotated[Path, typer.Option(help="The .npz or .csv to write; without a suffix, both.")],
    split: Annotated[list[str] | None, typer.Option(help="A split to take; again for others (default: all)")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the look-up table of singers: name, split, number of utterances, mean embedding (of unit length).

    As .npz: arrays singers, splits, num_utterances, embeddings, and the fingerprint of the model. As .csv: a line for
    each singer.
    """
    from singer_verify.atomic_files import write_files_atomically
    from singer_verify.corpora.corpus import SPLITS, read_corpus
    from singer_verify.errors import SingerVerifyError
    from singer_verify.inference import load_model
    from singer_verify.inference.singer_table import (
        build_singer_table,
        format_singer_table_csv,
        format_singer_table_npz,
    )

    if out.suffix not in ("", ".npz", ".csv"):
        raise SingerVerifyError(f"--out {out}: expected a name that ends in .npz or .csv, or without a suffix: both.")
    splits = read_corpus(corpus, splits=tuple(split or SPLITS), required=tuple(split or ())).splits
    place_of = {
        corpus / utterance.path: (utterance.singer, name)
        for name, each in splits.items()
        for utterance in each.utterances
    }
    if not place_of:
        raise SingerVerifyError(f"{corpus}: has none of the folders {', '.join(SPLITS)}; name others with --split.")
    model = load_model(model_path)
    files, embeddings = embed_files(model, list(place_of))
    found = build_singer_table((*place_of[file], row) for file, row in zip(files, embeddings, strict=True))
    contents = {".npz": format_singer_table_npz(found, model.fingerprint), ".csv": format_singer_table_csv(found)}
    wanted = {suffix: content for suffix, content in contents.items() if out.suffix in ("", suffix)}
    write_files_atomically({f"{out.stem}{suffix}": content for suffix, content in wanted.items()}, out.parent)
    written = [str(out.with_suffix(suffix)) for suffix in wanted]
    if as_json:
        counts = dict(zip(found.singers, found.num_utterances.tolist(), strict=True))
        typer.echo(json.dumps({"files": written, "num_utterances": counts}, indent=2))
    else:
        typer.echo(f"{' and '.join(written)}: {len(found.singers)} singers, {len(files)} utterances.")
