"""Speed of feature recipes: multiples of real time on one core against library calls; extraction in parallel."""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import librosa
import numpy as np
import soundfile
import torch
import typer
from benchmark_augmentation import benchmark_steps_on_the_fly
from rich.console import Console
from rich.table import Table
from side_by_side import measure_interleaved_s
from singing_synthesis import draw_drift, resample_curve

from singer_verify.corpora.corpus import Corpus, read_corpus
from singer_verify.features.f0 import load_pyworld
from singer_verify.features.recipe import build_feature, read_recipe
from singer_verify.store.extraction import load_or_compute_store

RECIPES = Path(__file__).parents[1] / "conf/features"
EXTRACTED_RECIPES = ("mel40", "world")
Samples = np.ndarray[Any, np.dtype[np.float32]]


def synthesise_voice(seconds: float, sample_rate: int, seed: int) -> Samples:
    """Synthesise harmonics of a drifting pitch with some noise, on which pitch trackers work as on a voice."""
    generator = np.random.default_rng(seed)
    f0_hz = resample_curve(220.0 * 2.0 ** (draw_drift(generator, round(200 * seconds)) / 6), sample_rate)
    phase = 2 * np.pi * np.cumsum(f0_hz) / sample_rate
    tone = sum(np.sin(k * phase) / k for k in range(1, 16))
    return (0.1 * tone + 0.003 * generator.standard_normal(phase.size)).astype(np.float32)


def compute_librosa_mel(samples: Samples, recipe: dict[str, Any]) -> Any:
    return librosa.power_to_db(
        librosa.feature.melspectrogram(
            y=samples,
            sr=recipe["sample_rate"],
            n_fft=recipe["n_fft"],
            hop_length=recipe["sample_rate"] * recipe["hop_ms"] // 1000,
            n_mels=recipe.get("num_mels", recipe["num_bins"]),
            fmin=recipe["fmin_hz"],
            fmax=recipe["fmax_hz"],
        )
    )


def compute_librosa_mfcc(samples: Samples, recipe: dict[str, Any]) -> object:
    return librosa.feature.mfcc(S=compute_librosa_mel(samples, recipe), n_mfcc=recipe["num_bins"])


def compute_librosa_pcen(samples: Samples, recipe: dict[str, Any]) -> object:
    hop_samples = recipe["sample_rate"] * recipe["hop_ms"] // 1000
    bands = librosa.feature.melspectrogram(
        y=samples,
        sr=recipe["sample_rate"],
        n_fft=recipe["n_fft"],
        hop_length=hop_samples,
        n_mels=recipe["num_bins"],
        fmin=recipe["fmin_hz"],
        fmax=recipe["fmax_hz"],
        power=1.0,
    )
    return librosa.pcen(bands, sr=recipe["sample_rate"], hop_length=hop_samples, eps=recipe["epsilon"])


def compute_librosa_cqt(samples: Samples, recipe: dict[str, Any]) -> object:
    return librosa.cqt(
        samples,
        sr=recipe["sample_rate"],
        hop_length=recipe["sample_rate"] * recipe["hop_ms"] // 1000,
        fmin=recipe["fmin_hz"],
        n_bins=recipe["num_octaves"] * recipe["bins_per_octave"],
        bins_per_octave=recipe["bins_per_octave"],
    )


def compute_librosa_rms(samples: Samples, recipe: dict[str, Any]) -> object:
    per_ms = recipe["sample_rate"] // 1000
    lengths = {"frame_length": recipe["frame_ms"] * per_ms, "hop_length": recipe["hop_ms"] * per_ms}
    return np.log(librosa.feature.rms(y=samples, **lengths))


def compute_pyworld_pitch(samples: Samples, recipe: dict[str, Any]) -> Any:
    """Return samples in double precision, f0 in Hz, and frame times in seconds."""
    world, double = load_pyworld(), samples.astype(np.float64)
    limits = {"f0_floor": recipe["f0_min_hz"], "f0_ceil": recipe["f0_max_hz"], "frame_period": recipe["hop_ms"]}
    f0_hz, times_s = world.dio(double, recipe["sample_rate"], **limits)
    return double, world.stonemask(double, f0_hz, times_s, recipe["sample_rate"]), times_s


def compute_pyworld_envelope(samples: Samples, recipe: dict[str, Any]) -> object:
    world, sample_rate = load_pyworld(), recipe["sample_rate"]
    analysed = compute_pyworld_pitch(samples, recipe)
    envelope = world.cheaptrick(*analysed, sample_rate, f0_floor=recipe["f0_min_hz"])
    coded = [world.code_spectral_envelope(envelope, sample_rate, recipe["num_envelope_bins"])]
    if recipe["aperiodicity"]:
        coded.append(world.code_aperiodicity(world.d4c(*analysed, sample_rate), sample_rate))
    return np.hstack(coded)


LIBRARY_CALLS: dict[str, Callable[[Samples, dict[str, Any]], object]] = {
    "mel40": compute_librosa_mel,
    "mel80": compute_librosa_mel,
    "mel128_44k": compute_librosa_mel,
    "mfcc": compute_librosa_mfcc,
    "energy": compute_librosa_rms,
    "cqt": compute_librosa_cqt,
    "pcen": compute_librosa_pcen,
    "pitch": compute_pyworld_pitch,
    "pitch_contour": compute_pyworld_pitch,
    "world": compute_pyworld_envelope,
    "world+ap": compute_pyworld_envelope,
}


def build_recipe_row(name: str, num_clips: int, seconds: float, repeats: int) -> tuple[str, str, str, str]:
    """Measure a recipe and the equivalent library call in multiples of real time, and their ratio."""
    recipe = read_recipe(str(RECIPES / f"{name}.yaml"))
    feature, call = build_feature(recipe), LIBRARY_CALLS.get(name)
    clips = [synthesise_voice(seconds, feature.sample_rate, seed) for seed in range(num_clips)]

    @torch.inference_mode()
    def compute_frames() -> None:
        for clip in clips:
            feature(torch.from_numpy(clip))

    def with_library() -> None:
        for clip in clips:
            assert call is not None
            call(clip, recipe)

    durations_s = measure_interleaved_s([compute_frames, with_library] if call else [compute_frames], repeats)
    recipe_x, *library_x = (num_clips * seconds / duration_s for duration_s in durations_s)
    return name, f"{recipe_x:.0f}", *((f"{library_x[0]:.0f}", f"{recipe_x / library_x[0]:.2f}") if call else ("", ""))


def write_corpus(root: Path, num_clips: int, seconds: float) -> Corpus:
    for split in ("train", "val"):
        for number in range(num_clips):
            folder = root / split / f"{split}{number % 2}"
            folder.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / f"{number}.flac", synthesise_voice(seconds, 16_000, number), 16_000)
    return read_corpus(root)


def build_extraction_row(name: str, num_clips: int, seconds: float) -> tuple[str, str, str, str]:
    """Measure the computation of a store with one and two processes, from decoding to disk, and the ratio."""
    feature = build_feature(read_recipe(str(RECIPES / f"{name}.yaml")))
    durations_s = []
    with tempfile.TemporaryDirectory() as folder:
        corpus = write_corpus(Path(folder) / "corpus", num_clips, seconds)
        for num_workers in (1, 2):
            start = time.perf_counter()
            load_or_compute_store(
                corpus, "train", feature, Path(folder) / f"store{num_workers}", "float16", num_workers
            )
            durations_s.append(time.perf_counter() - start)
    return name, *(f"{duration_s:.1f} s" for duration_s in durations_s), f"{durations_s[0] / durations_s[1]:.2f}"  # type: ignore[return-value]


def features(
    clips: Annotated[int, typer.Option(help="Utterances per measurement.")] = 10,
    seconds: Annotated[float, typer.Option(help="Length of an utterance.")] = 4.0,
    repeats: Annotated[int, typer.Option(help="Measurements, of which the median is reported.")] = 5,
    extracted: Annotated[int, typer.Option(help="Utterances for the parallel extraction.")] = 300,
) -> None:
    """Recipes in multiples of real time, against libraries; extraction with 2 processes; features on the fly."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    console = Console()
    speeds = Table("recipe, one thread", "× real time", "library", "singer_verify ÷ library")
    for name in sorted(path.stem for path in RECIPES.glob("*.yaml")):
        speeds.add_row(*build_recipe_row(name, clips, seconds, repeats))
    console.print(speeds)
    parallel = Table("extraction", "1 process", "2 processes", "gain")
    for name in EXTRACTED_RECIPES:
        parallel.add_row(*build_extraction_row(name, extracted, seconds))
    console.print(parallel)
    torch.set_num_threads(threads)
    benchmark_steps_on_the_fly()
