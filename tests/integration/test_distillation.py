"""A student learns a teacher's embeddings of unlabelled voices; afterwards its run is an ordinary one."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
import yaml
from hydra.errors import InstantiationException
from support.audio import SAMPLE_RATE, sing_phrases
from support.cli import call
from support.resuming import unlike
from support.tiny_run import CONF, TINY, At, Killed, kill, last_of, run
from support.untrained_model import make_run

from singer_verify.audio.content import compute_content
from singer_verify.data.voice_changes import VoiceChanges
from singer_verify.errors import SingerVerifyError
from singer_verify.features.mel import MelSpectrogram
from singer_verify.features.precomputed import PrecomputedFeature
from singer_verify.inference.model import load_model
from singer_verify.runs.checkpoints import Checkpoint
from singer_verify.runs.folder import LAST_CHECKPOINT
from singer_verify.training.distillation import DistillationDataModule, TeacherEmbeddings

SHORT = ("data.changes.num_changes=1", "data.changes.excerpt_s=0.5", "data.min_frames=10", "data.num_frames=20")

SMALL_ENCODER = ("encoder.hidden_size=6", "encoder.num_layers=1", "encoder.dropout=0")
QUICK = (
    *("data.singers_per_batch=2", "data.utterances_per_singer=2", "data.num_val_batches=1", "trainer.accelerator=cpu"),
    *("data.num_extraction_workers=0", "trainer.max_steps=2", "~callbacks.pictures", "~callbacks.progress_bar"),
)


def write(path: Path, singer: int, take: int, seconds: float = 1.2, sample_rate: int = SAMPLE_RATE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, sing_phrases(singer, take, seconds, sample_rate), sample_rate)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with unlabelled voices at several depths, labelled singers, and a teacher."""
    place = tmp_path_factory.mktemp("distillation")
    write(place / "voices/alone.wav", 1, 1)
    write(place / "voices/b/one.flac", 2, 1, sample_rate=44_100)
    write(place / "voices/b/two.wav", 2, 2)
    write(place / "voices/c/d/deep.wav", 3, 1)
    soundfile.write(place / "voices/c/silent.wav", np.zeros(SAMPLE_RATE), SAMPLE_RATE)
    (place / "voices/notes.txt").write_text("not a voice")
    for singer in range(3):
        for take in range(2):
            write(place / f"corpus/val/s{singer}/{take}.wav", 10 + singer, take)
            write(place / f"corpus/train/t{singer}/{take}.wav", 20 + singer, take)
    make_run(place / "teacher")
    return place


def distil(place: Path, **changes: Any) -> list[str]:
    settings = {"teacher": place / "teacher", "data.root": place / "voices", "data.val_root": place / "corpus"}
    typed = [f"{name}={value}" for name, value in (settings | changes).items()]
    sizes = [override for override in TINY if not override.startswith("data.num_frames")]
    store = f"data.store_root={place / 'store'}"
    return ["experiment=distil", *sizes, *SHORT, "scheduler.warmup_steps=2", "~callbacks.pictures", store, *typed]


@pytest.fixture(scope="module")
def student(place: Path) -> Path:
    quick = ("trainer.max_steps=60", "encoder.embedding_size=8", "optimizer.lr=0.01", "encoder.dropout=0")
    return run(None, *distil(place), *quick, "trainer.log_every_n_steps=1", folder=place / "student")


def build_data(place: Path, **settings: Any) -> DistillationDataModule:
    shipped = yaml.safe_load((CONF / "data/voices.yaml").read_text())["changes"]
    changes = {"samples": shipped["samples"], "num_changes": 1, "excerpt_s": 0.5}
    given = {"root": str(place / "voices"), "teacher": str(place / "teacher"), "val_root": str(place / "corpus")}
    sizes = {"num_frames": 20, "store_root": str(place / "store"), "num_extraction_workers": 0}
    return DistillationDataModule(**{"feature": MelSpectrogram(40), "changes": changes} | given | sizes | settings)


def test_targets_are_the_teachers_embeddings_of_the_excerpts(place: Path) -> None:
    data = build_data(place)
    data.prepare_data()
    data.setup()
    store, teacher = data.stores["train"], load_model(place / "teacher")
    assert len(store.singers) == len(store.paths) == len(data.targets) == 16  # of four recordings, in whole batches
    assert (store.num_frames == 50).all()
    samples = torch.from_numpy(soundfile.read(place / "voices/alone.wav", dtype="float32")[0])
    changes = VoiceChanges(**data.changed_voices.changes.settings)
    excerpts = torch.cat(list(changes.iterate_excerpts(samples, SAMPLE_RATE)))
    mine = np.flatnonzero(store.paths == str(place / "voices/alone.wav"))
    expected = teacher.embed(excerpts)
    torch.testing.assert_close(data.targets[mine], expected[: len(mine)], atol=1e-3, rtol=0)
    frames = MelSpectrogram(40)(excerpts[1])[:50]
    np.testing.assert_allclose(store.get_utterance_frames(int(mine[1])), frames, atol=1e-3)


def test_teacher_and_student_may_have_other_rates(place: Path, tmp_path: Path) -> None:
    """Voices are changed at the higher rate; the recordings may have any."""
    make_run(tmp_path / "teacher", MelSpectrogram(40, sample_rate=32_000))
    data = build_data(place, teacher=str(tmp_path / "teacher"), store_root=str(tmp_path / "store"))
    data.prepare_data()
    data.setup()
    assert data.changed_voices.sample_rate == data.teacher_embeddings.sample_rate == 32_000
    assert len(data.stores["train"].paths) == len(data.targets) == 16
    assert data.targets.isfinite().all()


def test_the_student_learns(student: Path, place: Path) -> None:
    """Nearer to the teacher, on voices that neither has heard, than an untrained network of its size."""
    path = place / "corpus/val/s0/0.wav"
    distilled, teacher = load_model(student / LAST_CHECKPOINT), load_model(place / "teacher")
    assert distilled.embed(path) @ teacher.embed(path) > 0.9
    metrics = json.loads((student / "metrics.json").read_text())
    assert metrics["steps"] == 60
    assert metrics["num_val_singers"] == 3
    assert set(metrics["best"]) >= {"val/eer", "val/ge2e"}


def test_the_checkpoint_records_voices_and_not_excerpts(student: Path, place: Path) -> None:
    checkpoint = Checkpoint.read(student)
    assert checkpoint.metadata.train_singers == ("b", "c", "c/d")
    seen = checkpoint.metadata.collect_training_singers()
    assert seen is not None
    assert compute_content(place / "voices/alone.wav") in seen.recordings  # whoever is evaluated with it is told
    assert len(checkpoint.metadata.recordings["train"]) == 4
    assert not [name for name in last_of(student)["state_dict"] if "loss" in name]
    corpus = checkpoint.settings["corpus"]
    assert corpus["train"].startswith("4 voices, 5 recordings, 20 excerpts, ")
    assert corpus["teacher"]


@pytest.mark.slow
def test_a_distilled_run_is_used_like_any_other(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a teacher that was trained, to a student that is evaluated, exported, continued and fine-tuned."""
    monkeypatch.chdir(tmp_path)
    store, corpus = f"data.store_root={place / 'store'}", place / "corpus"
    labelled = (*QUICK, f"data.root={corpus}", "data.num_frames=20", store)
    teacher = run(None, *labelled, *SMALL_ENCODER, "encoder.embedding_size=12", "name=teacher")
    student = run(None, *distil(place, teacher=teacher), "trainer.max_steps=3", folder=tmp_path / "student")
    assert last_of(student)["global_step"] == 3

    # The teacher is needed to train, and not to use the student.
    teacher = teacher.rename(tmp_path / "moved teacher")
    model = load_model(student)
    assert model.embedding_size == 4
    evaluation = json.loads(call("evaluate", student, corpus, "--json"))
    assert 0 <= evaluation["metrics"]["eer"]["value"] <= 1
    call("calibrate", student, corpus)
    assert json.loads(call("evaluate", student, corpus, "--json"))["metrics"] != evaluation["metrics"]
    call("embed", student, corpus / "val/s0/0.wav", "--out", tmp_path / "embeddings.npz")
    with np.load(tmp_path / "embeddings.npz", allow_pickle=False) as embedded:
        np.testing.assert_allclose(embedded["embeddings"][0], model.embed(corpus / "val/s0/0.wav"), atol=1e-5)
    exported = json.loads(call("export", student, "--onnx", tmp_path / "student.onnx", "--json"))
    assert exported["largest_deviation"] < 1e-4
    card = (tmp_path / "student.card.md").read_text()
    for part in (
        "| teacher | teacher, ",
        "| training | 4 voices, ",
        "| batch | 4 excerpts × ",
        "a teacher's embeddings of",
    ):
        assert part in card

    # A student goes on, with its teacher where that is now, and with no other.
    with pytest.raises(InstantiationException, match=r"teacher=.*teacher: no such"):
        run(None, f"resume={student}", "trainer.max_steps=4")
    with pytest.raises(SingerVerifyError, match=r"(?s)cannot change while a training continues.*corpus\.teacher "):
        run(None, f"resume={student}", "trainer.max_steps=4", f"teacher={place / 'teacher'}")
    run(None, f"resume={student}", "trainer.max_steps=4", f"teacher={teacher}")
    assert last_of(student)["global_step"] == 4

    # Its weights begin a training with labels, which takes its recipe, encoder and statistics.
    child = run(None, *labelled, f"init_from={student}", "loss=ge2e", "name=child")
    assert json.loads((child / "run.json").read_text())["parent"]["taken"] == ["encoder"]
    after, before = Checkpoint.read(child).metadata, Checkpoint.read(student).metadata
    assert (after.recipe, after.encoder) == (before.recipe, before.encoder)
    assert after.train_singers == ("t0", "t1", "t2")
    assert set(after.pretraining_singers) == {"b", "c", "c/d"}
    child = run(
        None, *labelled, "experiment=finetune", "scheduler.warmup_steps=1", f"init_from={student}", "name=tuned"
    )
    assert last_of(child)["global_step"] == 2


def test_a_stopped_distillation_continues_exactly(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = run(monkeypatch, *distil(place), folder=tmp_path / "whole")
    stopped = tmp_path / "stopped"
    with pytest.raises(Killed):
        run(monkeypatch, *distil(place), folder=stopped, callbacks=(At("on_train_batch_end", 6, kill),))
    run(monkeypatch, f"resume={stopped}")
    assert unlike(whole, stopped) == []


def test_an_interrupted_computation_continues(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[int] = []
    compute = TeacherEmbeddings.__call__

    def count(self: TeacherEmbeddings, samples: torch.Tensor) -> torch.Tensor:
        calls.append(len(samples))
        if len(calls) == 3:
            raise Killed
        return compute(self, samples)

    monkeypatch.setattr(TeacherEmbeddings, "__call__", count)
    with pytest.raises(Killed):
        build_data(place, store_root=str(tmp_path / "store")).prepare_data()
    build_data(place, store_root=str(tmp_path / "store")).prepare_data()
    assert len(calls) == 3 + 2  # two recordings were done; a silent one is refused before it is heard
    stores = [path for path in (tmp_path / "store").glob("voices-train-*") if path.is_dir()]
    assert len(stores) == 2
    build_data(place, store_root=str(tmp_path / "store")).prepare_data()
    assert len(calls) == 5


def test_another_teacher_shares_the_frames_and_other_changes_share_nothing(place: Path, tmp_path: Path) -> None:
    make_run(tmp_path / "other", seed=1)

    def count_stores(**settings: Any) -> int:
        data = build_data(place, store_root=str(tmp_path / "store"), **settings)
        data.prepare_data()
        return sum(path.is_dir() for path in (tmp_path / "store").glob("voices-train-*"))

    assert count_stores() == 2
    assert count_stores(teacher=str(tmp_path / "other")) == 3
    assert count_stores(feature=MelSpectrogram(20)) == 4
    assert count_stores(changes=build_data(place).changed_voices.changes.settings | {"seed": 5}) == 6


def write_precomputed_teacher(folder: Path) -> Path:
    feature = PrecomputedFeature({"num_feats": 40, "sr": SAMPLE_RATE, "hop_size": 160})
    return make_run(folder, feature)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("teacher=null", r"teacher=null: expected a run folder"),
        ("teacher={place}/voices", r"teacher=.*voices: has no checkpoints/best\.ckpt"),
        ("teacher={place}/voices/alone.wav", r"teacher=.*alone\.wav: is damaged, or holds more"),
        ("teacher={place}/ready", r"teacher=.*ready: cannot hear changed voices: its frames are precomputed"),
        ("data.root=null", r"data\.root=null: expected one folder"),
        ("data.root=[{place}/voices,{place}/corpus]", r"data\.root=.*: expected text or null"),
        ("data.root={place}/nowhere", r"data\.root=.*nowhere: no such folder"),
        ("data.root={place}/teacher", r"data\.root=.*teacher: holds no audio"),
        ("data.root={place}/corpus/val", r"the same recording in both splits"),
        ("data.val_root={place}/voices", r"has no folder val"),
        ("data.num_frames=51", r"data\.num_frames=51: an excerpt of data\.changes\.excerpt_s=0\.5 has 50 frames"),
        ("data.min_frames=21", r"data\.min_frames=21: expected at most 20"),
        ("data.on_the_fly=true", r"on the fly|on_the_fly"),
        ("data.max_minutes=3", r"data\.max_minutes=3: who sings in unlabelled voices is not known"),
        ("data.changes.num_changes=-1", r"num_changes=-1"),
        ("data.changes.excerpt_s=long", r"data\.changes\.excerpt_s=long: expected a number"),
        ("+data.changes.pitch=3", r"data\.changes\.pitch=3: VoiceChanges has no such setting"),
        ("data.singers_per_batch=many", r"data\.singers_per_batch=many: expected an integer"),
        ("data.changes.samples.pitch.p=2", r"pitch\.p=2"),
        ("+data.foo=3", r"data\.foo=3: DistillationDataModule has no such setting"),
    ],
)
def test_refuses(override: str, message: str, place: Path, tmp_path: Path) -> None:
    if "ready" in override and not (place / "ready").exists():
        write_precomputed_teacher(place / "ready")
    with pytest.raises((SingerVerifyError, InstantiationException), match=message):  # Hydra wraps the constructor's
        run(None, *distil(place), override.format(place=place), folder=tmp_path / "run")
    assert not (tmp_path / "run/checkpoints").exists()


def test_refuses_a_loss_that_needs_a_teacher(place: Path, tmp_path: Path) -> None:
    with pytest.raises(InstantiationException, match=r"loss\.terms\.cosine: learns a teacher's"):
        run(None, *TINY, f"data.root={place / 'corpus'}", "loss=distillation", folder=tmp_path / "run")
