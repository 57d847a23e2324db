"""Worker processes find a folder whose path is short enough for their sockets, or are refused; they never wait."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from support import tiny_run
from support.audio import MakeCorpus
from support.untrained_model import make_run

OPEN_A_SOCKET = """
import multiprocessing.connection, tempfile
from singer_verify import worker_sockets
worker_sockets.shorten_socket_paths()
worker_sockets.require_short_socket_paths()
with multiprocessing.connection.Listener() as listener:
    print(listener.address, tempfile.gettempdir(), sep="\\n")
"""


def call(
    arguments: list[str], temporary: Path, seconds: float = 60, **variables: str
) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1", "COLUMNS": "200"}
    environment |= {"PYTHONPATH": str(tiny_run.ROOT / "src"), **variables}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )


@pytest.fixture
def long_folder(tmp_path: Path) -> Path:
    folder = tmp_path / ("temporary" * 12)
    folder.mkdir()
    return folder


def make_folder_of_length(root: Path, num_bytes: int) -> Path:
    folder = root / ("a" * (num_bytes - len(os.fsencode(root)) - 1))
    folder.mkdir(parents=True)
    return folder


@pytest.mark.skipif(sys.platform != "linux", reason="other systems allow other lengths")
def test_the_longest_path_that_works_is_taken_and_a_longer_one_is_not(tmp_path_factory: pytest.TempPathFactory) -> None:
    root = tmp_path_factory.mktemp("t")
    if len(os.fsencode(root)) > 70:
        pytest.skip("pytest's folder is too long itself")
    for num_bytes, is_taken in ((75, True), (76, False)):
        folder = make_folder_of_length(root, num_bytes)
        made = call(["-c", OPEN_A_SOCKET], folder)
        address, temporary = made.stdout.split()
        assert temporary == str(folder)
        assert address.startswith(f"{folder}/pymp-") == is_taken
        assert len(address) <= 107


def test_programs_keep_only_their_sockets_elsewhere(long_folder: Path) -> None:
    made = call(["-c", OPEN_A_SOCKET], long_folder)
    address, temporary = made.stdout.split()
    assert temporary == str(long_folder)
    assert not address.startswith(temporary)
    assert not Path(address).parent.exists()  # removed at the end


def test_without_a_short_folder_the_refusal_says_what_to_set(long_folder: Path) -> None:
    nowhere = "from singer_verify import worker_sockets; worker_sockets.SHORT_TEMPORARY_FOLDERS = ('/nowhere',)"
    made = call(["-c", f"{nowhere}\n{OPEN_A_SOCKET}"], long_folder, XDG_RUNTIME_DIR="")
    assert f"TMPDIR={long_folder}: worker processes cannot open sockets in a folder with so long a path" in made.stderr
    assert "bytes, for instance TMPDIR=/tmp." in made.stderr


def test_a_library_is_refused_instead_of_waiting(long_folder: Path) -> None:
    code = "from singer_verify import worker_processes; worker_processes.choose_start_method(2)"
    made = call(["-c", code], long_folder)
    assert "SingerVerifyError: TMPDIR=" in made.stderr


@pytest.mark.slow
def test_a_training_whose_workers_hand_over_batches_ends(long_folder: Path, tmp_path: Path) -> None:
    settings = (
        *tiny_run.tiny(tiny_run.make_corpus(tmp_path / "corpus")),
        "data.num_workers=2",
        "data.num_extraction_workers=2",
    )
    made = call([str(tiny_run.ROOT / "train.py"), *settings, f"hydra.run.dir={tmp_path}/run"], long_folder, 300)
    assert made.returncode == 0, made.stderr
    assert (tmp_path / "run/checkpoints/best.ckpt").exists()


@pytest.mark.slow
def test_a_command_whose_workers_hand_over_frames_ends(
    long_folder: Path, tmp_path: Path, make_corpus: MakeCorpus
) -> None:
    model, out = make_run(tmp_path / "model"), tmp_path / "e.npz"
    made = call(
        ["-m", "singer_verify.cli", "embed", str(model), str(make_corpus()), "--out", str(out)], long_folder, 300
    )
    assert made.returncode == 0, made.stderr
    assert len(np.load(out)["embeddings"])
