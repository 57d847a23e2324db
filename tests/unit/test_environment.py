"""The processor's matrix units are used where a process of its own has survived them, and asked only for bfloat16."""

import os
from pathlib import Path

import pytest

from singer_verify import environment

CRASH = "import os, signal; os.kill(os.getpid(), signal.SIGILL)"


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OMP_WAIT_POLICY", environment.ISA_VARIABLE):
        monkeypatch.setenv(name, "")  # so that the value before comes back after the test
        monkeypatch.delenv(name)


def pretend(monkeypatch: pytest.MonkeyPatch, folder: Path, flags: str, probe: str) -> None:
    info = folder / "cpuinfo"
    info.write_text(f"model name : some processor\nflags : fpu {flags} sse\n")
    monkeypatch.setattr(environment, "CPU_INFO", info)
    monkeypatch.setattr(environment, "PROBE", probe)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed", 16])
@pytest.mark.parametrize(("probe", "expected"), [("pass", "DEFAULT"), (CRASH, "AVX512_CORE_BF16")])
def test_matrix_units_that_end_a_process_are_left_off(
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    precision: object,
    probe: str,
    expected: str,
) -> None:
    pretend(monkeypatch, tmp_path, "avx512_bf16 amx_bf16", probe)
    environment.set_torch_environment(precision)
    assert os.environ[environment.ISA_VARIABLE] == expected
    assert ("end a process that uses them" in caplog.text) == (probe == CRASH)
    environment.set_torch_environment(precision)  # a further job of a sweep, or a process of its own, asks no more
    assert caplog.text.count("end a process") == (probe == CRASH)


@pytest.mark.parametrize(
    ("precision", "flags"), [(32, "amx_bf16"), ("32-true", "amx_bf16"), (None, "amx_bf16"), ("bf16-mixed", "avx2")]
)
def test_nothing_is_asked_or_set_without_need(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, precision: object, flags: str
) -> None:
    pretend(monkeypatch, tmp_path, flags, CRASH)
    environment.set_torch_environment(precision)
    assert environment.ISA_VARIABLE not in os.environ
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"


def test_what_the_user_set_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pretend(monkeypatch, tmp_path, "amx_bf16", CRASH)
    monkeypatch.setenv(environment.ISA_VARIABLE, "AVX2")
    environment.set_torch_environment("bf16-mixed")
    assert os.environ[environment.ISA_VARIABLE] == "AVX2"


def test_a_machine_that_says_nothing_has_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(environment, "CPU_INFO", tmp_path / "none")
    environment.set_torch_environment("bf16-mixed")
    assert environment.ISA_VARIABLE not in os.environ
