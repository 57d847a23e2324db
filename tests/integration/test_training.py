"""A whole training, as `train.py` composes it, on a small corpus: what it leaves behind, and what it refuses."""

import json
import signal
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.errors import HydraException
from support import train_process as trainings
from support.audio import MakeCorpus
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from singer_verify.cli.console import format_user_error
from singer_verify.data.datamodule import SingerDataModule
from singer_verify.errors import SingerVerifyError
from singer_verify.features.mel import MelSpectrogram
from singer_verify.inference import load_model
from singer_verify.runs.checkpoints import read_checkpoint
from singer_verify.training.callbacks.embedding_projector import PROJECTOR_FOLDER
from singer_verify.worker_processes import TERMINATION_SIGNALS

SIX_STEPS = ("data.singers_per_batch=3", "trainer.max_steps=6")


def train(run: Path, corpus: Path, *overrides: str, pictures: bool = False) -> Path:
    return trainings.train(corpus, *SIX_STEPS, f"hydra.run.dir={run}", *overrides, pictures=pictures)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    import soundfile
    from support.audio import sing

    root = tmp_path_factory.mktemp("data") / "corpus"
    for split, singers in (("train", 4), ("val", 3)):
        for singer in range(singers):
            folder = root / split / f"{split}{singer}"
            folder.mkdir(parents=True)
            for utterance in range(3):
                soundfile.write(folder / f"{utterance}.flac", sing(singer * 10 + utterance + len(split) * 1000), 16_000)
    return root


@pytest.fixture(scope="module")
def run(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return train(tmp_path_factory.mktemp("runs") / "first", corpus, "loss=ge2e+ce", pictures=True)


def test_the_run_folder_holds_everything(run: Path) -> None:
    names = {path.relative_to(run).as_posix() for path in run.rglob("*") if path.is_file()}
    events = {name for name in names if "events.out.tfevents" in name}
    assert {Path(name).parent.as_posix() for name in events} == {"."}
    assert names - events == {
        "config.yaml",
        "overrides.yaml",
        "run.json",
        "metrics.json",
        "saved_model.pt",
        "train.log",
        "checkpoints/best.ckpt",
        "checkpoints/last.ckpt",
        f"{PROJECTOR_FOLDER}/projector_config.pbtxt",
        f"{PROJECTOR_FOLDER}/00000/default/tensors.tsv",
        f"{PROJECTOR_FOLDER}/00000/default/metadata.tsv",
    }
    config = yaml.safe_load((run / "config.yaml").read_text())
    assert config["from_data"]["num_bins"] == 40
    assert json.loads((run / "metrics.json").read_text())["num_train_singers"] == 4
    assert "loss=ge2e+ce" in yaml.safe_load((run / "overrides.yaml").read_text())
    record = json.loads((run / "run.json").read_text())
    assert record["packages"]["torch"] == torch.__version__


def test_metrics_tell_the_story(run: Path) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["untrained"]["step"] == 0
    assert metrics["steps"] == metrics["final"]["step"] == 6
    assert metrics["stopped"] == "step limit"
    assert {"val/eer", "val/threshold", "val/ge2e", "val/min_dcf_0.01", "val/min_dcf_0.05"} < set(metrics["best"])


def test_tensorboard_shows_what_matters(run: Path) -> None:
    events = EventAccumulator(str(run), size_guidance={"images": 0})
    events.Reload()
    tags = events.Tags()
    assert {
        *("train/loss", "train/ge2e", "train/ce", "train/ce/accuracy", "lr-Adam/pg1", "gradient_norm"),
        *("ge2e/scale", "ge2e/offset", "val/ge2e", "val/eer", "val/threshold", "val/min_dcf_0.01", "val/min_dcf_0.05"),
    } <= set(tags["scalars"])
    assert {"batch/frames", "val/similarity"} <= set(tags["images"])
    assert "config/text_summary" in tags["tensors"]
    assert sorted(event.step for event in events.Scalars("val/eer")) == [0, 2, 4, 6]


def test_best_checkpoint_is_the_best_validation(run: Path) -> None:
    """An earlier encoder saved the last model on early stopping, not the best."""
    metrics = json.loads((run / "metrics.json").read_text())
    assert read_checkpoint(run / "checkpoints/best.ckpt")["global_step"] == metrics["best"]["step"]
    assert torch.load(run / "saved_model.pt", weights_only=True)["step"] == metrics["best"]["step"]


@pytest.mark.parametrize("name", ["checkpoints/best.ckpt", "saved_model.pt"])
def test_a_model_saved_on_a_gpu_loads_without_one(run: Path, tmp_path: Path, name: str) -> None:
    """SEED's `-ul pred` crashes on such a machine, where tensors of a file belong to the device cuda:0."""
    path = tmp_path / Path(name).name
    with zipfile.ZipFile(run / name) as source, zipfile.ZipFile(path, "w") as target:
        for entry in source.namelist():
            content = source.read(entry)
            if entry.endswith("data.pkl"):
                assert b"X\x03\x00\x00\x00cpu" in content
                content = content.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
            target.writestr(entry, content)
    if not torch.cuda.is_available():
        with pytest.raises(RuntimeError, match="CUDA"):
            torch.load(path, weights_only=True)
    here, there = load_model(run / name), load_model(path)
    for weights, same in zip(here.encoder.parameters(), there.encoder.parameters(), strict=True):
        assert torch.equal(weights.cpu(), same.cpu())


def test_saved_model_has_the_earlier_names(run: Path) -> None:
    saved = torch.load(run / "saved_model.pt", weights_only=True)
    assert {"step", "model_state"} < set(saved)
    assert "optimizer_state" not in saved
    state = saved["model_state"]
    assert state["similarity_weight"].shape == state["similarity_bias"].shape == (1,)
    assert state["class_layer.weight"].shape == (4, 8)
    assert {name.split(".")[0] for name in state} == {
        "lstm",
        "linear",
        "similarity_weight",
        "similarity_bias",
        "class_layer",
    }


def test_a_checkpoint_alone_embeds_audio_as_validation_did(run: Path, corpus: Path, tmp_path: Path) -> None:
    alone = tmp_path / "moved.ckpt"
    alone.write_bytes((run / "checkpoints/best.ckpt").read_bytes())
    path = corpus / "val/val0/1.flac"
    embeddings = [load_model(model).embed(path) for model in (run, alone, run / "saved_model.pt")]
    assert np.linalg.norm(embeddings[0]) == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_array_equal(embeddings[0], embeddings[1])
    np.testing.assert_array_equal(embeddings[0], embeddings[2])


def test_training_repeats_itself_with_any_number_of_workers(run: Path, corpus: Path, tmp_path: Path) -> None:
    again = train(tmp_path / "again", corpus, "loss=ge2e+ce", "data.num_workers=2")
    one, other = (read_checkpoint(folder / "checkpoints/last.ckpt")["state_dict"] for folder in (run, again))
    for name, tensor in one.items():
        torch.testing.assert_close(other[name], tensor, atol=0, rtol=0)


@pytest.mark.parametrize(
    "overrides",
    [
        ["loss=ce", "data.utterances_per_singer=1"],
        ["loss.terms.ge2e.form=contrast", "encoder.pooling=attention", "encoder.bidirectional=true"],
        ["optimizer=sgd", "scheduler=plateau"],
        ["optimizer=adamw", "scheduler=warmup_cosine", "scheduler.warmup_steps=2", "features=mel80"],
        ["trainer.precision=bf16-mixed", "data.store_dtype=float32", "encoder.initialisation=orthogonal"],
        ["monitor=val/ge2e", "callbacks.early_stopping.patience=1", "trainer.max_steps=3"],
    ],
)
def test_settings_train(corpus: Path, tmp_path: Path, overrides: list[str]) -> None:
    run = train(tmp_path / "run", corpus, *overrides)
    metrics = json.loads((run / "metrics.json").read_text())
    assert metrics["final"]["step"] == metrics["steps"]  # the last step is validated, wherever the interval falls
    assert np.isfinite(list(metrics["best"].values())).all()


def test_the_seed_experiment_has_the_seed_numbers(corpus: Path, tmp_path: Path) -> None:
    with initialize_config_dir(str(trainings.PROJECT / "conf"), version_base="1.3"):
        config = compose("train", ["experiment=seed"])
    data, trainer = config.data, config.trainer
    assert (data.singers_per_batch, data.utterances_per_singer, data.num_frames) == (8, 10, 307)
    assert (config.optimizer._target_, config.optimizer.lr) == ("torch.optim.Adam", 1e-4)
    assert (trainer.val_check_interval, data.num_val_batches, trainer.max_steps) == (200, 10, 100_000)
    assert (config.callbacks.early_stopping.patience, config.monitor) == (25, "val/ge2e")
    assert (config.loss.terms.ge2e.lr_multiplier, trainer.gradient_clip_val) == (0.01, 3.0)


def test_scale_and_offset_learn_at_their_own_rate(corpus: Path, tmp_path: Path) -> None:
    verifier = trainings.build(corpus, "optimizer.lr=0.5", f"hydra.run.dir={tmp_path / 'run'}")
    groups = verifier.configure_optimizers()["optimizer"].param_groups
    assert [group["lr"] for group in groups] == [0.5, 0.005]


def test_more_validation_than_training_singers_is_no_problem(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    """Earlier encoders classified validation singers with the training singers' classifier, and failed here."""
    root = make_corpus(train=2, val=5, utterances=2)
    train(tmp_path / "run", root, "loss=ge2e+ce", "trainer.max_steps=2")


def test_ready_features_train_unchanged(make_ready_corpus: MakeCorpus, tmp_path: Path) -> None:
    root = make_ready_corpus()
    run = train(tmp_path / "run", root, "trainer.max_steps=2")
    embedder = load_model(run)
    assert embedder.embed(root / "val/val_singer0/song0.npy").shape == (8,)
    with pytest.raises(SingerVerifyError, match="trained on precomputed features"):
        embedder.feature(torch.zeros(16_000))


def refusal(run: Path, corpus: Path, *overrides: str) -> str:
    with pytest.raises((SingerVerifyError, HydraException)) as caught:
        train(run, corpus, *overrides)
    assert not (run / "run.json").exists()
    return format_user_error(caught.value)


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data.num_frames=0"], "data.num_frames=0: expected an integer of at least 1"),
        (["data.num_workers=-1"], "data.num_workers=-1: expected an integer of at least 0"),
        (["data.utterances_per_singer=1"], "data.utterances_per_singer=1: loss term ge2e compares utterances"),
        (["data.root=/no/such/folder"], "data.root=/no/such/folder: no such folder"),
        (["data.store_dtype=float8"], "data.store_dtype=float8: expected one of float16, float32"),
        (["trainer.max_steps=-1"], "trainer.max_steps=-1: expected an integer of at least 1"),
        (
            ["trainer.precision=7"],
            "trainer.precision=7: the weights are trained in single precision",
        ),
        (["optimizer.lr=-1"], "Invalid learning rate: -1"),
        (["scheduler=warmup_cosine"], "trainer.max_steps=6: the learning rate rises over the first 50 steps"),
    ],
)
def test_refuses_settings_before_the_run_begins(corpus: Path, tmp_path: Path, overrides: list[str], said: str) -> None:
    assert said in refusal(tmp_path / "run", corpus, *overrides)


def test_refuses_a_monitor_that_is_not_measured(corpus: Path, tmp_path: Path) -> None:
    with pytest.raises(SingerVerifyError, match=r"monitor=val/f1: is not measured; expected one of .*val/eer"):
        train(tmp_path / "run", corpus, "monitor=val/f1")


def test_a_training_leaves_no_signal_handler_which_would_keep_it_in_memory(corpus: Path, tmp_path: Path) -> None:
    before = {number: signal.getsignal(number) for number in TERMINATION_SIGNALS}
    train(tmp_path / "run", corpus, "trainer.max_steps=1")
    assert {number: signal.getsignal(number) for number in TERMINATION_SIGNALS} == before


def test_refuses_a_run_that_exists(run: Path, corpus: Path) -> None:
    with pytest.raises(SingerVerifyError, match=r"exists; continue it with resume=.*, choose another name="):
        train(run, corpus)


def test_refuses_one_singer(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    said = refusal(tmp_path / "run", make_corpus(train=1))
    assert "has only one singer, train_singer0; training needs at least 2" in said


@pytest.mark.parametrize(
    ("params", "said"),
    [
        (None, "feat_params.yaml: no such file; a corpus of .npy features needs it"),
        ("num_feats: 8\nsr: 16000\n", "feat_params.yaml: lacks hop_size"),
        ("num_feats: 9\nsr: 16000\nhop_size: 160\n", "has 8 bins; feat_params.yaml says num_feats: 9"),
        ("num_feats: x\nsr: 16000\nhop_size: 160\n", "num_feats=x: expected an integer"),
        ("{", "is not readable yaml"),
    ],
)
def test_refuses_ready_features_that_contradict_their_params(
    make_ready_corpus: MakeCorpus, tmp_path: Path, params: str | None, said: str
) -> None:
    root = make_ready_corpus()
    (root / "feat_params.yaml").unlink()
    if params is not None:
        (root / "feat_params.yaml").write_text(params)
    assert said in refusal(tmp_path / "run", root)


@pytest.mark.parametrize(
    ("array", "said"),
    [
        (np.full((20, 8), np.nan), "contains NaN or infinite values"),
        (np.ones((20, 9)), "has 9 bins; feat_params.yaml says num_feats: 8"),
        (np.ones(20), "has shape (20,); expected frames × bins"),
        (np.array([{"a": 1}] * 3, object), "is not a plain array of numbers"),
    ],
)
def test_ready_features_that_cannot_be_used_are_named(
    make_ready_corpus: MakeCorpus, tmp_path: Path, array: np.ndarray, said: str
) -> None:
    root = make_ready_corpus()
    for path in (root / "train/train_singer1").iterdir():
        np.save(path, array)
    data = SingerDataModule(str(root), MelSpectrogram(40), 20, 2, 2, 0, 2, str(tmp_path / "store"), "float16", 0, 1)
    with pytest.raises(SingerVerifyError, match="none of the utterances of train_singer1 can be used") as caught:
        data.prepare_data()
    assert said in str(caught.value)


def test_fewer_singers_than_asked_warns_once_and_shrinks(
    make_corpus: MakeCorpus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    data = SingerDataModule(
        str(make_corpus(train=3, val=8, utterances=2)),
        MelSpectrogram(40),
        20,
        8,
        2,
        0,
        2,
        str(tmp_path / "s"),
        "float16",
        0,
        1,
    )
    data.prepare_data()
    data.setup()
    assert caplog.text.count("3 singers, fewer than data.singers_per_batch=8; using batches of 3 singers") == 1
    assert data.train_sampler.singers_per_batch == 3


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (
            ["data.colour=red"],
            "Could not override 'data.colour'. There is no such setting; python train.py --help lists them.",
        ),
        (
            ["loss=triplet"],
            "loss=triplet: no such choice; expected one of aam, am, angular, ce, ",
        ),
        (["data.root=nowhere"], "data.root=nowhere: no such folder"),
    ],
)
def test_mistakes_end_in_one_sentence(tmp_path: Path, arguments: list[str], said: str) -> None:
    command = [sys.executable, str(trainings.PROJECT / "train.py"), f"hydra.run.dir={tmp_path / 'run'}", *arguments]
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert ended.returncode == 1
    last = ended.stderr.strip().splitlines()[-1]
    assert last.startswith("error: ")
    assert said in last
    assert "Traceback" not in ended.stderr
