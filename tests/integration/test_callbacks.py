"""Callbacks are entries of conf/callbacks: each can be changed, removed and added."""

import json

import pytest
from support.tiny_run import last_of, make_corpus, run, tiny

from singer_verify.errors import SingerVerifyError


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return make_corpus(tmp_path_factory.mktemp("corpus") / "tiny")


def without(*names):
    return [f"~callbacks.{name}" for name in names]


def test_a_run_needs_no_callback_but_the_history(monkeypatch, tmp_path, corpus):
    removed = without(
        *("validation_lines", "projector", "resume", "non_finite", "interruption", "last", "best"),
        "early_stopping",
    )
    run(monkeypatch, *tiny(corpus), *removed, folder=tmp_path)
    assert json.loads((tmp_path / "metrics.json").read_text())["final"]["step"] == 13
    log = " ".join((tmp_path / "train.log").read_text().split())
    assert "callbacks.last is missing: no checkpoints/last.ckpt is written, so this run cannot be resumed." in log
    assert "callbacks.best is missing: no checkpoints/best.ckpt is written" in log
    assert not (tmp_path / "checkpoints").exists()


def test_a_run_without_the_history_is_refused(monkeypatch, tmp_path, corpus):
    with pytest.raises(SingerVerifyError, match=r"callbacks.history is missing: metrics.json needs the metrics"):
        run(monkeypatch, *tiny(corpus), *without("history"), folder=tmp_path)
    assert not (tmp_path / "run.json").exists()


def test_a_run_without_exact_resume_is_not_continued(monkeypatch, tmp_path, corpus):
    one_step = "trainer.max_steps=1"
    run(monkeypatch, *tiny(corpus), one_step, *without("resume"), folder=tmp_path / "inexact")
    with pytest.raises(SingerVerifyError, match=r"was written without callbacks.resume"):
        run(monkeypatch, *tiny(corpus), f"ckpt_path={tmp_path}/inexact/checkpoints/last.ckpt")
    run(monkeypatch, *tiny(corpus), one_step, folder=tmp_path / "exact")
    with pytest.raises(SingerVerifyError, match=r"callbacks.resume is missing"):
        run(monkeypatch, f"resume={tmp_path}/exact", *without("resume"))


def test_callbacks_are_changed_and_added(monkeypatch, tmp_path, corpus):
    timer = "+callbacks.timer._target_=pytorch_lightning.callbacks.Timer"
    run(monkeypatch, *tiny(corpus), "callbacks.last.every_n_steps=2", timer, "trainer.max_steps=2", folder=tmp_path)
    assert "Timer" in last_of(tmp_path)["callbacks"]
    with pytest.raises(Exception, match=r"callbacks.non_finite.on_nan=go_on: expected one of stop, warn"):
        run(monkeypatch, *tiny(corpus), "callbacks.non_finite.on_nan=go_on", folder=tmp_path / "refused")
