"""What a machine does with a model: speed by device, threads and batch, the first call, memory.

The leaderboard's speed (`comparison.measure_embedding_speed`) is processor time on one core, to compare models; this is
elapsed time, to choose a machine.
"""

import json
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import soundfile
import torch
from jaxtyping import Float

from singer_verify.errors import SingerVerifyError
from singer_verify.features.precomputed import PrecomputedFeature
from singer_verify.inference import Model, load_model
from singer_verify.inference.frames import load_frames
from singer_verify.inference.model import resolve_device
from singer_verify.inference.windows import WindowPlan, iterate_windows
from singer_verify.safe_loading import list_trusted_packages
from singer_verify.worker_processes import count_available_cores

RECORDING_S, SAMPLE_RATE = 10.0, 44_100  # of the synthesised singing
NUM_RECORDINGS = 16  # at most; fewer where a machine is slow
ENCODER_BATCHES = (1, 8, 64)  # windows
MIN_REPEATS, MAX_REPEATS = 3, 50  # fewer where the time is up
MEBIBYTE = 1 << 20
ONE_BY_ONE, MANY_AT_ONCE, FRAMES, ENCODER = "one by one", "many at once", "frames", "encoder"


@dataclass(frozen=True)
class SpeedMeasurement:
    """Speed of one way to use a model.

    Attributes:
        stage: `ONE_BY_ONE` or `MANY_AT_ONCE` for whole recordings, `FRAMES` for decoding and features alone, `ENCODER`.
        device: device of the encoder.
        num_threads: threads of the processor that may work.
        batch: recordings in a call; for the encoder windows.
        speeds: seconds of audio per second of time, of each repetition.
    """

    stage: str
    device: str
    num_threads: int
    batch: int
    speeds: tuple[float, ...]

    @property
    def median(self) -> float:
        """Median of the speeds."""
        return statistics.median(self.speeds)


@dataclass(frozen=True)
class ColdStart:
    """A new process that loads a model and embeds its first recordings.

    Attributes:
        import_s: from the start of the process until the libraries are imported.
        load_s: from then until the model is loaded.
        first_s: time of the first embedding.
        second_s: time of the second one.
        loaded_mib: memory of the process with the model loaded; NaN where the system does not tell.
        peak_mib: highest memory of the process.
    """

    import_s: float
    load_s: float
    first_s: float
    second_s: float
    loaded_mib: float
    peak_mib: float


@dataclass(frozen=True)
class MachineSpeed:
    """What a machine does with a model.

    Attributes:
        cold_start: a new process, on the last of the devices.
        measurements: speeds.
        gpu: name of the GPU; empty without one.
        gpu_peak_mib: highest memory that was allocated on it; NaN without one.
    """

    cold_start: ColdStart
    measurements: tuple[SpeedMeasurement, ...]
    gpu: str
    gpu_peak_mib: float


def synthesise_singing(seconds: float, sample_rate: int, seed: int) -> Float[np.ndarray, " samples"]:
    """Synthesise a sung melody: two notes a second, harmonics that fall by 1/k, vibrato, breath.

    Args:
        seconds: duration.
        sample_rate: sample rate in Hz.
        seed: seed of melody and pitch.
    """
    generator = np.random.default_rng(seed)
    time_s = np.arange(round(seconds * sample_rate)) / sample_rate
    notes = generator.integers(-5, 8, math.ceil(2 * seconds) + 1)
    semitones = notes[(2 * time_s).astype(np.int64)] + 0.4 * np.sin(2 * np.pi * 5.5 * time_s)
    f0_hz = generator.uniform(140.0, 300.0) * 2.0 ** (semitones / 12)
    phase = 2 * np.pi * np.cumsum(f0_hz) / sample_rate
    tone = sum(np.sin(k * phase) / k for k in range(1, 13))
    loudness = np.sqrt(np.sin(np.pi * (2 * time_s % 1.0)))
    samples: np.ndarray = (0.15 * loudness * tone + 0.003 * generator.standard_normal(time_s.size)).astype(np.float32)
    return samples


def measure_machine(path: Path, device: str, seconds: float, progress: Callable[[str], object]) -> MachineSpeed:
    """Measure how fast this machine embeds synthesised singing with a model.

    Args:
        path: the model.
        device: a device, or `auto` for the processor and, if there is one, the GPU.
        seconds: about how long to measure.
        progress: told what is measured.

    Raises:
        SingerVerifyError: not a model, no such device, or a model that takes precomputed frames.
    """
    start = time.monotonic()
    chosen = str(resolve_device(device))
    devices = ["cpu", chosen] if device == "auto" and chosen != "cpu" else [chosen]
    model = load_model(path, devices[0])
    if isinstance(model.feature, PrecomputedFeature):
        raise SingerVerifyError(f"{path}: takes precomputed frames; expected a model that takes audio.")
    measurements: list[SpeedMeasurement] = []
    with TemporaryDirectory() as folder:
        files = [Path(folder) / f"{number}.wav" for number in range(NUM_RECORDINGS)]
        for number, file in enumerate(files):
            soundfile.write(file, synthesise_singing(RECORDING_S, SAMPLE_RATE, number), SAMPLE_RATE, subtype="PCM_16")
        progress("a new process")
        cold_start = measure_cold_start(path, chosen, files[0])
        num_cores = count_available_cores()
        plans = [
            (name, number) for name in devices for number in sorted({1, num_cores} if name == "cpu" else {num_cores})
        ]
        budget_s = max(seconds - (time.monotonic() - start), seconds / 3) / len(plans)
        for name, num_threads in plans:
            model = model if name == str(model.device) else load_model(path, name)
            progress(f"{name}, {num_threads} threads")
            with _limit_threads(num_threads):
                measurements += _measure_stages(model, files, num_threads, budget_s)
    is_gpu = torch.device(chosen).type == "cuda"
    gpu = torch.cuda.get_device_name(chosen) if is_gpu else ""
    gpu_peak_mib = torch.cuda.max_memory_allocated(chosen) / MEBIBYTE if is_gpu else math.nan
    return MachineSpeed(cold_start, tuple(measurements), gpu, gpu_peak_mib)


@contextmanager
def _limit_threads(num_threads: int) -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(num_threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@torch.inference_mode()
def _measure_stages(model: Model, files: list[Path], num_threads: int, budget_s: float) -> list[SpeedMeasurement]:
    """Measure each stage for an equal share of the time."""
    share_s = budget_s / (3 + len(ENCODER_BATCHES))

    def measure(stage: str, batch: int, audio_s: float, work: Callable[[], object]) -> SpeedMeasurement:
        speeds = tuple(audio_s / elapsed_s for elapsed_s in _time_repeats(work, share_s, model.device))
        return SpeedMeasurement(stage, str(model.device), num_threads, batch, speeds)

    one_by_one = measure(ONE_BY_ONE, 1, RECORDING_S, lambda: model.embed_windows(files[0]))
    affordable = int(share_s / (MIN_REPEATS + 1) * one_by_one.median / RECORDING_S)
    chosen, decoding_threads = files[: max(2, affordable)], 0 if num_threads == 1 else None
    measured = [
        one_by_one,
        measure(
            MANY_AT_ONCE,
            len(chosen),
            len(chosen) * RECORDING_S,
            lambda: list(model.embed_many(chosen, decoding_threads)),
        ),
        measure(FRAMES, 1, RECORDING_S, lambda: _load_frames(model, files[0])),
    ]
    frames, plan = _load_frames(model, files[0]), WindowPlan(model.window_frames)
    windows = list(iterate_windows([frames], plan.starts(len(frames)), plan.length(len(frames))))
    for batch in ENCODER_BATCHES:
        stacked = torch.stack([windows[number % len(windows)] for number in range(batch)]).to(model.device)
        audio_s = batch * RECORDING_S / len(windows)
        measured.append(measure(ENCODER, batch, audio_s, partial(model.encoder, stacked)))
    return measured


def _load_frames(model: Model, file: Path) -> Float[torch.Tensor, "frames bins"]:
    return torch.cat(list(load_frames(file, model.feature, model.normalisation).pieces()))


def _time_repeats(work: Callable[[], object], share_s: float, device: torch.device) -> list[float]:
    """Do some work again and again for a share of the time; return the time of each repetition but the first."""
    elapsed, end = list[float](), time.perf_counter() + share_s
    while len(elapsed) < 2 or (time.perf_counter() < end and len(elapsed) <= MAX_REPEATS):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize(device)
        elapsed.append(time.perf_counter() - start)
    return elapsed[1:]


def measure_cold_start(path: Path, device: str, recording: Path) -> ColdStart:
    """Load a model in a new process and embed a recording twice.

    Raises:
        SingerVerifyError: the process failed.
    """
    arguments = [str(time.time()), str(path), device, str(recording), *list_trusted_packages()]
    code = f"import sys; from {__name__} import report_cold_start; report_cold_start(*sys.argv[1:])"
    process = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    if process.returncode:
        lines = process.stderr.strip().splitlines() or [f"exit status {process.returncode}"]
        raise SingerVerifyError(f"{path}: a new process could not embed a recording: {lines[-1]}")
    return ColdStart(*json.loads(process.stdout.splitlines()[-1]))


def report_cold_start(started_s: str, path: str, device: str, recording: str, *packages: str) -> None:
    """Print the fields of `ColdStart` as JSON; for a process of its own.

    Args:
        started_s: when the process was started.
        path: the model.
        device: device of the encoder.
        recording: file to embed.
        packages: packages that the user trusts.
    """
    moments = [float(started_s), time.time()]
    model = load_model(path, device, trust=packages)
    moments.append(time.time())
    loaded_mib = _read_peak_mib()
    for _ in range(2):
        model.embed(recording)
        moments.append(time.time())
    print(json.dumps([*np.diff(moments).tolist(), loaded_mib, _read_peak_mib()]))


def _read_peak_mib() -> float:
    """Return the highest memory of this process; NaN where the system does not tell.

    `resource.getrusage` would count that of the parent as well.
    """
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
    except OSError:
        return math.nan
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM")), math.nan)
