"""Every shipped yaml composes; every logger and every debug choice runs a training."""

import json
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from support.tiny_run import ROOT, make_corpus, run, tiny
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from singer_verify.data.windows import resolve_crop_lengths

CONF = ROOT / "conf"
CHOICES = sorted(
    (path.parent.relative_to(CONF).as_posix(), path.stem)
    for path in CONF.rglob("*.yaml")
    if path.parent != CONF and CONF / "hydra" not in path.parents
)
OPTIONAL_PLUGINS = {("sweep", "rates"): "hydra_plugins.hydra_optuna_sweeper"}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_corpus(tmp_path_factory.mktemp("data") / "corpus")


@pytest.mark.parametrize(("group", "choice"), CHOICES)
def test_every_choice_composes(group: str, choice: str) -> None:
    if plugin := OPTIONAL_PLUGINS.get((group, choice)):
        pytest.importorskip(plugin)
    with initialize_config_dir(str(CONF), version_base="1.3"):
        group, *folder = group.split("/")  # experiment=study/recipes
        typed = [f"{group}={'/'.join([*folder, choice])}", "data.root=corpus", "++hydra.runtime.output_dir=run"]
        config = compose("train", typed, return_hydra_config=True)
    HydraConfig.instance().set_config(config)
    for key in config.keys() - {"hydra"}:
        if OmegaConf.is_config(config[key]):
            OmegaConf.to_container(config[key], resolve=True)


@pytest.mark.parametrize(("experiment", "seconds"), [("laptop", 0.5), ("gpu", 1.6), ("paper", 3.0), ("seed", 3.07)])
def test_presets_have_the_lengths_that_they_state(experiment: str, seconds: float) -> None:
    with initialize_config_dir(str(CONF), version_base="1.3"):
        plain, preset = (compose("train", typed).data for typed in ([], [f"experiment={experiment}"]))
    assert resolve_crop_lengths(plain.num_frames, plain.window_frames, None, 10.0) == (50, 50)
    lengths = resolve_crop_lengths(preset.num_frames, preset.window_frames, preset.crop_seconds, 10.0)
    assert lengths == (round(100 * seconds), round(100 * seconds))
    if experiment == "laptop":
        assert {**preset, "crop_seconds": None} == dict(plain)  # the defaults, by name
    assert f"{seconds:g}" in (CONF / f"experiment/{experiment}.yaml").read_text()


def test_several_loggers_each_get_the_metrics(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run(
        monkeypatch,
        *tiny(corpus, pictures=True),
        "logger=[tensorboard,csv]",
        "debug=limit",
        "trainer.max_steps=6",
        folder=tmp_path,
    )
    lines = (folder / "csv/version_0/metrics.csv").read_text().splitlines()
    assert {"val/eer", "train/loss", "steps_per_second", "best/eer"} <= set(lines[0].split(","))
    events = EventAccumulator(str(folder))
    events.Reload()
    assert {"val/eer", "train/loss", "steps_per_second", "best/eer"} <= set(events.Tags()["scalars"])
    assert "_hparams_/session_start_info" in events.summary_metadata
    assert {"batch/frames", "val/similarity"} <= set(events.Tags()["images"])


def test_a_run_without_a_logger(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = run(monkeypatch, *tiny(corpus), "logger=none", folder=tmp_path / "run")
    assert (folder / "metrics.json").exists()
    assert not list(folder.rglob("events.out*"))


@pytest.mark.parametrize("logger", ["wandb", "mlflow"])
def test_loggers_of_extras_run_offline(
    logger: str, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip(logger)
    monkeypatch.setenv("WANDB_MODE", "offline")
    folder = run(monkeypatch, *tiny(corpus), f"logger={logger}", folder=tmp_path / "run")
    assert (folder / {"wandb": "wandb", "mlflow": "mlruns"}[logger]).is_dir()


@pytest.mark.parametrize("choice", ["fast", "limit", "profiler"])
def test_debug_choices_run(choice: str, corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes = [override for override in tiny(corpus) if not override.startswith("trainer.max_steps")]
    sizes += ["callbacks.early_stopping.patience=100"]
    folder = run(monkeypatch, *sizes, f"debug={choice}", folder=tmp_path / "run")
    steps = json.loads((folder / "metrics.json").read_text())["steps"]
    assert steps == {"fast": 2, "limit": 10, "profiler": 50}[choice]
    assert (folder / "fit-profile.txt").exists() == (choice == "profiler")


def read_losses(folder: Path) -> list[float]:
    events = EventAccumulator(str(folder))
    events.Reload()
    return [event.value for event in events.Scalars("train/loss")]


def test_one_batch_is_learned_by_heart(corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left_out = ("encoder.dropout", "trainer.max_steps", "trainer.val_check_interval")
    sizes = [override for override in tiny(corpus) if not override.startswith(left_out)]
    sizes += ["encoder.embedding_size=16", "encoder.hidden_size=16", "trainer.log_every_n_steps=50"]
    folder = run(monkeypatch, *sizes, "optimizer.lr=0.01", "debug=overfit", folder=tmp_path / "run")
    assert read_losses(folder)[-1] < 0.01


@pytest.mark.slow
def test_the_shipped_network_learns_one_batch_by_heart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At ten times this learning rate its rectified projection dies within five steps, and the loss stays at log 8."""
    settings = (f"data.root={ROOT / 'example_dataset'}", f"data.store_root={tmp_path / 'store'}", "debug=overfit")
    quick = (
        "trainer.max_steps=120",
        "trainer.val_check_interval=120",
        "trainer.accelerator=cpu",
        "~callbacks.pictures",
    )
    folder = run(monkeypatch, *settings, *quick, "~callbacks.progress_bar", folder=tmp_path / "run")
    assert read_losses(folder)[-1] < 0.1
