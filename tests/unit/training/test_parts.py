"""Parts that a training could not use, or whose model could not be loaded, are named in one message at its start."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from singer_verify import safe_loading
from singer_verify.encoders.encoder import freeze
from singer_verify.encoders.lstm import LSTMEncoder
from singer_verify.errors import SingerVerifyError
from singer_verify.features.mel import MelSpectrogram
from singer_verify.losses.weighted import WeightedLoss
from singer_verify.safe_loading import rebuild_from_settings, refuse_untrusted_targets, require_plain, trust
from singer_verify.training.composition import compose_settings
from singer_verify.training.module import Verifier
from singer_verify.training.parts import (
    build_trainer,
    check_encoder,
    check_feature,
    check_loss,
    require_measured_monitors,
)

CONF = Path(__file__).parents[3] / "conf"


class NormedEncoder(nn.Module):
    """A plain layer, then BatchNorm."""

    def __init__(self) -> None:
        super().__init__()
        self.front = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
        self.linear = nn.Linear(4, 2)

    def forward(self, frames: Tensor) -> Tensor:
        return self.linear(self.front(frames.mean(dim=1)))


class UnnamedTerm(nn.Module):
    """Returns another name than its own."""

    min_utterances, lr_multiplier, singer_specific = 1, 1.0, False

    def forward(self, embeddings: Tensor, singers: Tensor) -> dict[str, Tensor]:
        return {"value": embeddings.sum()}


@pytest.fixture(autouse=True)
def forget_trust(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(safe_loading, "_trusted_packages", set())


def test_our_own_parts_pass() -> None:
    check_feature(MelSpectrogram(40))
    check_encoder(LSTMEncoder(40, 4, 1, 3), 40)


def test_a_missing_attribute_is_named() -> None:
    with pytest.raises(SingerVerifyError, match=r"encoder: .*NormedEncoder has no embedding_size; expected"):
        check_encoder(NormedEncoder(), 3)
    with pytest.raises(SingerVerifyError, match=r"loss\.terms\.plain: torch.* has no min_utterances"):
        WeightedLoss({"plain": nn.Linear(2, 2)}, {"plain": 1.0})
    with pytest.raises(SingerVerifyError, match=r"features: builtins.object has no sample_rate"):
        check_feature(object())


def test_settings_rebuild_the_very_encoder() -> None:
    encoder = LSTMEncoder(40, 4, 1, 3)
    encoder.settings["hidden_size"] = 5
    with pytest.raises(SingerVerifyError, match=r"encoder\.settings: rebuild another network, whose .* has shape"):
        check_encoder(encoder, 40)


def test_outputs_bear_the_name_of_the_term() -> None:
    loss = WeightedLoss({"mine": UnnamedTerm()}, {"mine": 1.0})
    with pytest.raises(SingerVerifyError, match=r"loss\.terms\.mine: returns value; expected scalars named mine"):
        check_loss(loss, LSTMEncoder(40, 4, 1, 3))


@pytest.mark.parametrize("value", [torch.zeros(1), (1, 2), {1: 2}, float, b"x"])
def test_settings_are_plain(value: Any) -> None:
    require_plain("encoder.settings", {"a": [1, 2.0, None, True, {"b": "c"}]})
    with pytest.raises(SingerVerifyError, match=r"encoder\.settings\.a\[0\]: "):
        require_plain("encoder.settings", {"a": [value]})


@pytest.mark.parametrize("package", ["os", "subprocess", "torch", "torch.hub", "builtins", "numpy"])
def test_libraries_cannot_be_trusted(package: str) -> None:
    with pytest.raises(SingerVerifyError, match="can run anything"):
        trust([package])


@pytest.mark.parametrize("target", ["made_up.mine.os.system", "made_up.mine.Popen", "made_up.mine.call"])
def test_of_a_trusted_package_only_its_own_classes(target: str, tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "made_up").mkdir()
    (tmp_path / "made_up/__init__.py").touch()
    source = "import os\nfrom subprocess import Popen\ndef call(**settings):\n    return 1\nclass Mine:\n    pass\n"
    (tmp_path / "made_up/mine.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(SingerVerifyError, match="comes from made_up, which is not trusted, and was not imported"):
        rebuild_from_settings({"_target_": "made_up.mine.Mine"}, "singer_verify.encoders")
    trust(["made_up"])
    assert type(rebuild_from_settings({"_target_": "made_up.mine.Mine"}, "singer_verify.encoders")).__name__ == "Mine"
    refuse_untrusted_targets({"callbacks": [{"_target_": "made_up.mine.Mine"}]})
    with pytest.raises(SingerVerifyError):
        rebuild_from_settings({"_target_": target}, "singer_verify.encoders")
    with pytest.raises(SingerVerifyError, match="there is no such class"):
        refuse_untrusted_targets({"_target_": target})


def test_a_frozen_part_stays_in_evaluation_mode() -> None:
    encoder = NormedEncoder()
    freeze(encoder, ["front"])
    before = {name: tensor.clone() for name, tensor in encoder.front.state_dict().items()}
    encoder.train()  # as a trainer does at its start and after each validation
    encoder(torch.randn(8, 5, 3))
    assert encoder.training
    assert not encoder.front[1].training
    assert all(torch.equal(before[name], tensor) for name, tensor in encoder.front.state_dict().items())


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("trainer.cuda_graph=true", "trainer.cuda_graph=true: 2 devices train together; expected one CUDA device"),
        ("trainer.sync_batchnorm=true", "several GPUs, and the training runs on cpu; leave it out."),
    ],
)
def test_devices_that_could_not_train_are_refused(override: str, said: str, tmp_path: Path) -> None:
    several = "trainer=ddp", "trainer.devices=2", "trainer.accelerator=cpu", "logger=none", f"hydra.run.dir={tmp_path}"
    with compose_settings([*several, override], CONF) as (config, _), pytest.raises(SingerVerifyError) as refusal:
        build_trainer(config)
    assert said in str(refusal.value)


def test_what_a_callback_of_another_package_measures_may_be_monitored() -> None:
    class Measuring(pl.Callback):
        """Logs a metric of its own."""

    verifier, settings = Verifier(LSTMEncoder(3, 4, 1, 2)), {"monitor": "val/mine"}
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    require_measured_monitors(settings, pl.Trainer(**quiet, callbacks=[Measuring()]), verifier)
    with pytest.raises(
        SingerVerifyError, match=r"^monitor=val/mine: is not measured; expected one of val/auc, val/eer"
    ):
        require_measured_monitors(settings, pl.Trainer(**quiet), verifier)
    require_measured_monitors({"monitor": "val/min_cllr"}, pl.Trainer(**quiet), verifier)
