"""Cost of a training step with features computed on the fly and with augmentation, relative to stored frames.

    python scripts/benchmark_augmentation.py                         batch size for this machine
    python scripts/benchmark_augmentation.py --singers 4 --steps 8   smaller batches

Measures whole Lightning steps (loader, recipe, LSTM of 3 × 256, GE2E, Adam). The kinds alternate `--rounds` times, so
that a machine that slows down favours none. As the ratios depend on how fast the rest of a step is, the time of frames
and augmentation alone stands beside them: that of the device, and how long the host is busy with it before it may go
on, which it does while the device still works. In a training, a GPU does both beside the step before.
"""

import statistics
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from singer_verify.environment import set_torch_environment

set_torch_environment()  # before torch is loaded

# isort: split
import pytorch_lightning as pl
import soundfile
import torch
import typer
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from pytorch_lightning.utilities import move_data_to_device
from rich.console import Console
from rich.table import Table
from side_by_side import DEVICE, StepClock, synchronize
from torch.optim.lr_scheduler import ConstantLR

from singer_verify.data.batches import PendingBatch
from singer_verify.data.datamodule import SingerDataModule
from singer_verify.encoders.lstm import LSTMEncoder
from singer_verify.export.onnx_check import synthesise_voice
from singer_verify.features.mel import MelSpectrogram
from singer_verify.losses.ge2e import GE2ELoss
from singer_verify.losses.weighted import WeightedLoss
from singer_verify.runs.model_metadata import ModelMetadata
from singer_verify.training.module import Verifier

CONF = Path(__file__).resolve().parents[1] / "conf"
KINDS = {
    "stored frames": ("none", False),
    "on the fly": ("none", True),
    "on the fly, augmentation=seed": ("seed", True),
    "on the fly, augmentation=strong": ("strong", True),
}
IS_GPU = DEVICE.type == "cuda"
Shape = tuple[int, int, int]  # singers, utterances, frames


def write_corpus(root: Path, num_singers: int, seconds: float) -> Path:
    """Write utterances of synthetic voices, whose content does not affect the cost of a step."""
    for split, count in (("train", num_singers), ("val", 2)):
        for singer in range(count):
            folder = root / split / f"{split}{singer:04}"
            folder.mkdir(parents=True)
            for utterance in range(4):
                samples = synthesise_voice(round(seconds * 16_000), 16_000, seed=1000 * count + 4 * singer + utterance)
                soundfile.write(folder / f"{utterance}.wav", samples, 16_000, subtype="PCM_16")
    return root


def build_data(kind: str, corpus: Path, shape: Shape, num_workers: int) -> SingerDataModule:
    """Build the data module of one kind of step, with its stores computed."""
    augmentation, on_the_fly = KINDS[kind]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        settings = compose(f"augmentation/{augmentation}").augmentation
    store = str(corpus.with_name("store"))
    data = SingerDataModule(
        root=str(corpus),
        feature=MelSpectrogram(40),
        num_frames=shape[2],
        singers_per_batch=shape[0],
        utterances_per_singer=shape[1],
        num_workers=num_workers,
        num_val_batches=1,
        store_root=store,
        store_dtype="float16",
        num_extraction_workers=0,
        seed=1,
        on_the_fly=on_the_fly,
        augmentation=instantiate(settings),
    )
    data.prepare_data()
    data.setup()
    return data


def measure_step_s(data: SingerDataModule, num_steps: int) -> float:
    """Measure a whole training step in Lightning."""
    encoder = LSTMEncoder(40)
    verifier = Verifier(
        encoder,
        WeightedLoss({"ge2e": GE2ELoss(lr_multiplier=0.01)}, {"ge2e": 1.0}),
        partial(torch.optim.Adam, lr=1e-4),
        partial(ConstantLR, factor=1.0),
        metadata=ModelMetadata(MelSpectrogram(40).recipe, encoder.settings, data.num_frames, ()),
    )
    clock = StepClock()
    quiet: dict[str, Any] = {f"enable_{name}": False for name in ("progress_bar", "model_summary", "checkpointing")}
    trainer = pl.Trainer(
        max_steps=num_steps,
        max_epochs=-1,
        devices=1,
        gradient_clip_val=3.0,
        limit_val_batches=0,
        logger=False,
        callbacks=[clock],
        **quiet,
    )
    trainer.fit(verifier, data)
    return clock.compute_median_step_s()


def measure_augmentation_s(data: SingerDataModule, num_batches: int) -> tuple[float, float]:
    """Measure frames and augmentation of batches on the device: until they are done, and until the host may go on."""
    source = data.normalised.get("train") or data.stores["train"]
    dataset = data.training_batches.batches(source, data.train_sampler, num_batches + 1, 0, 1)
    done, returned = [], []
    for step in range(num_batches + 1):
        batch = move_data_to_device(dataset[step], DEVICE)
        synchronize()
        start = time.perf_counter()
        if isinstance(batch, PendingBatch):
            data.training_batches.apply_augmentation(batch)
        returned.append(time.perf_counter() - start)
        synchronize()
        done.append(time.perf_counter() - start)
    return statistics.median(done[1:]), statistics.median(returned[1:])


def measure_parts_s(data: SingerDataModule, num_batches: int) -> dict[str, float]:
    """Measure each augmentation of samples alone, on the crops that it is applied to."""
    chain, extractor = data.training_batches.augmentation, data.crop_extractor
    assert extractor is not None
    dataset = data.training_batches.batches(data.stores["train"], data.train_sampler, num_batches + 1, 0, 1)
    seconds: dict[str, list[float]] = {name: [] for name in chain.samples}
    for step in range(num_batches + 1):
        pending = move_data_to_device(dataset[step], DEVICE)
        crops = pending.batch.samples.flatten(0, 1) * extractor.sample_unit
        for name, (chosen, uniform) in pending.draws.unpack().items():
            if name in chain.samples:
                synchronize()
                start = time.perf_counter()
                chain.samples[name](crops.index_select(0, chosen), uniform, extractor.feature.sample_rate)
                synchronize()
                seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(times[1:]) for name, times in seconds.items()}


def benchmark_steps_on_the_fly(
    singers: Annotated[int, typer.Option(help="Singers per batch.")] = 64 if IS_GPU else 8,
    utterances: Annotated[int, typer.Option(help="Utterances per singer.")] = 10,
    frames: Annotated[int, typer.Option(help="Frames per crop.")] = 160,
    steps: Annotated[int, typer.Option(help="Steps per measurement; more than 3.")] = 60 if IS_GPU else 6,
    rounds: Annotated[int, typer.Option(help="Rounds over all kinds.")] = 3,
    workers: Annotated[int, typer.Option(help="Loader processes.")] = 4 if IS_GPU else 0,
) -> None:
    """Training steps with features on the fly ÷ with stored frames."""
    torch.set_flush_denormal(True)  # as train.py does
    seconds: dict[str, list[float]] = {kind: [] for kind in KINDS}
    alone: dict[str, list[tuple[float, float]]] = {kind: [] for kind in KINDS}
    with tempfile.TemporaryDirectory() as folder:
        corpus = write_corpus(Path(folder) / "corpus", 2 * singers, 4.0)
        modules = {kind: build_data(kind, corpus, (singers, utterances, frames), workers) for kind in KINDS}
        for _ in range(rounds):
            for kind, data in modules.items():
                seconds[kind].append(measure_step_s(data, steps))
                alone[kind].append(measure_augmentation_s(data, steps))
        parts_s = measure_parts_s(modules["on the fly, augmentation=strong"], steps)
    title = f"{singers} × {utterances} × {frames}, {DEVICE.type}"
    table = Table(title, "step", "÷ stored frames", "frames and augmentation", "the host's part")
    stored = statistics.median(seconds["stored frames"])
    for kind, durations in seconds.items():
        step = statistics.median(durations)
        own = [f"{1000 * statistics.median(times):.2f} ms" for times in zip(*alone[kind], strict=True)]
        table.add_row(kind, f"{1000 * step:.1f} ms", f"{step / stored:.3f}", *own)
    parts = Table("augmentation=strong, part by part", "alone")
    for name, part_s in parts_s.items():
        parts.add_row(name, f"{1000 * part_s:.2f} ms")
    Console(width=100).print(table, parts)


if __name__ == "__main__":
    import logging
    import warnings

    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    typer.run(benchmark_steps_on_the_fly)
