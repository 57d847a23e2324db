"""`bench`: what is measured, with which threads, how long, and what is printed."""

import json
import math
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from support.cli import call, refusal
from support.untrained_model import make_run

from singer_verify.errors import SingerVerifyError
from singer_verify.features.precomputed import PrecomputedFeature
from singer_verify.inference.model import Model
from singer_verify.reports.console_tables import format_cold_start
from singer_verify.sweeps import machine_speed
from singer_verify.sweeps.machine_speed import ColdStart, MachineSpeed, SpeedMeasurement, synthesise_singing

COLD = ColdStart(3.0, 0.5, 0.25, 0.125, 300.0, 400.0)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(machine_speed, "measure_cold_start", lambda path, device, recording: COLD)
    monkeypatch.setattr(machine_speed, "count_available_cores", lambda: 2)
    monkeypatch.setattr(machine_speed, "NUM_RECORDINGS", 2)
    monkeypatch.setattr(machine_speed, "RECORDING_S", 1.0)
    return make_run(tmp_path / "run")


def test_every_stage_is_measured_with_one_thread_and_with_all(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    embed, threads = Model.embed_windows, set[int]()

    def watch(model: Model, *arguments: object) -> object:
        threads.add(torch.get_num_threads())
        return embed(model, *arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(Model, "embed_windows", watch)
    before = torch.get_num_threads()
    record = json.loads(call("bench", run, "--seconds", 1, "--device", "cpu", "--json"))
    assert (threads, torch.get_num_threads()) == ({1, 2}, before)
    stages = [
        (row["stage"], row["num_threads"], row["batch"]) for row in record["measurements"] if row["stage"] == "encoder"
    ]
    assert stages == [("encoder", number, batch) for number in (1, 2) for batch in (1, 8, 64)]
    assert {row["stage"] for row in record["measurements"]} == {"one by one", "many at once", "frames", "encoder"}
    for row in record["measurements"]:
        assert len(row["speeds"]) >= 1
        assert row["median"] == np.median(row["speeds"]) > 0
        assert row["device"] == "cpu"
    assert record["cold_start"] == vars(COLD)
    assert (record["gpu"], record["gpu_peak_mib"]) == (None, None)


def test_the_first_call_does_not_count_and_time_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    took_s = iter([0.5, 0.02, 0.03, 0.01, *[0.02] * 100])

    def work() -> None:
        nonlocal now
        now += next(took_s)

    monkeypatch.setattr(time, "perf_counter", lambda: now)
    cpu = torch.device("cpu")
    assert machine_speed._time_repeats(work, 0.55, cpu) == pytest.approx([0.02, 0.03])
    assert machine_speed._time_repeats(work, 0.0, cpu) == pytest.approx([0.02])  # one at least
    assert len(machine_speed._time_repeats(lambda: None, 1.0, cpu)) == machine_speed.MAX_REPEATS
    assert SpeedMeasurement("one by one", "cpu", 1, 1, (400.0, 900.0, 500.0)).median == 500.0


def test_the_table_fits_a_terminal(run: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [
        SpeedMeasurement(stage, device, threads, batch, (1234.5, 98765.4, 7.25))
        for device, threads in (("cpu", 1), ("cuda:0", 64))
        for stage, batch in (("many at once", 16), ("encoder", 64), ("one by one", 1))
    ]
    result = MachineSpeed(COLD, tuple(rows), "NVIDIA H100 80GB HBM3", 1234.0)
    monkeypatch.setattr(machine_speed, "measure_machine", lambda *arguments: result)
    monkeypatch.setenv("COLUMNS", "80")
    printed = call("bench", run)
    assert max(map(len, printed.splitlines())) <= 80
    assert "encoder, 64 windows" in printed
    assert "7.2 to 98765" in printed
    assert "First embedding 3.8 s after the start of a process" in printed
    assert "400 MiB at most" in printed
    assert "NVIDIA H100 80GB HBM3: 1234 MiB at most." in printed
    unknown = MachineSpeed(ColdStart(1.0, 1.0, 1.0, 1.0, math.nan, math.nan), (), "", math.nan)
    assert len(format_cold_start(unknown)) == 2


def test_it_refuses(run: Path, tmp_path: Path) -> None:
    assert "--seconds=0.5: expected a number between 1 and 3600" in refusal("bench", run, "--seconds", 0.5)
    assert "device=cuda:99" in refusal("bench", run, "--device", "cuda:99")
    assert "missing" in refusal("bench", tmp_path / "missing")
    frames = make_run(tmp_path / "frames", PrecomputedFeature({"num_feats": 40, "sr": 16_000, "hop_size": 160}))
    assert "takes precomputed frames; expected a model that takes audio" in refusal("bench", frames, "--device", "cpu")


def test_synthesised_singing_is_loud_and_not_clipped() -> None:
    samples = synthesise_singing(2.0, 16_000, 0)
    assert samples.shape == (32_000,)
    assert 0.05 < np.sqrt(np.mean(samples**2)) < np.abs(samples).max() < 1.0
    assert not np.array_equal(samples, synthesise_singing(2.0, 16_000, 1))


@pytest.mark.slow
def test_a_new_process_loads_and_embeds(tmp_path: Path) -> None:
    import soundfile

    soundfile.write(tmp_path / "a.wav", synthesise_singing(2.0, 16_000, 0), 16_000)
    run = make_run(tmp_path / "run")
    cold = machine_speed.measure_cold_start(run, "cpu", tmp_path / "a.wav")
    assert min(vars(cold).values()) > 0
    assert cold.peak_mib >= cold.loaded_mib > 50
    with pytest.raises(SingerVerifyError, match=r"a new process could not embed a recording: .*no such file"):
        machine_speed.measure_cold_start(run, "cpu", tmp_path / "missing.wav")
