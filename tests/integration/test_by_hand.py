"""Trainings without Hydra: composed by hand, and called from Python."""

import json
from pathlib import Path

import pytest
import pytorch_lightning as pl
import yaml
from support.audio import MakeCorpus
from support.tiny_run import CONF, make_corpus, tiny
from support.train_process import PROJECT

from singer_verify.data.datamodule import SingerDataModule
from singer_verify.encoders.lstm import LSTMEncoder
from singer_verify.errors import SingerVerifyError
from singer_verify.features.mel import MelSpectrogram
from singer_verify.inference.model import load_model
from singer_verify.runs.checkpoints import read_checkpoint
from singer_verify.runs.folder import BEST_CHECKPOINT, LAST_CHECKPOINT
from singer_verify.runs.settings import SETTINGS_KEY
from singer_verify.training.callbacks.checkpoints import BestCheckpoint
from singer_verify.training.module import Verifier
from singer_verify.training.overrides import format_overrides
from singer_verify.training.run import train


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("corpus") / "tiny")


def test_ten_lines_train_without_hydra(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    root = make_corpus(utterances=4)
    (root / "train/train_singer2").rename(root / "moved")
    (root / "test/a").mkdir(parents=True)
    (root / "moved").rename(root / "test/b")
    for number in range(2):
        (root / f"test/b/song{number}.flac").rename(root / f"test/a/song{number}.flac")

    data = SingerDataModule(str(root), MelSpectrogram(40), store_root=str(tmp_path / "store"), num_extraction_workers=0)
    verifier = Verifier(LSTMEncoder(num_bins=40, hidden_size=8, num_layers=1, embedding_size=4))
    trainer = pl.Trainer(
        max_steps=4,
        val_check_interval=2,
        check_val_every_n_epoch=None,
        num_sanity_val_steps=0,
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
        callbacks=[BestCheckpoint()],
    )
    trainer.fit(verifier, datamodule=data)
    assert load_model(tmp_path / BEST_CHECKPOINT).embed(root / "val/val_singer0/song0.flac").shape == (4,)
    validation = trainer.validate(verifier, datamodule=data, verbose=False)[-1]
    metrics = trainer.test(verifier, datamodule=data, verbose=False)[-1]
    assert {name.replace("val/", "test/") for name in validation} == set(metrics)
    assert 0 <= metrics["test/eer"] <= 1


def test_testing_needs_a_test_split(corpus: Path, tmp_path: Path) -> None:
    data = SingerDataModule(str(corpus), MelSpectrogram(40), store_root=str(tmp_path), num_extraction_workers=0)
    with pytest.raises(SingerVerifyError, match="has no split to test on; expected a folder named test"):
        data.setup("test")


def test_a_dict_of_settings_trains_and_returns_the_result(corpus: Path, tmp_path: Path) -> None:
    settings = {"trainer": {"max_steps": 4}, "hydra.run.dir": str(tmp_path / "it's a run"), "data.num_val_batches": 1}
    result = train([*tiny(corpus), *format_overrides(settings)], conf=CONF)
    assert result.run == tmp_path / "it's a run"
    assert (result.steps, result.stopped, result.monitor) == (4, "step limit", "val/eer")
    assert result.best_value == result.best["val/eer"]
    assert repr(result).startswith(f"RunResult({result.run}: val/eer 0.")
    assert result.to_metrics() == json.loads((result.run / "metrics.json").read_text())


def test_settings_of_a_dict_are_typed_as_they_are() -> None:
    settings = {"a": None, "b": {"c": True, "d": [1, "x y"]}, "e": "1", "f": {}}
    assert format_overrides(settings) == ["a=null", "b.c=true", "b.d=[1,'x y']", "e='1'", "f={}"]


def test_one_dict_of_settings_goes_everywhere(corpus: Path, tmp_path: Path) -> None:
    class Remember(pl.Callback):
        def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            self.logged = pl_module.settings

    remember = Remember()
    run = train(
        [*tiny(corpus), "trainer.max_steps=1", f"hydra.run.dir={tmp_path}"], conf=CONF, callbacks=[remember]
    ).run
    written = yaml.safe_load((run / "config.yaml").read_text())
    assert written == remember.logged
    for name in (BEST_CHECKPOINT, LAST_CHECKPOINT):
        assert read_checkpoint(run / name)[SETTINGS_KEY] == written
    assert "???" not in (run / "config.yaml").read_text()


def test_a_run_keeps_its_optimisers_state_once(corpus: Path, tmp_path: Path) -> None:
    run = train([*tiny(corpus), "trainer.max_steps=2", f"hydra.run.dir={tmp_path}"], conf=CONF).run
    assert "optimizer_states" in read_checkpoint(run / LAST_CHECKPOINT)
    for name in (BEST_CHECKPOINT, Path("saved_model.pt")):
        assert not {"optimizer_states", "optimizer_state", "lr_schedulers"} & set(read_checkpoint(run / name))


def test_a_sweep_is_not_run_from_python() -> None:
    with pytest.raises(SingerVerifyError, match=r"run sweeps with python train.py -m"):
        train(["sweep=seeds"], conf=PROJECT / "conf")
