"""Speed of the recipes: multiples of real time on one core, beside plain loops over library calls; and in parallel."""

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
from benchmark_augmentation import steps_on_the_fly
from rich.console import Console
from rich.table import Table
from side_by_side import seconds_in_turns
from singing_synthesis import at_rate, drift

from singer_verify.corpora.corpus import Corpus, read_corpus
from singer_verify.features.f0 import load_pyworld
from singer_verify.features.recipe import build_feature, read_recipe
from singer_verify.store.extraction import load_or_compute_store

RECIPES = Path(__file__).parents[1] / "conf/features"
IN_PARALLEL = ("mel40", "world")
Samples = np.ndarray[Any, np.dtype[np.float32]]


def voice(seconds: float, sample_rate: int, seed: int) -> Samples:
    """Harmonics of a pitch that wanders, with some noise; trackers work on it as on a voice."""
    generator = np.random.default_rng(seed)
    f0_hz = at_rate(220.0 * 2.0 ** (drift(generator, round(200 * seconds)) / 6), sample_rate)
    phase = 2 * np.pi * np.cumsum(f0_hz) / sample_rate
    tone = sum(np.sin(k * phase) / k for k in range(1, 16))
    return (0.1 * tone + 0.003 * generator.standard_normal(phase.size)).astype(np.float32)


def librosa_mel(samples: Samples, recipe: dict[str, Any]) -> Any:
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


def librosa_mfcc(samples: Samples, recipe: dict[str, Any]) -> object:
    return librosa.feature.mfcc(S=librosa_mel(samples, recipe), n_mfcc=recipe["num_bins"])


def librosa_cqt(samples: Samples, recipe: dict[str, Any]) -> object:
    return librosa.cqt(
        samples,
        sr=recipe["sample_rate"],
        hop_length=recipe["sample_rate"] * recipe["hop_ms"] // 1000,
        fmin=recipe["fmin_hz"],
        n_bins=recipe["num_octaves"] * recipe["bins_per_octave"],
        bins_per_octave=recipe["bins_per_octave"],
    )


def librosa_rms(samples: Samples, recipe: dict[str, Any]) -> object:
    per_ms = recipe["sample_rate"] // 1000
    lengths = {"frame_length": recipe["frame_ms"] * per_ms, "hop_length": recipe["hop_ms"] * per_ms}
    return np.log(librosa.feature.rms(y=samples, **lengths))


def pyworld_pitch(samples: Samples, recipe: dict[str, Any]) -> Any:
    """Double samples, f0, times of frames."""
    world, double = load_pyworld(), samples.astype(np.float64)
    limits = {"f0_floor": recipe["f0_min_hz"], "f0_ceil": recipe["f0_max_hz"], "frame_period": recipe["hop_ms"]}
    f0_hz, times_s = world.dio(double, recipe["sample_rate"], **limits)
    return double, world.stonemask(double, f0_hz, times_s, recipe["sample_rate"]), times_s


def pyworld_envelope(samples: Samples, recipe: dict[str, Any]) -> object:
    world, sample_rate = load_pyworld(), recipe["sample_rate"]
    analysed = pyworld_pitch(samples, recipe)
    envelope = world.cheaptrick(*analysed, sample_rate, f0_floor=recipe["f0_min_hz"])
    coded = [world.code_spectral_envelope(envelope, sample_rate, recipe["num_envelope_bins"])]
    if recipe["aperiodicity"]:
        coded.append(world.code_aperiodicity(world.d4c(*analysed, sample_rate), sample_rate))
    return np.hstack(coded)


LIBRARY_CALLS: dict[str, Callable[[Samples, dict[str, Any]], object]] = {
    "mel40": librosa_mel,
    "mel80": librosa_mel,
    "mel128_44k": librosa_mel,
    "mfcc": librosa_mfcc,
    "energy": librosa_rms,
    "cqt": librosa_cqt,
    "pitch": pyworld_pitch,
    "pitch_contour": pyworld_pitch,
    "world": pyworld_envelope,
    "world+ap": pyworld_envelope,
}


def recipe_row(name: str, num_clips: int, seconds: float, repeats: int) -> tuple[str, str, str, str]:
    """Multiples of real time of a recipe and of the library's calls, and the ratio."""
    recipe = read_recipe(str(RECIPES / f"{name}.yaml"))
    feature, call = build_feature(recipe), LIBRARY_CALLS.get(name)
    clips = [voice(seconds, feature.sample_rate, seed) for seed in range(num_clips)]

    @torch.inference_mode()
    def ours() -> None:
        for clip in clips:
            feature(torch.from_numpy(clip))

    def with_library() -> None:
        for clip in clips:
            assert call is not None
            call(clip, recipe)

    taken_s = seconds_in_turns([ours, with_library] if call else [ours], repeats)
    ours_x, *library_x = (num_clips * seconds / each for each in taken_s)
    return name, f"{ours_x:.0f}", *((f"{library_x[0]:.0f}", f"{ours_x / library_x[0]:.2f}") if call else ("", ""))


def write_corpus(root: Path, num_clips: int, seconds: float) -> Corpus:
    for split in ("train", "val"):
        for number in range(num_clips):
            folder = root / split / f"{split}{number % 2}"
            folder.mkdir(parents=True, exist_ok=True)
            soundfile.write(folder / f"{number}.flac", voice(seconds, 16_000, number), 16_000)
    return read_corpus(root)


def extraction_row(name: str, num_clips: int, seconds: float) -> tuple[str, str, str, str]:
    """Seconds in which the store is computed by one and by two processes, from decoding to disk, and the ratio."""
    feature = build_feature(read_recipe(str(RECIPES / f"{name}.yaml")))
    taken_s = []
    with tempfile.TemporaryDirectory() as folder:
        corpus = write_corpus(Path(folder) / "corpus", num_clips, seconds)
        for num_workers in (1, 2):
            start = time.perf_counter()
            load_or_compute_store(
                corpus, "train", feature, Path(folder) / f"store{num_workers}", "float16", num_workers
            )
            taken_s.append(time.perf_counter() - start)
    return name, *(f"{each:.1f} s" for each in taken_s), f"{taken_s[0] / taken_s[1]:.2f}"  # type: ignore[return-value]


def features(
    clips: Annotated[int, typer.Option(help="Utterances for one measurement.")] = 10,
    seconds: Annotated[float, typer.Option(help="Length of an utterance.")] = 4.0,
    repeats: Annotated[int, typer.Option(help="Measurements of each, of which the median is told.")] = 5,
    extracted: Annotated[int, typer.Option(help="Utterances for the parallel extraction.")] = 300,
) -> None:
    """Recipes in multiples of real time against librosa or pyworld; extraction with 2 processes; frames on the fly."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    console = Console()
    speeds = Table("recipe, one thread", "× real time", "library", "ours ÷ library")
    for name in sorted(path.stem for path in RECIPES.glob("*.yaml")):
        speeds.add_row(*recipe_row(name, clips, seconds, repeats))
    console.print(speeds)
    parallel = Table("extraction", "1 process", "2 processes", "gain")
    for name in IN_PARALLEL:
        parallel.add_row(*extraction_row(name, extracted, seconds))
    console.print(parallel)
    torch.set_num_threads(threads)
    steps_on_the_fly()
