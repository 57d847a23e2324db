"""Speed of inference and evaluation: embedding against the resemblyzer package, error rates of very many trials.

    python scripts/benchmark_recognition.py     or as a part of scripts/benchmark.py

Embedding is measured only after `pip install resemblyzer 'setuptools<81'`, which the package does not depend on.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from singer_verify.environment import set_torch_environment

set_torch_environment()  # before torch is loaded

# isort: split
import torch
import typer
from rich.console import Console
from rich.table import Table
from side_by_side import measure_interleaved_s

from singer_verify.audio.clip import AudioClip
from singer_verify.encoders.lstm import LSTMEncoder
from singer_verify.evaluation.conditions import UtteranceMetadata
from singer_verify.evaluation.evaluate import EvaluationSettings, evaluate
from singer_verify.evaluation.metrics.error_rates import compute_eer
from singer_verify.evaluation.scoring.scoring import COSINE
from singer_verify.features.mel import MelSpectrogram
from singer_verify.features.resemblyzer import Resemblyzer
from singer_verify.inference import load_model
from singer_verify.runs.model_metadata import METADATA_KEY, ModelMetadata
from singer_verify.training.import_weights import import_weights_as_run

EXAMPLE_CORPUS = Path(__file__).parents[1] / "example_dataset"
SAMPLE_RATE = 16_000
ANSWER_EXIT_CODES = (0, 3)  # of `verify`: the same singer, different singers
app = typer.Typer(add_completion=False, help=__doc__)
console = Console()


def read_clips(num_clips: int) -> list[np.ndarray]:
    """Read recordings of the example corpus, so that decoding is not part of the measurement."""
    import soundfile

    paths = sorted(EXAMPLE_CORPUS.rglob("*.flac"))[:num_clips]
    return [soundfile.read(path, dtype="float32")[0] for path in paths]


def build_embedding_table(num_clips: int, repeats: int) -> Table | None:
    """Measure embedding in multiples of real time, against the package with the same weights, on one and two cores."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import resemblyzer
    except ImportError as error:
        console.print(f"embedding: not measured because resemblyzer cannot be imported ({error}).")
        return None
    package_encoder = resemblyzer.VoiceEncoder("cpu", verbose=False)
    with tempfile.TemporaryDirectory() as folder:
        import_weights_as_run(
            Path(resemblyzer.__file__).parent / "pretrained.pt", Resemblyzer(), 160, Path(folder) / "run"
        )
        embedder = load_model(Path(folder) / "run")
    clips = read_clips(num_clips)
    audio_s = sum(map(len, clips)) / SAMPLE_RATE
    windows = torch.rand(64, 160, 40)
    num_windows = sum(len(embedder.embed_windows(clip, SAMPLE_RATE).windows) for clip in clips)
    table = Table(
        "cores", "singer_verify, × real time", "resemblyzer", "ratio", "bare LSTM on its windows", "of that ceiling"
    )
    for threads in (1, 2):
        torch.set_num_threads(threads)

        def together(num_workers: int = threads - 1) -> None:
            list(embedder.embed_many([AudioClip(clip, SAMPLE_RATE) for clip in clips], num_workers))

        def package() -> None:
            for clip in clips:
                package_encoder.embed_utterance(clip)

        @torch.inference_mode()
        def bare() -> None:
            for _ in range(-(-num_windows // 64)):
                embedder.encoder(windows)

        embedder_x, package_x, bare_x = (
            audio_s / duration_s for duration_s in measure_interleaved_s([together, package, bare], repeats)
        )
        numbers = (f"{embedder_x:.0f}", f"{package_x:.0f}", f"{embedder_x / package_x:.2f}", f"{bare_x:.0f}")
        table.add_row(str(threads), *numbers, f"{100 * embedder_x / bare_x:.0f} %")
    return table


def run_measurement(command: str, *arguments: object) -> dict[str, Any]:
    """Run a command of this script in a process of its own, for its memory usage, and return what it prints."""
    line = [sys.executable, __file__, command, *map(str, arguments)]
    return json.loads(subprocess.run(line, capture_output=True, text=True, check=True).stdout)


def get_peak_gb() -> float:
    """Return the peak memory of this process in GB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


@app.command(hidden=True)
def measure_eer(num_trials: int) -> None:
    """Measure time and memory of one EER. Prints JSON."""
    generator = np.random.default_rng(0)
    is_target = generator.random(num_trials, dtype=np.float32) < 0.1
    scores = generator.standard_normal(num_trials, dtype=np.float32) + np.float32(2) * is_target
    before = get_peak_gb()
    start = time.perf_counter()
    eer, _ = compute_eer(scores, is_target)
    print(json.dumps({"seconds": time.perf_counter() - start, "before": before, "peak_gb": get_peak_gb(), "eer": eer}))


@app.command(hidden=True)
def measure_evaluation(num_utterances: int, num_singers: int, with_labels: bool = False) -> None:
    """Measure time and memory of evaluating all pairs. Prints JSON."""
    generator = np.random.default_rng(0)
    singer_index = np.arange(num_utterances) % num_singers
    centres = generator.standard_normal((num_singers, 256), dtype=np.float32)
    embeddings = centres[singer_index] + 2 * generator.standard_normal((num_utterances, 256), dtype=np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    labels = {}
    if with_labels:
        labels["gender"] = np.where(singer_index % 2, "female", "male").astype(object)
        for name, num_values in (("song", 20), ("technique", 6), ("vowel", 5), ("exercise", 4), ("emotion", 6)):
            labels[name] = generator.integers(0, num_values, num_utterances).astype(str).astype(object)
    described = UtteranceMetadata(labels)
    if with_labels:
        seconds, f0_hz = generator.uniform(1, 15, num_utterances), generator.uniform(100, 600, num_utterances)
        described = UtteranceMetadata(labels, seconds, f0_hz)
    start = time.perf_counter()
    evaluation = evaluate(embeddings, singer_index, described, EvaluationSettings(COSINE))
    every, eer = evaluation.conditions[0], evaluation.metrics["eer"]
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - start,
                "peak_gb": get_peak_gb(),
                "num_trials": every.num_targets + every.num_nontargets,
                "num_conditions": len(evaluation.conditions),
                "eer": eer.value,
                "low": eer.low,
                "high": eer.high,
            }
        )
    )


def build_evaluation_table(num_utterances: int, num_scores: int) -> Table:
    """Measure evaluations in processes of their own."""
    table = Table("evaluation", "trials", "seconds", "peak memory")
    eer_result = run_measurement("measure-eer", num_scores)
    table.add_row(
        "EER of scores at hand", f"{num_scores:.1e}", f"{eer_result['seconds']:.1f}", f"{eer_result['peak_gb']:.2f} GB"
    )
    for with_labels in (False, True):
        result = run_measurement(
            "measure-evaluation", num_utterances, num_utterances // 30, *(["--with-labels"] if with_labels else [])
        )
        name = f"all figures with intervals, {result['num_conditions']} conditions"
        table.add_row(name, f"{result['num_trials']:.1e}", f"{result['seconds']:.0f}", f"{result['peak_gb']:.2f} GB")
    return table


def measure_cold_start_s(repeats: int) -> float:
    """Measure `singer-verify verify` from start to answer, with a model of the default size."""
    encoder = LSTMEncoder(40)
    metadata = ModelMetadata(MelSpectrogram(40).recipe, encoder.settings, 160, ("a", "b"))
    state = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    left, right = sorted(EXAMPLE_CORPUS.rglob("*.flac"))[:2]
    with tempfile.TemporaryDirectory() as folder:
        torch.save({"state_dict": state, METADATA_KEY: metadata.to_dict()}, Path(folder) / "model.ckpt")
        arguments = [f"{folder}/model.ckpt", str(left), str(right), "--threshold", "0.5"]
        durations = []
        for _ in range(repeats):
            start = time.perf_counter()
            line = [sys.executable, "-m", "singer_verify.cli", "verify", *arguments]
            completed = subprocess.run(line, capture_output=True, text=True)
            durations.append(time.perf_counter() - start)
            if completed.returncode not in ANSWER_EXIT_CODES:
                raise SystemExit(f"verify gave no answer: {completed.stderr}")
    return statistics.median(durations)


@app.command()
def recognition(
    clips: Annotated[int, typer.Option(help="Recordings to embed.")] = 96,
    repeats: Annotated[int, typer.Option(help="Measurements, of which the median is reported.")] = 3,
    utterances: Annotated[int, typer.Option(help="Utterances in the evaluation of all pairs.")] = 30_000,
    scores: Annotated[int, typer.Option(help="Scores in the EER.")] = 100_000_000,
) -> None:
    """Embedding against resemblyzer; EER of 10^8 scores; all pairs of 30 000 utterances; `verify` from a cold start."""
    threads = torch.get_num_threads()
    speeds = build_embedding_table(clips, repeats)
    torch.set_num_threads(threads)
    if speeds is not None:
        console.print(speeds)
    console.print(build_evaluation_table(utterances, scores))
    console.print(f"singer-verify verify, from a cold start: {measure_cold_start_s(repeats + 2):.1f} s")


if __name__ == "__main__":
    if len(sys.argv) == 1:
        sys.argv.append("recognition")
    app()
