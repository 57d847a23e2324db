"""Commands on models: embed recordings, take over weights trained elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from singer_verify.cli.embedding import embed_files
from singer_verify.cli.places import require_file_place

ModelArgument = Annotated[Path, typer.Argument(help="A run folder (its best model), a .ckpt or a saved_model.pt.")]


def embed(
    model: ModelArgument,
    paths: Annotated[list[Path], typer.Argument(help="Audio files, or folders searched recursively.")],
    out: Annotated[Path, typer.Option(help="The .npz file to write.")],
) -> None:
    """Write an .npz of `paths` (strings) and `embeddings` (float32, files × embedding, rows of unit length)."""
    import numpy as np

    from singer_verify.recognition import Embedder
    from singer_verify.whole_files import part_of

    require_file_place("--out", out, ".npz")
    embedder = Embedder.load(model)
    files, embeddings = embed_files(embedder, embedder.files_below(paths))
    with part_of(out, "--out") as part, open(part, "wb") as file:
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
    from singer_verify.features import feature_from_recipe
    from singer_verify.features.naming import read_recipe
    from singer_verify.features.normalisation import Normalisation
    from singer_verify.runs.foreign import import_run

    require_at_least(1, **{"--window-frames": window_frames})
    recipe = read_recipe(features)
    import_run(file, feature_from_recipe(recipe), window_frames, out, Normalisation.from_recipe(recipe))
    typer.echo(f"{out}: ready for evaluate, embed and init_from={out}.")
