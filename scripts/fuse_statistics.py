"""Put whitened statistics of the frames beside a trained encoder, as the model that comes with the package has them.

python scripts/fuse_statistics.py RUN VOICES --out fused.ckpt

The mean and the deviation of the frames of an utterance tell singers apart without any training, above all of linear
cepstra. Beside an encoder's embedding, their cosine counts as much as its own. They are whitened by how excerpts of one
voice vary: a voice is a folder of VOICES that holds recordings. See docs/encoders.md for what it brings.
"""

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import torch
import typer
from jaxtyping import Float
from torch import nn

from singer_verify.audio.loading import load_audio
from singer_verify.cli.application import show_progress
from singer_verify.cli.console import require_new_files, require_output_file
from singer_verify.data.voice_changes import ChangedVoices, VoiceChanges
from singer_verify.encoders.fusion import FusionEncoder
from singer_verify.encoders.statistics import StatisticsEncoder
from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.evaluation.scoring.projection import Projection, fit_lda
from singer_verify.features.normalisation import Normalisation
from singer_verify.features.recipe import build_feature
from singer_verify.runs.checkpoints import Checkpoint, extract_encoder_state, write_checkpoint
from singer_verify.training.distillation import UnlabelledVoices

SHRINKAGE = 0.5  # of the covariance within voices, of which there are few
EXCERPT_S = 4.0  # an utterance's deviation and that of a second of it are not the same
STATISTICS = {"_target_": "singer_verify.encoders.statistics.StatisticsEncoder", "projection": True}


def compute_excerpt_statistics(
    model: Checkpoint, voices: UnlabelledVoices
) -> tuple[Float[np.ndarray, "excerpts size"], list[str]]:
    """Compute the statistics of the frames of every excerpt of the voices, and whose voice each is."""
    feature = build_feature(model.metadata.recipe)
    normalisation = Normalisation.from_recipe(model.metadata.recipe)
    excerpts = ChangedVoices(feature, VoiceChanges({}, 0, EXCERPT_S), feature.sample_rate)
    rows, names = list[np.ndarray](), list[str]()
    for path in show_progress(voices.paths, "Excerpts"):
        try:
            samples = load_audio(voices.root / path, feature.sample_rate)
            frames = excerpts(torch.from_numpy(samples)).numpy()
        except UtteranceError as error:
            print(f"Skipped: {path}: {error}")
            continue
        normalised = normalisation.normalise(frames).reshape(-1, excerpts.num_frames, excerpts.num_bins)
        rows.append(StatisticsEncoder.compute_statistics(torch.from_numpy(normalised)).numpy())
        names += len(normalised) * [path.rpartition("/")[0] or path]
    return np.concatenate(rows), names


def fuse_statistics(model: Checkpoint, whitening: Projection, share: float = 0.5) -> dict[str, object]:
    """Return a checkpoint whose embeddings are a model's own beside whitened statistics.

    Args:
        model: the model.
        whitening: projection of the statistics.
        share: weight of the statistics in a cosine, between 0 and 1.
    """
    settings = dict(model.metadata.encoder)
    num_bins = settings.pop("num_bins")
    encoder = FusionEncoder(
        num_bins, {"learned": settings, "statistics": STATISTICS}, {"learned": 1 - share, "statistics": share}
    )
    encoder.encoders["learned"].load_state_dict(extract_encoder_state(model.content))
    projection = encoder.encoders["statistics"].projection
    assert isinstance(projection, nn.Linear)
    with torch.no_grad():
        projection.weight.copy_(torch.from_numpy(whitening.matrix.T))
        projection.bias.copy_(torch.from_numpy(-whitening.mean @ whitening.matrix))
    metadata, recorded = (
        replace(model.metadata, encoder=encoder.settings),
        model.settings | {"encoder": encoder.settings},
    )
    return model.replace_encoder(encoder.state_dict(), metadata, recorded)


def main(
    run: Annotated[Path, typer.Argument(help="A run folder or a checkpoint; features.normalise=global_bins.")],
    voices: Annotated[Path, typer.Argument(help="Folder of voices: any audio below it, a folder each.")],
    out: Annotated[Path, typer.Option(help="The .ckpt to write.")],
    share: Annotated[float, typer.Option(help="Weight of the statistics in a cosine, between 0 and 1.")] = 0.5,
    force: Annotated[bool, typer.Option("--force", help="Replace a file that exists.")] = False,
) -> None:
    """Write the model RUN with whitened statistics beside its embeddings."""
    require_output_file("--out", out, ".ckpt")
    require_new_files(out, force=force)
    if not 0 < share < 1:
        raise SingerVerifyError(f"--share {share:g}: expected a number between 0 and 1.")
    model = Checkpoint.read(run)
    rows, names = compute_excerpt_statistics(model, UnlabelledVoices.find(str(voices)))
    voice_names, voice_index = np.unique(names, return_inverse=True)
    if len(voice_names) <= rows.shape[1]:
        raise SingerVerifyError(
            f"{voices}: holds {len(voice_names)} voices; expected more than {rows.shape[1]}, the number of statistics."
        )
    write_checkpoint(fuse_statistics(model, fit_lda(rows, voice_index, shrinkage=SHRINKAGE), share), out)
    print(f"{out}: {len(rows)} excerpts of {len(voice_names)} voices whiten its statistics.")


if __name__ == "__main__":
    try:
        typer.run(main)
    except SingerVerifyError as error:
        raise SystemExit(f"error: {error}") from None
