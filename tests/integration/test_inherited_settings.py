"""Recipe, encoder and window of a training that begins with another model's weights, where none of them is typed."""

from pathlib import Path

import pytest
import yaml
from support.audio import MakeCorpus
from support.tiny_run import CONF, last_of

from singer_verify.encoders.xvector import XVectorEncoder
from singer_verify.errors import SingerVerifyError
from singer_verify.features.mel import MelSpectrogram
from singer_verify.runs.checkpoints import Checkpoint, write_checkpoint
from singer_verify.runs.model_metadata import METADATA_KEY, ModelMetadata
from singer_verify.training.run import train

QUICK = (
    *("data.singers_per_batch=2", "data.utterances_per_singer=2", "data.num_val_batches=1"),
    *("data.num_extraction_workers=0", "trainer.max_steps=3", "trainer.val_check_interval=2", "logger=none"),
    *("trainer.accelerator=cpu", "~callbacks.pictures", "~callbacks.progress_bar"),
)
FINETUNE = ("experiment=finetune", "scheduler.warmup_steps=1", "data.num_frames=30")


@pytest.fixture
def parent(tmp_path: Path) -> Path:
    """A model with another recipe, encoder and window than the settings' own."""
    encoder = XVectorEncoder(24, channels=4, pooled_channels=6, embedding_size=8)
    recipe = MelSpectrogram(24, fmin_hz=60.0).recipe | {"activity_db": None, "normalise": "none"}
    metadata = ModelMetadata(recipe, encoder.settings, 70, ("other",))
    state = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    path = tmp_path / "parent.ckpt"
    write_checkpoint({"state_dict": state, "global_step": 5, METADATA_KEY: metadata.to_dict()}, path)
    return path


def tune(root: Path, parent: Path, *overrides: str) -> Path:
    data = (f"data.root={root}", f"data.store_root={root.parent / 'store'}", f"hydra.run.dir={root.parent / 'tuned'}")
    return train([*QUICK, *data, f"init_from={parent}", *overrides], conf=CONF).run


def test_finetuning_takes_recipe_encoder_and_window_of_the_parent(
    parent: Path, tmp_path: Path, make_corpus: MakeCorpus
) -> None:
    """And continues with them, also when the parent is gone."""
    run = tune(make_corpus(), parent, *FINETUNE)
    before, after = Checkpoint.read(parent), Checkpoint.read(run)
    settings = yaml.safe_load((run / "config.yaml").read_text())
    assert after.metadata.encoder == before.metadata.encoder
    assert after.metadata.recipe == before.metadata.recipe | {
        "level_db": None,
        "pause_s": 0.0,
        "trim_silence_db": None,
        "voiced_only": False,
    }
    assert after.metadata.window_frames == settings["data"]["window_frames"] == before.metadata.window_frames == 70
    assert "num_bins" not in settings["encoder"]  # it follows from the recipe, as ever
    assert after.metadata.pretraining_singers == ("other",)
    assert last_of(run)["global_step"] == 3
    state, started = last_of(run)["state_dict"], before.content["state_dict"]
    statistics = [name for name in started if "running" in name or "num_batches" in name]
    assert statistics
    assert all((state[name] == started[name]).all() for name in statistics)
    assert not all((state[name] == started[name]).all() for name in started)
    parent.unlink()
    with pytest.raises(SingerVerifyError, match=r"encoder\.channels 4 → 5: cannot change while a training continues"):
        train([f"resume={run}", "encoder.channels=5"], conf=CONF)
    train([f"resume={run}", "trainer.max_steps=4"], conf=CONF)
    assert last_of(run)["global_step"] == 4


def test_what_is_typed_comes_before_the_parent(parent: Path, make_corpus: MakeCorpus) -> None:
    root = make_corpus()
    for typed, said in (
        ("+encoder.channels=5", "encoder.channels is 4 there, 5 here"),
        ("encoder.channels=5", "encoder.channels is 4 there, 5 here; set them like the parent's: encoder.channels=4"),
        ("encoder.hidden_size=5", "encoder.hidden_size=5: XVectorEncoder has no such setting; it has channels,"),
        ("encoder=lstm", "encoder._target_ is singer_verify.encoders.xvector.XVectorEncoder there"),
        ("features.fmin_hz=70", "features.fmin_hz is 60.0 there, 70.0 here"),
        ("features=mel40", "features.num_bins is 24 there, 40 here"),
        ("+trainer.sync_batchnorm=true", "trainer.sync_batchnorm=true: replaces every BatchNorm by a new one"),
    ):
        with pytest.raises(SingerVerifyError, match=said):
            tune(root, parent, typed, "freeze_batchnorm=true")


def test_a_parent_names_nothing_foreign(parent: Path, tmp_path: Path, make_corpus: MakeCorpus) -> None:
    content = Checkpoint.read(parent).content
    for place, value, said in (
        ("_target_", "os.system", "_target_=os.system: a run's configuration may name"),
        ("channels", "${oc.env:HOME}", r"a setting of its recipe or encoder contains \$"),
    ):
        metadata = content[METADATA_KEY]
        changed = metadata | {"encoder": metadata["encoder"] | {place: value}}
        write_checkpoint(content | {METADATA_KEY: changed}, tmp_path / "foreign.ckpt")
        with pytest.raises(SingerVerifyError, match=said):
            tune(make_corpus() if place == "_target_" else tmp_path / "corpus", tmp_path / "foreign.ckpt")


def test_printed_settings_are_those_of_the_training(
    parent: Path, tmp_path: Path, make_corpus: MakeCorpus, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of one that begins with a parent's weights, and of one that is resumed, with what was typed for it then."""
    run = tune(make_corpus(), parent, "print_config=true", "optimizer.lr=0.002", "trainer.max_steps=1")
    recorded = (run / "config.yaml").read_text()
    for max_steps in (1, 2):
        printed = capsys.readouterr().out
        for line in ("channels: 4", "fmin_hz: 60.0", "window_frames: 70", "lr: 0.002", f"max_steps: {max_steps}"):
            assert f"  {line}" in printed
            assert f"  {line}" in recorded
        train([f"resume={run}", "print_config=true", "trainer.max_steps=2"], conf=CONF)
        recorded = (run / "config.yaml").read_text()
