"""Whether an exported model gives the embeddings of the model it was made of."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from singer_verify.errors import SingerVerifyError
from singer_verify.features.ready import Ready
from singer_verify.recognition.embedder import Embedder
from singer_verify.recognition.front_end import shortest_samples
from singer_verify.recognition.voice_signal import voice_signal

TOLERANCE = 1e-4  # of any number of an embedding
LENGTHS_S = (0.5, 1.0, 3.0, 20.0)


def largest_deviation(path: Path, embedder: Embedder, from_frames: bool) -> float:
    """The largest difference between numbers of embeddings by onnxruntime and by the model itself.

    Two test voices of each length of `check_recordings` are embedded, together in one batch.

    Args:
        path: of the exported model.
        embedder: the model.
        from_frames: whether it takes frames.

    Raises:
        SingerVerifyError: the difference is more than `TOLERANCE`.
    """
    from onnxruntime import InferenceSession  # type: ignore[import-untyped]

    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    name, deviation = session.get_inputs()[0].name, 0.0
    for samples in check_recordings(embedder):
        frames = _frames_of(samples, embedder)
        (given,) = session.run(None, {name: frames.numpy() if from_frames else samples})
        expected = np.stack([embedder.embed_frames(each) for each in frames])
        deviation = max(deviation, float(np.abs(given - expected).max()))
    if not deviation <= TOLERANCE:
        raise SingerVerifyError(
            f"the exported model differs from the model by {deviation:.1e} (more than {TOLERANCE:.0e}) and was not "
            f"kept; export the encoder alone with --frames, or use another version of torch or onnxruntime."
        )
    return deviation


def check_recordings(embedder: Embedder) -> Iterator[Float[np.ndarray, "2 samples"]]:
    """Two voices at each length: the shortest there is, around one window, and up to 20 s."""
    feature = embedder.feature
    hop = feature.hop_ms * feature.sample_rate / 1000.0
    fewest = round(hop) if isinstance(feature, Ready) else shortest_samples(feature)
    around_window = [round((embedder.window_frames + more) * hop) for more in (-1, 0, 1)]
    lengths = {fewest, *around_window, *(round(seconds * feature.sample_rate) for seconds in LENGTHS_S)}
    for length in sorted(length for length in lengths if length >= fewest):
        yield np.stack([voice_signal(length, feature.sample_rate, seed) for seed in (0, 1)])


@torch.inference_mode()
def _frames_of(samples: Float[np.ndarray, "2 samples"], embedder: Embedder) -> Float[torch.Tensor, "2 frames bins"]:
    """As the recipe makes them; where it makes none, between 0 and 1, as many as it would."""
    feature = embedder.feature
    if not isinstance(feature, Ready):
        return torch.stack([feature(torch.from_numpy(voice)) for voice in samples])
    num_frames = round(samples.shape[1] / feature.sample_rate * 1000.0 / feature.hop_ms)
    return torch.rand(2, num_frames, feature.num_bins, generator=torch.Generator().manual_seed(num_frames))
