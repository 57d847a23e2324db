"""Check of an exported model: onnxruntime must give the embeddings of the model itself, on synthetic voices."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from singer_verify.errors import SingerVerifyError
from singer_verify.features.precomputed import PrecomputedFeature
from singer_verify.features.voice import build_prepared_front_end, split_voice_feature
from singer_verify.inference.end_to_end import find_min_samples, find_torch_obstacle
from singer_verify.inference.model import Model

NUM_HARMONICS = 30
VIBRATO_HZ, VIBRATO_SEMITONES = 5.5, 0.8
REST_S = 0.15  # of digital silence, a second and a half after the beginning
EXPORT_TOLERANCE = 1e-4  # largest deviation of any component of an embedding
CHECK_DURATIONS_S = (0.5, 1.0, 3.0, 20.0)
PREPARED_S = 4.0


def synthesise_voice(num_samples: int, sample_rate: int, seed: int) -> Float[np.ndarray, " samples"]:
    """Synthesise harmonics with vibrato and breath that swell from soft to loud, with a silent rest.

    Args:
        num_samples: number of samples of the result.
        sample_rate: sample rate in Hz.
        seed: random seed of pitch and breath.
    """
    generator = np.random.default_rng(seed)
    time_s = np.arange(num_samples) / sample_rate
    semitones = VIBRATO_SEMITONES * np.sin(2 * np.pi * VIBRATO_HZ * time_s)
    f0_hz = generator.uniform(110.0, 440.0) * 2.0 ** (semitones / 12.0)
    phase = 2 * np.pi * np.cumsum(f0_hz) / sample_rate
    harmonics = [k for k in range(1, NUM_HARMONICS) if 1.1 * k * f0_hz.max() < sample_rate / 2]
    tone = sum(np.sin(k * phase) / k**1.5 for k in harmonics)
    breath = 0.01 * generator.standard_normal(num_samples)
    swell = 0.02 + 0.3 * np.sin(np.pi * (0.1 + 0.4 * time_s) % np.pi) ** 2
    resting = (time_s % 3.0 >= 1.5) & (time_s % 3.0 < 1.5 + REST_S)
    voice: np.ndarray = np.where(resting, 0.0, swell * (tone + breath)).astype(np.float32)
    return voice


def measure_max_deviation(path: Path, model: Model, from_frames: bool) -> float:
    """Return the largest difference between embedding values of onnxruntime and of the model itself.

    Two test voices of each length of `generate_check_recordings` are embedded, together in one batch; and where the
    recipe prepares recordings, prepared ones against the model's own way from the recording to the embedding.

    Args:
        path: path of the exported model.
        model: the model.
        from_frames: whether it takes frames.

    Raises:
        SingerVerifyError: the difference is more than `EXPORT_TOLERANCE`.
    """
    from onnxruntime import InferenceSession  # type: ignore[import-untyped]

    session = InferenceSession(path, providers=["CPUExecutionProvider"])
    name, deviation = session.get_inputs()[0].name, 0.0
    for samples in generate_check_recordings(model):
        frames = compute_check_frames(samples, model)
        (given,) = session.run(None, {name: frames.numpy() if from_frames else samples})
        expected = np.stack([model.embed_frames(recording_frames) for recording_frames in frames])
        deviation = max(deviation, float(np.abs(given - expected).max()))
    for prepared, whole_frames in _generate_prepared_voices(model):
        (given,) = session.run(None, {name: (whole_frames if from_frames else prepared)[None].numpy()})
        deviation = max(deviation, float(np.abs(given[0] - model.embed_frames(whole_frames)).max()))
    if not deviation <= EXPORT_TOLERANCE:
        raise SingerVerifyError(
            f"the exported model differs from the model by {deviation:.1e} (more than {EXPORT_TOLERANCE:.0e}) and was "
            f"not kept; export the encoder alone with --frames, or use another version of torch or onnxruntime."
        )
    return deviation


def generate_check_recordings(model: Model) -> Iterator[Float[np.ndarray, "2 samples"]]:
    """Generate two voices of each length: the shortest possible, around one window, and up to 20 s."""
    feature = model.feature
    hop = feature.hop_ms * feature.sample_rate / 1000.0
    fewest = round(hop) if isinstance(feature, PrecomputedFeature) else find_min_samples(feature)
    around_window = [round((model.window_frames + more) * hop) for more in (-1, 0, 1)]
    lengths = {fewest, *around_window, *(round(seconds * feature.sample_rate) for seconds in CHECK_DURATIONS_S)}
    for length in sorted(length for length in lengths if length >= fewest):
        yield np.stack([synthesise_voice(length, feature.sample_rate, seed) for seed in (0, 1)])


@torch.inference_mode()
def _generate_prepared_voices(
    model: Model,
) -> Iterator[tuple[Float[torch.Tensor, " voice"], Float[torch.Tensor, "_ _"]]]:
    """Yield samples as the recipe prepares them, and frames of the whole recipe; nothing if it prepares none."""
    _, preparation = split_voice_feature(model.feature)
    if preparation is not None:
        for seed, gain in ((0, 1.0), (1, 0.1)):
            rate = model.feature.sample_rate
            samples = torch.from_numpy(gain * synthesise_voice(round(PREPARED_S * rate), rate, seed)).float()
            yield preparation.prepare_samples(samples, rate), model.feature(samples)


@torch.inference_mode()
def compute_check_frames(
    samples: Float[np.ndarray, "voices samples"], model: Model
) -> Float[torch.Tensor, "voices frames bins"]:
    """Compute frames of voices without pauses; for precomputed frames, draw as many between 0 and 1."""
    feature = model.feature
    if not isinstance(feature, PrecomputedFeature):
        in_torch = find_torch_obstacle(feature) is None
        front_end = build_prepared_front_end(feature) if in_torch else split_voice_feature(feature)[0]
        return torch.stack([front_end(torch.from_numpy(voice)) for voice in samples])
    num_frames = round(samples.shape[1] / feature.sample_rate * 1000.0 / feature.hop_ms)
    return torch.rand(len(samples), num_frames, feature.num_bins, generator=torch.Generator().manual_seed(num_frames))
