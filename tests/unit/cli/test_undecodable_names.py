"""A file whose name is no UTF-8 is one recording that cannot be used; its name can be said."""

import logging
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile
from hydra import compose, initialize_config_dir
from hydra.core.utils import configure_log
from support.audio import MakeCorpus, sing, write_m4a
from support.tiny_run import CONF
from support.untrained_model import make_run
from typer.testing import CliRunner

from singer_verify.audio import load_audio
from singer_verify.audio.decoding import probe_audio
from singer_verify.cli import app
from singer_verify.corpora.corpus import VoiceChannel, read_corpus
from singer_verify.corpora.preparation import write_voice
from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.features.mel import MelSpectrogram
from singer_verify.store.extraction import load_or_compute_store

STRANGE = os.fsdecode(b"a\xff")


def with_strange_name(path: Path) -> Path:
    try:
        return path.rename(path.with_name(f"{STRANGE}{path.suffix}"))
    except OSError:
        pytest.skip("the file system holds names in UTF-8 only")


@pytest.mark.parametrize("suffix", [".wav", ".m4a"])
def test_it_is_not_decoded(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"1{suffix}"
    if suffix == ".m4a":
        write_m4a(path, sing(1), 16_000)
    else:
        soundfile.write(path, sing(1), 16_000)
    path = with_strange_name(path)
    for decode in (
        lambda: load_audio(path, 16_000),
        lambda: probe_audio(path),
        lambda: write_voice(path, tmp_path / "voice.flac", VoiceChannel(0, 1)),
    ):
        with pytest.raises(UtteranceError, match="the path is not valid UTF-8; rename the file") as caught:
            decode()
        assert str(caught.value).startswith(str(path))


def test_a_command_goes_on_and_names_it(tmp_path: Path) -> None:
    """In a process of its own, whose standard output is as strict as it can be."""
    model, folder = make_run(tmp_path / "run"), tmp_path / os.fsdecode(b"f\xfe")
    folder.mkdir()
    for number in (1, 2):
        soundfile.write(tmp_path / f"{number}.wav", sing(number), 16_000)
    with_strange_name(tmp_path / "1.wav").rename(folder / f"{STRANGE}.wav")
    out = folder / "out.npz"
    command = [sys.executable, "-m", "singer_verify.cli", "embed", model, folder, tmp_path / "2.wav", "--out", out]
    strict = os.environ | {"PYTHONIOENCODING": "utf-8:strict", "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(command, env=strict, capture_output=True, timeout=120)
    assert done.returncode == 0, done.stderr
    said = b"".join(done.stderr.split())
    assert b"1of2filesskipped" in said
    assert rb"a\udcff.wav:thepathisnotvalidUTF-8" in said
    assert rb"f\udcfe/out.npz: 1 embeddings" in done.stdout
    with np.load(out, allow_pickle=False) as stored:
        assert stored["paths"].tolist() == [str(tmp_path / "2.wav")]


def test_a_store_skips_it(make_corpus: MakeCorpus, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL, logger="singer_verify")  # pytest-xdist cannot pass on what the log says of it
    corpus = make_corpus(utterances=2)
    with_strange_name(corpus / "train/train_singer0/song0.flac")
    for _ in range(2):  # made, opened
        store = load_or_compute_store(read_corpus(corpus), "train", MelSpectrogram(40), tmp_path / "store")
        assert len(store.paths) == 5
        assert f"{STRANGE}.flac: the path is not valid UTF-8" in store.skipped[0]


def test_a_log_can_name_it(tmp_path: Path) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose("train", [f"hydra.runtime.output_dir='{tmp_path}'"], return_hydra_config=True)
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    try:
        configure_log(config.hydra.job_logging)
        logging.getLogger("singer_verify").info("Skipped: %s", STRANGE)
        assert (tmp_path / "train.log").read_text().endswith("Skipped: a\\udcff\n")
    finally:
        for handler in set(root.handlers) - set(handlers):
            handler.close()
        root.handlers, root.level = handlers, level


def test_a_list_of_trials_cannot_hold_it(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    corpus = make_corpus(utterances=2)
    with_strange_name(corpus / "val/val_singer0/song0.flac")
    for suffix in (".csv", ".txt"):
        out = tmp_path / f"list{suffix}"
        with pytest.raises(SingerVerifyError, match=r"cannot contain a path that is not valid UTF-8; rename the file"):
            CliRunner().invoke(app, ["trials", str(corpus), "--out", str(out)], catch_exceptions=False)
        assert not list(tmp_path.glob("list*"))


def test_a_card_of_it_is_text(tmp_path: Path) -> None:
    model = with_strange_name((make_run(tmp_path / "run") / "checkpoints/best.ckpt").rename(tmp_path / "best.ckpt"))
    called = ["card", str(model), "--out", str(tmp_path / "card.md")]
    assert CliRunner().invoke(app, called, catch_exceptions=False).exit_code == 0
    assert "\n# a?.ckpt\n" in (tmp_path / "card.md").read_text(encoding="utf-8")
