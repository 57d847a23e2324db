"""A stopped training continues exactly: everything its last checkpoint holds is as if it had never been stopped."""

import json
import re

import numpy as np
import pytest
import torch
import yaml
from hydra.errors import HydraException
from support.resuming import STOPS, stopped_and_continued, unlike
from support.tiny_run import NUM_BINS, At, last_of, make_corpus, run, terminate, tiny

from singer_verify.cli.console import format_user_error
from singer_verify.errors import SingerVerifyError

LOSSES = ("ge2e", "ce", "ge2e+ce", "ge2e+am", "ge2e+angular", "ge2e+supcon")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus") / "tiny")


@pytest.fixture(scope="module")
def whole_run(corpus, tmp_path_factory):
    """Uninterrupted runs, each trained once."""
    runs = {}

    def of(*overrides):
        if overrides not in runs:
            with pytest.MonkeyPatch.context() as monkeypatch:
                runs[overrides] = run(monkeypatch, *tiny(corpus), *overrides, folder=tmp_path_factory.mktemp("whole"))
        return runs[overrides]

    return of


@pytest.mark.parametrize("stop", ["in the middle of a cycle", "in the middle of a validation"])
def test_a_killed_training_continues_exactly(monkeypatch, tmp_path, corpus, whole_run, stop):
    assert unlike(whole_run(), stopped_and_continued(monkeypatch, tmp_path, stop, corpus)) == []


@pytest.mark.slow
def test_a_margin_that_grows_continues_where_it_was(monkeypatch, tmp_path, corpus, whole_run):
    overrides = ("loss=ge2e+aam", "loss.terms.aam.warmup_steps=10")
    folder = stopped_and_continued(monkeypatch, tmp_path, "in the middle of a cycle", corpus, *overrides)
    assert unlike(whole_run(*overrides), folder) == []
    margins = [event.value for event in scalars(whole_run(*overrides), "train/aam/margin")]
    assert margins[:2] == pytest.approx([0.2 * 4 / 10, 0.2 * 9 / 10])  # at steps 5 and 10


@pytest.mark.slow
@pytest.mark.parametrize("stop", STOPS)
def test_a_killed_training_continues_exactly_wherever_it_was(monkeypatch, tmp_path, corpus, whole_run, stop):
    overrides = ("scheduler=plateau", "scheduler.patience=0")
    folder = stopped_and_continued(monkeypatch, tmp_path, stop, corpus, *overrides)
    assert unlike(whole_run(*overrides), folder) == []


@pytest.mark.slow
@pytest.mark.parametrize("stop", ["in the middle of a cycle", "in the middle of a validation"])
@pytest.mark.parametrize("num_workers", [0, 2])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_killed_training_continues_exactly_whatever_the_loss_and_the_workers(
    monkeypatch, tmp_path, corpus, whole_run, loss, num_workers, stop
):
    overrides = (f"loss={loss}", f"data.num_workers={num_workers}", "scheduler=plateau", "scheduler.patience=0")
    folder = stopped_and_continued(monkeypatch, tmp_path, stop, corpus, *overrides)
    assert unlike(whole_run(*overrides), folder) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    "schedule",
    [
        ("scheduler=plateau", "scheduler.patience=0"),
        ("scheduler=warmup_cosine", "scheduler.warmup_steps=5"),
        ("scheduler=plateau", "scheduler.patience=0", "layer_decay=0.5", "lr_multipliers={linear:2}"),
    ],
)
def test_the_schedule_continues(monkeypatch, tmp_path, corpus, whole_run, schedule):
    overrides = (*schedule, "optimizer=sgd", "optimizer.lr=0.5")
    folder = stopped_and_continued(monkeypatch, tmp_path, "in the middle of a validation", corpus, *overrides)
    assert unlike(whole_run(*overrides), folder) == []


@pytest.mark.parametrize(("hook", "count", "steps"), [("on_train_batch_end", 7, 7), ("on_validation_batch_end", 5, 3)])
def test_a_signal_leaves_a_checkpoint_from_which_it_continues(
    monkeypatch, tmp_path, corpus, whole_run, hook, count, steps
):
    settings = (*tiny(corpus), "callbacks.last.every_n_steps=1000")
    run(monkeypatch, *settings, folder=tmp_path, callbacks=(At(hook, count, terminate),))
    assert last_of(tmp_path)["global_step"] == steps
    run(monkeypatch, f"resume={tmp_path}")
    assert unlike(whole_run(), tmp_path) == []


def test_a_stopped_training_continues_as_typed(monkeypatch, tmp_path, corpus):
    """What was typed for the run holds, what is typed now comes after it, and both are recorded."""
    run(monkeypatch, *tiny(corpus), "trainer.max_steps=5", folder=tmp_path)
    run(monkeypatch, f"resume={tmp_path}", "trainer.max_steps=6")
    assert last_of(tmp_path)["global_step"] == 6
    assert "encoder.hidden_size=6" in yaml.safe_load((tmp_path / "overrides.yaml").read_text())
    assert yaml.safe_load((tmp_path / "config.yaml").read_text())["trainer"]["max_steps"] == 6
    record = json.loads((tmp_path / "run.json").read_text())
    assert len(record["continued"]) == 1
    figures = json.loads((tmp_path / "metrics.json").read_text())
    assert figures["untrained"]["step"] == 0
    assert figures["steps"] == 6
    said = " ".join((tmp_path / "train.log").read_text().split())
    assert "continuing after step 5; changed: trainer.max_steps 5 → 6." in said
    steps = [event.step for event in scalars(tmp_path, "val/eer")]
    assert len(steps) == len(set(steps))


def test_its_duration_is_that_of_all_sessions(monkeypatch, tmp_path, corpus):
    """The checkpoint knows how long the training took until it was written, also where the process was killed."""
    run(monkeypatch, *tiny(corpus), "trainer.max_steps=5", folder=tmp_path)
    first = read_seconds(tmp_path)
    checkpoint = last_of(tmp_path)
    checkpoint["callbacks"]["MetricHistory"]["seconds"] += 1000.0
    torch.save(checkpoint, tmp_path / "checkpoints/last.ckpt")
    run(monkeypatch, f"resume={tmp_path}", "trainer.max_steps=6")
    assert 1000.0 < read_seconds(tmp_path) < 1000.0 + first + 60.0
    assert last_of(tmp_path)["callbacks"]["MetricHistory"]["seconds"] > 1000.0


def read_seconds(folder):
    return json.loads((folder / "metrics.json").read_text())["seconds"]


def scalars(folder, name):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return events.Scalars(name)


def test_a_checkpoint_continues_in_its_own_folder(monkeypatch, tmp_path, corpus):
    run(monkeypatch, *tiny(corpus), "trainer.max_steps=5", folder=tmp_path)
    last = tmp_path / "checkpoints/last.ckpt"
    assert run(monkeypatch, *tiny(corpus), "trainer.max_steps=6", f"ckpt_path={last}") == tmp_path
    assert last_of(tmp_path)["global_step"] == 6


def test_a_run_that_was_moved_keeps_its_best_model(monkeypatch, tmp_path, corpus):
    run(monkeypatch, *tiny(corpus), "trainer.max_steps=5", folder=tmp_path / "here")
    (tmp_path / "here").rename(tmp_path / "there")
    run(monkeypatch, f"resume={tmp_path / 'there'}", "trainer.max_steps=6")
    assert not (tmp_path / "here").exists()
    states = last_of(tmp_path / "there")["callbacks"]
    best = next(state for name, state in states.items() if name.startswith("BestCheckpoint"))
    assert best["best_model_path"] == str(tmp_path / "there/checkpoints/best.ckpt")
    assert best["best_model_score"] is not None


def test_an_early_stopped_training_stays_stopped(monkeypatch, tmp_path, corpus):
    never_better = "optimizer.lr=0", "callbacks.early_stopping.patience=1"
    run(monkeypatch, *tiny(corpus), *never_better, folder=tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text())["stopped"] == "no further improvement"
    assert last_of(tmp_path)["global_step"] == 8
    run(monkeypatch, f"resume={tmp_path}")
    assert last_of(tmp_path)["global_step"] == 8
    run(monkeypatch, f"resume={tmp_path}", "callbacks.early_stopping.patience=9")
    assert last_of(tmp_path)["global_step"] == 13


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("encoder.hidden_size=7", "encoder.hidden_size 6 → 7"),
        ("seed=2", "seed 1 → 2"),
        ("loss=ce", "loss.terms.ce"),
        ("optimizer=sgd", "optimizer._target_ torch.optim.Adam → torch.optim.SGD"),
        ("data.utterances_per_singer=3", "data.utterances_per_singer 2 → 3"),
    ],
)
def test_refuses_to_continue_another_training(monkeypatch, tmp_path, corpus, override, said):
    if not (stopped := corpus.parent / "stopped").exists():
        run(monkeypatch, *tiny(corpus), "trainer.max_steps=1", folder=stopped)
    with pytest.raises(SingerVerifyError, match=re.escape(said)) as refusal:
        run(monkeypatch, f"resume={stopped}", override)
    assert "cannot change while a training continues" in str(refusal.value)


def test_refuses_to_continue_on_other_recordings(monkeypatch, tmp_path):
    corpus = make_corpus(tmp_path / "corpus")
    run(monkeypatch, *tiny(corpus), "trainer.max_steps=1", folder=tmp_path / "run")
    np.save(corpus / "train/train0/more.npy", np.ones((30, NUM_BINS), np.float32))
    with pytest.raises(SingerVerifyError, match=r"corpus.train 5 singers, 15 .* → 5 singers, 16 "):
        run(monkeypatch, f"resume={tmp_path / 'run'}", "trainer.max_steps=2")


@pytest.mark.parametrize("model", ["saved_model.pt", "checkpoints/best.ckpt"])
def test_refuses_a_model_that_is_no_place_to_continue_from(monkeypatch, tmp_path, corpus, model):
    run(monkeypatch, *tiny(corpus), "trainer.max_steps=1", folder=tmp_path / "run")
    with pytest.raises(SingerVerifyError, match="holds a model, but no state of its training"):
        run(monkeypatch, *tiny(corpus), f"ckpt_path={tmp_path / 'run' / model}", folder=tmp_path / "other")


@pytest.mark.parametrize("target", ["os.system", "pytorch_lightning.loggers.tensorboard.os.system", "torch.hub.load"])
def test_a_run_from_elsewhere_constructs_nothing_foreign(monkeypatch, tmp_path, corpus, target):
    run(monkeypatch, *tiny(corpus), "trainer.max_steps=1", folder=tmp_path)
    typed = yaml.safe_load((tmp_path / "overrides.yaml").read_text())
    (tmp_path / "overrides.yaml").write_text(yaml.safe_dump([*typed, f"encoder._target_={target}"]))
    with pytest.raises(SingerVerifyError, match=re.escape(f"_target_={target}: a run's configuration may name")):
        run(monkeypatch, f"resume={tmp_path}")


CHOICES = (
    *("loss=ge2e+aam", "callbacks=ema", "optimizer=sgd", "optimizer.lr=0.1", "scheduler=warmup_cosine"),
    *("scheduler.warmup_steps=1", "logger=csv", "augmentation=spec_augment", "loss.terms.aam.margin=0.1"),
)


@pytest.fixture(scope="module")
def chosen_run(corpus, tmp_path_factory):
    """A run whose groups are others than the default ones."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        folder = tmp_path_factory.mktemp("chosen") / "run"
        return run(monkeypatch, *tiny(corpus), *CHOICES, "trainer.max_steps=2", folder=folder)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["loss.terms.aam.warmup_steps=30"], "loss.terms.aam.warmup_steps 0 → 30"),
        (["loss.weights.aam=2"], "loss.weights.aam 1.0 → 2"),
        (["callbacks.ema.decay=0.9"], "callbacks.ema.decay 0.98 → 0.9"),
        (["~callbacks.ema"], "callbacks.ema.decay 0.98 → nothing"),
        (["~optimizer.momentum"], "optimizer.momentum 0.9 → nothing"),
        (["optimizer.momentum=0.5"], "optimizer.momentum 0.9 → 0.5"),
        (["scheduler.warmup_steps=0"], "scheduler.warmup_steps 1 → 0"),
        (["augmentation.frames.spec_augment.max_bins=3"], "augmentation.frames.spec_augment.max_bins 8 → 3"),
        (["loss=ge2e"], "loss.terms.aam.margin 0.1 → nothing"),
        (["callbacks=default"], "callbacks.ema.decay 0.98 → nothing"),
        (["callbacks.ema.decoy=0.9"], "Could not override 'callbacks.ema.decoy'. There is no such setting"),
        (["loss.terms.am.margin=0.2"], "Could not override 'loss.terms.am.margin'. There is no such setting"),
        (["corpus.train=1"], "Could not override 'corpus.train'. There is no such setting"),
    ],
)
def test_settings_are_checked_against_the_run_that_is_resumed(monkeypatch, chosen_run, overrides, said):
    with pytest.raises((SingerVerifyError, HydraException)) as refusal:
        run(monkeypatch, f"resume={chosen_run}", *overrides)
    message = format_user_error(refusal.value)
    assert said in message
    assert ("cannot change while a training continues" in message) == ("→" in said)


def test_settings_of_a_chosen_group_change_where_they_may(monkeypatch, tmp_path, chosen_run):
    typed = ("logger.csv.name=more", "trainer.max_steps=3", "~callbacks.throughput")
    run(monkeypatch, f"resume={chosen_run}", f"hydra.run.dir={tmp_path}", "name=longer", *typed)
    assert (tmp_path / "more").is_dir()
    assert "throughput" not in yaml.safe_load((tmp_path / "config.yaml").read_text())["callbacks"]
    recorded = yaml.safe_load((tmp_path / "overrides.yaml").read_text())
    assert set(recorded) == {*yaml.safe_load((chosen_run / "overrides.yaml").read_text()), *typed} - {
        "trainer.max_steps=2"
    }
    run(monkeypatch, f"resume={tmp_path}", "logger=tensorboard", "trainer.max_steps=4")
    recorded = yaml.safe_load((tmp_path / "overrides.yaml").read_text())
    assert "logger=tensorboard" in recorded
    assert "logger.csv.name=more" not in recorded
    assert last_of(tmp_path)["global_step"] == 4
