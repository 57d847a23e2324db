"""Speed, as ratios measured side by side in one run.

python scripts/benchmark.py              everything below
python scripts/benchmark.py step         training step ÷ bare LSTM step, fp32 ÷ bf16
python scripts/benchmark.py ge2e         the loss ÷ a loop over singers
python scripts/benchmark.py batches      batches per second from a store of 100 000 utterances
python scripts/benchmark.py mel          mel frames against librosa
python scripts/benchmark.py features     all recipes, against librosa and pyworld; extraction with two
                                         processes; steps on the fly and augmented ÷ with stored frames
python scripts/benchmark.py recognition  embedding against resemblyzer; error rates of 10^8 scores, of all pairs of
                                         30 000 utterances; `verify` from a cold start
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
import zlib
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated

import numpy as np

from singer_verify.environment import set_torch_environment

set_torch_environment("bf16-mixed")  # before torch is loaded

# isort: split
import librosa
import psutil
import pytorch_lightning as pl
import torch
import typer
from benchmark_features import features
from benchmark_recognition import recognition
from rich.console import Console
from rich.table import Table
from side_by_side import DEVICE, StepClock, synchronize
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, normalize
from torch.optim.lr_scheduler import ConstantLR
from torch.utils.data import DataLoader

from singer_verify.corpora.corpus import Utterance
from singer_verify.data.batches import SingerBatch, SingerBatchDataset
from singer_verify.data.datamodule import ResumableStepSampler
from singer_verify.data.sampler import SingerSampler
from singer_verify.encoders.lstm import LSTMEncoder
from singer_verify.features.mel import MelSpectrogram
from singer_verify.losses.ge2e import GE2ELoss
from singer_verify.losses.weighted import WeightedLoss
from singer_verify.runs.model_metadata import ModelMetadata
from singer_verify.store.index import format_index_row
from singer_verify.store.packed import FORMAT_VERSION, INDEX_COLUMNS, open_store, seal_manifest
from singer_verify.training.callbacks.non_finite import NonFiniteGuard
from singer_verify.training.loggers import RunTensorBoardLogger
from singer_verify.training.module import Verifier
from singer_verify.worker_processes import prepare_worker

app = typer.Typer(add_completion=False, help=__doc__)
console = Console()
NUM_BINS = 40
Shape = tuple[int, int, int]  # singers, utterances, frames


def write_store(folder: Path, num_singers: int, num_utterances: int, seed: int = 0) -> Path:
    """Write a finished store of random frames, with utterances of 2 to 4 s."""
    folder.mkdir(parents=True)
    generator = np.random.default_rng(seed)
    lengths = generator.integers(200, 401, num_utterances)
    others = generator.integers(0, num_singers, num_utterances - num_singers)
    singers = np.sort(np.concatenate([np.arange(num_singers), others]))
    noise = generator.random((100_000, NUM_BINS), np.float32).astype(np.float16)
    rows = [",".join(INDEX_COLUMNS) + "\n"]
    with open(folder / "frames.bin", "wb") as frames_file:
        for number, (singer, length) in enumerate(zip(singers, lengths, strict=True)):
            start = number * 97 % (len(noise) - 400)
            data = noise[start : start + length].tobytes()
            frames_file.write(data)
            utterance = Utterance(f"train/s{singer:05}/{number:06}.flac", f"s{singer:05}")
            rows.append(format_index_row(utterance, int(length), zlib.crc32(data), number, "", ""))
    index = "".join(rows).encode()
    (folder / "index.csv").write_bytes(index)
    manifest = {
        "version": FORMAT_VERSION,
        "recipe": MelSpectrogram(NUM_BINS).recipe,
        "dtype": "float16",
        "num_bins": NUM_BINS,
    }
    (folder / "store.json").write_text(json.dumps(seal_manifest(manifest, index)))
    open_store(folder)  # verifies all checksums and records that it did
    return folder


def build_batches(folder: Path, shape: Shape, num_batches: int) -> SingerBatchDataset:
    """Open a store, and build batches of the given shape from it."""
    store = open_store(folder)
    singers, utterances, frames = shape
    sampler = SingerSampler(store.singer_index, store.num_frames, singers, utterances, frames, seed=1)
    return SingerBatchDataset(store, sampler, num_batches)


def measure_s(work: Callable[[], object], repeats: int) -> float:
    """Return the median duration of `work` after one untimed call."""
    work()
    durations = []
    for _ in range(repeats):
        synchronize()
        start = time.perf_counter()
        work()
        synchronize()
        durations.append(time.perf_counter() - start)
    return statistics.median(durations)


def measure_training_step_s(
    batches: SingerBatchDataset, precision: str, num_workers: int, cuda_graph: bool | str = "auto"
) -> float:
    """Measure a whole training step in Lightning: batches, encoder, loss, clipping, logging and checks."""
    encoder = LSTMEncoder(NUM_BINS)
    verifier = Verifier(
        encoder,
        WeightedLoss({"ge2e": GE2ELoss(lr_multiplier=0.01)}, {"ge2e": 1.0}),
        partial(torch.optim.Adam, lr=1e-4),
        partial(ConstantLR, factor=1.0),
        metadata=ModelMetadata(MelSpectrogram(NUM_BINS).recipe, encoder.settings, 100, ()),
        cuda_graph=cuda_graph,
    )
    loader: DataLoader[SingerBatch] = DataLoader(
        batches,
        batch_size=None,
        sampler=ResumableStepSampler(0, len(batches)),
        num_workers=num_workers,
        worker_init_fn=prepare_worker,
        pin_memory=DEVICE.type == "cuda",
    )
    clock = StepClock()
    with tempfile.TemporaryDirectory() as folder:
        trainer = pl.Trainer(
            max_steps=len(batches),
            max_epochs=-1,
            precision=precision,  # type: ignore[arg-type]
            devices=1,
            gradient_clip_val=3.0,
            log_every_n_steps=5,
            limit_val_batches=0,
            logger=RunTensorBoardLogger(folder),
            callbacks=[NonFiniteGuard(), clock],
            enable_progress_bar=False,
            enable_model_summary=False,
            enable_checkpointing=False,
        )
        trainer.fit(verifier, loader)
    return clock.compute_median_step_s()


def build_bare_step(shape: Shape, in_graph: bool = False) -> Callable[[], None]:
    """Build the lower bound: forward, backward and Adam of the same LSTM, on a batch already on the device."""
    lstm = nn.LSTM(NUM_BINS, 256, 3, batch_first=True).to(DEVICE)
    optimizer = torch.optim.Adam(lstm.parameters(), fused=in_graph or None, capturable=in_graph)
    frames = torch.rand(shape[0] * shape[1], shape[2], NUM_BINS, device=DEVICE)

    def work() -> None:
        optimizer.zero_grad()
        lstm(frames)[1][0][-1].sum().backward()
        optimizer.step()

    return work


def measure_graph_floor_s(shape: Shape, repeats: int) -> float:
    """Measure the bare step, Adam included, as one CUDA graph: what no training on this GPU can be faster than."""
    work = build_bare_step(shape, in_graph=True)
    stream = torch.cuda.Stream()
    stream.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(stream):
        for _ in range(3):
            work()
    torch.cuda.current_stream().wait_stream(stream)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        work()
    return measure_s(graph.replay, repeats)


@app.command()
def step() -> None:
    """Training step ÷ bare LSTM step, with and without CUDA graphs, and fp32 ÷ bf16-mixed."""
    is_gpu = DEVICE.type == "cuda"
    columns = ("without graphs", "÷ bare", "graph alone", "÷ bare") if is_gpu else ()
    table = Table("singers × utterances × frames", "bare step", "whole step", "÷ bare", *columns, "bf16", "fp32 ÷ bf16")
    workers, repeats = (2, 60) if is_gpu else (0, 4)
    with tempfile.TemporaryDirectory() as folder:
        store = write_store(Path(folder) / "store", 200, 4000)
        for shape in ((8, 10, 307), (64, 10, 160)):
            batches = build_batches(store, shape, repeats + 3)
            # bound, singer_verify, bound: a machine that changes speed meanwhile favours neither
            before_s = measure_s(build_bare_step(shape), repeats)
            whole_s = measure_training_step_s(batches, "32", workers)
            bare_s = (before_s + measure_s(build_bare_step(shape), repeats)) / 2
            others_s = []
            if is_gpu:
                others_s = [
                    measure_training_step_s(batches, "32", workers, False),
                    measure_graph_floor_s(shape, repeats),
                ]
            half_s = measure_training_step_s(batches, "bf16-mixed", workers)
            table.add_row(
                " × ".join(map(str, shape)),
                f"{1000 * bare_s:.1f} ms",
                *(text for s in (whole_s, *others_s) for text in (f"{1000 * s:.1f} ms", f"{s / bare_s:.3f}")),
                *(f"{1000 * half_s:.1f} ms", f"{whole_s / half_s:.2f}"),
            )
    console.print(table)


def compute_ge2e_with_loop(embeddings: Tensor, scale: Tensor, offset: Tensor) -> Tensor:
    """Compute GE2E with a loop over singers, as earlier singer encoders do."""
    num_singers, num_utterances, _ = embeddings.shape
    centroids = normalize(embeddings.mean(dim=1), dim=1)
    others = (embeddings.sum(dim=1, keepdim=True) - embeddings) / (num_utterances - 1)
    others = normalize(others, dim=2)
    similarities = torch.zeros(num_singers, num_utterances, num_singers, device=embeddings.device)
    for singer in range(num_singers):
        rest = [number for number in range(num_singers) if number != singer]
        similarities[rest, :, singer] = (embeddings[rest] * centroids[singer]).sum(dim=2)
        similarities[singer, :, singer] = (embeddings[singer] * others[singer]).sum(dim=1)
    labels = torch.arange(num_singers, device=embeddings.device).repeat_interleave(num_utterances)
    return cross_entropy((scale * similarities + offset).flatten(0, 1), labels)


@app.command()
def ge2e() -> None:
    """GE2E loss with its gradient ÷ a loop over singers."""
    table = Table("singers × utterances", "singer_verify", "loop", "loop ÷ singer_verify")
    loss = GE2ELoss().to(DEVICE)
    for singers in (8, 64):
        embeddings = normalize(torch.randn(singers, 10, 256, device=DEVICE), dim=2).requires_grad_()
        numbers = torch.arange(singers, device=DEVICE)
        module_s = measure_s(lambda e=embeddings, n=numbers: loss(e, n)["ge2e"].backward(), 20)  # type: ignore[misc]
        loop = measure_s(lambda e=embeddings: compute_ge2e_with_loop(e, loss.scale, loss.offset).backward(), 20)  # type: ignore[misc]
        table.add_row(f"{singers} × 10", f"{1000 * module_s:.2f} ms", f"{1000 * loop:.2f} ms", f"{loop / module_s:.1f}")
    console.print(table)


def get_private_bytes() -> int:
    """Return the memory of this process alone, without mapped files, whose pages the system can reclaim."""
    memory = psutil.Process().memory_info()
    return int(memory.rss - memory.shared)


@app.command(hidden=True)
def read_store(folder: Path) -> None:
    """Open a store, plan batches and read some, as a loader process does. Prints JSON."""
    private_before = get_private_bytes()
    start = time.perf_counter()
    batches = build_batches(folder, (64, 10, 160), 1000)
    startup_s = time.perf_counter() - start
    for number in range(20):
        batches[number]
    start = time.perf_counter()
    for number in range(20, 620):
        batches[number]
    per_second = 600 / (time.perf_counter() - start)
    private_mb = (get_private_bytes() - private_before) / 1e6
    print(json.dumps({"startup_s": startup_s, "per_second": per_second, "private_mb": private_mb}))


@app.command()
def batches() -> None:
    """Batches of 64 × 10 × 160 × 40 per second and process, from stores of two sizes."""
    table = Table("utterances", "singers", "store", "start-up", "batches per second", "private memory")
    for num_utterances, num_singers in ((10_000, 500), (100_000, 5_000)):
        with tempfile.TemporaryDirectory() as folder:
            store = write_store(Path(folder) / "store", num_singers, num_utterances)
            command = [sys.executable, __file__, "read-store", str(store)]
            result = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
            size_gb = (store / "frames.bin").stat().st_size / 1e9
        table.add_row(
            *(f"{num_utterances}", f"{num_singers}", f"{size_gb:.1f} GB", f"{result['startup_s']:.2f} s"),
            *(f"{result['per_second']:.0f}", f"{result['private_mb']:.0f} MB"),
        )
    console.print(table)


app.command()(features)
app.command()(recognition)


@app.command()
def mel() -> None:
    """Mel frames in multiples of real time, on one thread, against librosa."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    clips = np.random.default_rng(0).standard_normal((20, 4 * 16_000)).astype(np.float32) * 0.1
    feature = MelSpectrogram(NUM_BINS)
    filterbank = librosa.filters.mel(sr=16_000, n_fft=1024, n_mels=NUM_BINS, fmin=90, fmax=7600)

    def compute_frames() -> None:
        for clip in clips:
            feature(torch.from_numpy(clip))

    def with_librosa() -> None:
        for clip in clips:
            magnitudes = np.abs(librosa.stft(clip, n_fft=1024, hop_length=160))
            level_db = 20 * np.log10(np.maximum(1e-5, filterbank @ magnitudes)) - 16
            np.clip((level_db + 100) / 100, 0, 1)

    audio_s = clips.size / 16_000
    frames_x, librosa_x = audio_s / measure_s(compute_frames, 5), audio_s / measure_s(with_librosa, 5)
    torch.set_num_threads(threads)
    table = Table("mel40", "× real time", "singer_verify ÷ librosa")
    table.add_row("singer_verify, one thread", f"{frames_x:.0f}", f"{frames_x / librosa_x:.2f}")
    table.add_row("librosa", f"{librosa_x:.0f}", "")
    if DEVICE.type == "cuda":
        on_gpu, batch = feature.to(DEVICE), torch.from_numpy(clips).to(DEVICE)
        gpu_x = audio_s / measure_s(lambda: on_gpu(batch), 20)
        table.add_row("singer_verify, one batch on the GPU", f"{gpu_x:.0f}", f"{gpu_x / librosa_x:.0f}")
    console.print(table)


@app.callback(invoke_without_command=True)
def everything(
    context: typer.Context, threads: Annotated[int, typer.Option(help="torch threads; 0: default")] = 0
) -> None:
    """Run the given benchmark, or all."""
    torch.set_flush_denormal(True)  # as train.py does
    if threads:
        torch.set_num_threads(threads)
    if context.invoked_subcommand is None:
        console.print(f"{DEVICE.type}, torch {torch.__version__}, {torch.get_num_threads()} threads")
        for part in (step, ge2e, batches, mel, features, recognition):
            part()


if __name__ == "__main__":
    import logging
    import warnings

    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    app()
