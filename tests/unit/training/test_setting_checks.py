"""Settings of a wrong type or range are refused by their full name, before any work; the shipped ones are not."""

import copy
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import yaml
from hydra.errors import InstantiationException

from singer_verify.cli.console import format_user_error
from singer_verify.errors import SingerVerifyError
from singer_verify.training.composition import compose_settings, name_typed_settings, resolve_config
from singer_verify.training.setting_checks import MAX_SEED, check_settings

CONF = Path(__file__).parents[3] / "conf"
GROUPS = ("augmentation", "data", "encoder", "features", "loss", "optimizer", "scheduler", "trainer", "logger")
OPTIONAL = {"wandb", "mlflow"}  # whose packages may be missing


def compose(folder: Path, *overrides: str) -> dict[str, Any]:
    with compose_settings([*overrides, f"hydra.run.dir={folder}"], CONF) as (config, _):
        return resolve_config(config)


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return compose(tmp_path_factory.mktemp("run"))


def change(settings: dict[str, Any], override: str) -> dict[str, Any]:
    """The settings with one more, or without one."""
    changed = copy.deepcopy(settings)
    name, _, value = override.lstrip("+").partition("=")
    *groups, last = name.lstrip("~").split(".")
    place = changed
    for group in groups:
        place = place.setdefault(group, {})
    if name.startswith("~"):
        del place[last]
        return changed
    place[last] = yaml.safe_load(value) if value else value
    return changed


@pytest.mark.parametrize(
    ("group", "choice"),
    [
        (group, path.stem)
        for group, path in product(GROUPS, sorted(CONF.glob("*/*.yaml")))
        if path.parent.name == group and path.stem not in OPTIONAL
    ],
)
def test_every_shipped_choice_is_accepted(group: str, choice: str, tmp_path: Path) -> None:
    check_settings(compose(tmp_path, f"{group}={choice}"))


@pytest.mark.parametrize(
    ("overrides", "name", "said"),
    [
        (["scheduler=warmup_cosine"], "scheduler.max_steps", "trainer.max_steps=20: too few."),
        (
            ["scheduler=warmup_cosine", "scheduler.max_steps=20"],
            "scheduler.max_steps",
            "scheduler.max_steps=20: too few.",
        ),
        (["scheduler=plateau"], "scheduler.mode", "monitor_mode=20: too few."),
        ([], "data.window_frames", "data.num_frames=20: too few."),
        ([], "callbacks.best.monitor", "monitor=20: too few."),
        ([], "seed", "seed=20: too few."),
        ([], "nothing.of.this", "nothing.of.this=20: too few."),
    ],
)
def test_a_setting_that_follows_another_is_refused_by_the_name_that_is_typed(
    overrides: list[str], name: str, said: str, tmp_path: Path
) -> None:
    with compose_settings([*overrides, f"hydra.run.dir={tmp_path}"], CONF) as (config, _):
        for cause in (SingerVerifyError(f"{name}=20: too few."), InstantiationException("Error in call")):
            if isinstance(cause, InstantiationException):  # as a part raises it that Hydra builds
                cause.__cause__ = SingerVerifyError(f"{name}=20: too few.")
            with pytest.raises((SingerVerifyError, InstantiationException)) as refusal, name_typed_settings(config):
                raise cause
            assert format_user_error(refusal.value) == said


@pytest.mark.parametrize(
    ("override", "said"),
    [
        (f"seed={MAX_SEED + 1}", f"seed={MAX_SEED + 1}: expected an integer between 0 and {MAX_SEED}."),
        ("seed=true", "seed=True: expected an integer of at least 0."),
        ("print_config=maybe", "print_config=maybe: expected true or false."),
        ("monitor=1", "monitor=1: expected text."),
        ("monitor_mode=best", "monitor_mode=best: expected one of min, max."),
        ("init_from=", "init_from=: expected a path, or null."),
        ("freeze=1", "freeze=1: expected a list, for example freeze=[lstm.0,lstm.1]."),
        ("freeze_batchnorm=1", "freeze_batchnorm=1: expected true or false."),
        ("layer_decay=null", "layer_decay=None: expected a number between 1e-06 and 1."),
        ("layer_decay=1.5", "layer_decay=1.5: expected a number between 1e-06 and 1."),
        ("lr_multipliers=0.1", "lr_multipliers=0.1: expected null or, for example, {lstm.0: 0.1}."),
        ("lr_multipliers={lstm.0: slow}", "lr_multipliers.lstm.0=slow: expected a number between 1e-06 and 1e+06."),
        ("lr_multipliers={lstm: {0: 0}}", "lr_multipliers.lstm.0=0: expected a number between 1e-06 and 1e+06."),
        ("optimizer.lr=abc", "optimizer.lr=abc: expected a number."),
        ("optimizer.lr=[1]", "optimizer.lr=[1]: expected a number."),
        ("optimizer.lr=null", "optimizer.lr=null: expected a number."),
        ("encoder.relu=maybe", "encoder.relu=maybe: expected true or false."),
        ("encoder.hidden_size=1.5", "encoder.hidden_size=1.5: expected an integer."),
        ("encoder.dropout=true", "encoder.dropout=True: expected a number."),
        ("data.root=null", "data.root=null: expected text or a list."),
        ("data.store_root=[a]", "data.store_root=['a']: expected text."),
        ("data.store_root=1", "data.store_root=1: expected text."),
        ("data.on_the_fly=maybe", "data.on_the_fly=maybe: expected true or false."),
        ("data.num_extraction_workers=abc", "data.num_extraction_workers=abc: expected an integer or null."),
        ("features.num_bins=abc", "features.num_bins=abc: expected an integer."),
        ("loss.terms.ge2e.initial_scale=abc", "loss.terms.ge2e.initial_scale=abc: expected a number."),
        ("trainer.max_epochs=abc", "trainer.max_epochs=abc: expected an integer or null."),
        ("trainer.log_every_n_steps=0", "trainer.log_every_n_steps=0: expected an integer of at least 1."),
        ("+trainer.accumulate_grad_batches=0", "trainer.accumulate_grad_batches=0: expected an integer of at least 1."),
        ("+trainer.detect_anomaly=maybe", "trainer.detect_anomaly=maybe: expected true or false."),
        ("callbacks.early_stopping.patience=abc", "callbacks.early_stopping.patience=abc: expected an integer."),
        ("callbacks.learning_rate.logging_interval=day", "logging_interval=day: expected one of step, epoch or null."),
        ("+callbacks.mine=1", "callbacks.mine=1: expected null, or settings with _target_."),
        ("+callbacks.mine.size=1", "callbacks.mine={'size': 1}: expected null, or settings with _target_."),
        (
            "+callbacks.mine._target_=singer_verify.encoders.statistics.StatisticsEncoder",
            "expected a Callback of pytorch_lightning.",
        ),
        *(
            (f"{place}._target_={target}", f"{place}._target_={said}: expected the import path of a class.")
            for place in ("encoder", "callbacks.mine", "logger.mine", "loss.terms.ge2e", "trainer")
            for target, said in (("null", "null"), ("3", "3"), ("[a]", "['a']"), ("' '", " "))
        ),
        ("encoder._target_=math.pi", "encoder._target_=math.pi: is no class or function; expected the path of one."),
        ("trainer.gradient_clip_val=0", "trainer.gradient_clip_val=0: expected a positive number, or null."),
        ("trainer.gradient_clip_val=-1", "trainer.gradient_clip_val=-1: expected a positive number, or null."),
        ("+trainer.gradient_clip_algorithm=value", "gradient_clip_algorithm=value: the norm of all gradients is"),
        ("trainer.max_epochs=0", "trainer.max_epochs=0: nothing would be trained; leave it out."),
        ("+trainer.limit_train_batches=0", "trainer.limit_train_batches=0: nothing would be trained; leave it out."),
        ("+trainer.strategy=ddp_spawn", "trainer.strategy=ddp_spawn: its processes cannot hand back what they trained"),
        ("~optimizer", "optimizer: names no class to build it from (_target_); leave the group optimizer in."),
        ("+scheduler.foo=1", "scheduler.foo=1: ConstantLR has no such setting; it has factor,"),
        ("+encoder.foo=1", "encoder.foo=1: LSTMEncoder has no such setting; it has bidirectional,"),
        *(
            (f"trainer.precision={precision}", f"trainer.precision={precision}: the weights are trained in single")
            for precision in ("64", "64-true", "16-true", "bf16-true", "transformer-engine", "17", "abc")
        ),
    ],
)
def test_wrong_settings_are_named(override: str, said: str, shipped: dict[str, Any]) -> None:
    with pytest.raises(SingerVerifyError) as refusal:
        check_settings(change(shipped, override))
    assert said in str(refusal.value)


@pytest.mark.parametrize(
    "override",
    [
        *(f"trainer.precision={name}" for name in ("16", "16-mixed", "bf16", "bf16-mixed", "32-true", "null")),
        *("optimizer.lr=1", "trainer.devices=auto", "trainer.devices=[0]", "data.root=[a,b]", "callbacks.last=null"),
        *(
            "+optimizer.betas=[0.9,0.99]",
            "+trainer.strategy=auto",
            "+trainer.strategy=ddp",
            "trainer.gradient_clip_val=null",
            "+trainer.gradient_clip_algorithm=norm",
            "+trainer.limit_train_batches=1.0",
            "encoder.dropout=0",
            "freeze=null",
            "lr_multipliers={lstm.0: 0.1}",
            f"seed={MAX_SEED}",
        ),
    ],
)
def test_what_the_parts_take_is_accepted(override: str, shipped: dict[str, Any]) -> None:
    check_settings(change(shipped, override))


@pytest.mark.parametrize(
    "name",
    [
        *(
            "seed",
            "monitor",
            "monitor_mode",
            "print_config",
            "freeze",
            "freeze_batchnorm",
            "layer_decay",
            "init_from",
            "resume",
            "ckpt_path",
            "callbacks",
        ),
        *("logger", "trainer.max_steps", "trainer.val_check_interval", "trainer.log_every_n_steps", "callbacks.last"),
    ],
)
def test_a_setting_that_was_removed_is_not_missed(name: str, shipped: dict[str, Any]) -> None:
    check_settings(change(shipped, f"~{name}"))


def make_callback() -> pl.Callback:
    return pl.Callback()


@pytest.mark.parametrize("target", [f"{__name__}.make_callback", "os.getcwd", "builtins.print", "builtins.vars"])
@pytest.mark.parametrize("group", ["callbacks", "logger"])
def test_a_part_may_be_made_by_a_function(group: str, target: str, shipped: dict[str, Any]) -> None:
    check_settings(change(shipped, f"+{group}.mine._target_={target}"))


@pytest.mark.parametrize("target", ["builtins.int", "builtins.dict", "builtins.vars", "builtins.range"])
def test_a_target_whose_arguments_are_not_known_is_accepted(target: str, shipped: dict[str, Any]) -> None:
    check_settings(shipped | {"augmentation": {"_target_": target, "size": 1}})
