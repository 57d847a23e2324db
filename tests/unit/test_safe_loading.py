"""Nothing that is read can run: files made to execute code are refused and do not; names cannot leave their folder."""

import json
import os
import pickle
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from support.audio import MakeCorpus
from support.train_process import PROJECT, compose_training

from singer_verify.corpora.corpus import read_corpus
from singer_verify.encoders.lstm import LSTMEncoder
from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.features.mel import MelSpectrogram
from singer_verify.features.precomputed import read_feat_params, read_precomputed_frames
from singer_verify.features.recipe import read_recipe
from singer_verify.inference import load_model
from singer_verify.runs.checkpoints import read_checkpoint
from singer_verify.runs.model_metadata import METADATA_KEY, ModelMetadata
from singer_verify.runs.tree import read_run_tree
from singer_verify.safe_loading import refuse_untrusted_targets
from singer_verify.store.extraction import load_or_compute_store
from singer_verify.store.packed import open_store, seal_manifest
from singer_verify.training.callbacks.checkpoints import AtomicCheckpointIO
from singer_verify.training.fine_tuning import ParentCheckpoint
from singer_verify.training.import_weights import read_external_weights


class Command:
    """Unpickled, it runs a shell command that leaves a file behind."""

    def __init__(self, trace: Path) -> None:
        self.trace = trace

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.trace}",)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "it_ran"


def make_checkpoint(path: Path, **changes: Any) -> Path:
    encoder = LSTMEncoder(40, 4, 1, 3)
    state = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    card = ModelMetadata(MelSpectrogram(40).recipe, encoder.settings, 160, ("a", "b")).to_dict()
    card |= changes.pop("card", {})
    torch.save({"state_dict": state, "global_step": 1, "optimizer_states": [], METADATA_KEY: card} | changes, path)
    return path


def test_the_trap_works(tmp_path: Path, trace: Path) -> None:
    """Without this, the tests below would prove nothing."""
    pickle.loads(pickle.dumps(Command(trace)))
    assert trace.exists()


@pytest.mark.parametrize("kind", ["checkpoint", "old checkpoint", "pickle", "npz", "npy"])
@pytest.mark.parametrize("reader", [read_checkpoint, read_external_weights, load_model, ParentCheckpoint.read])
def test_a_model_made_to_execute_code_is_refused_and_does_not(
    kind: str, reader: Any, tmp_path: Path, trace: Path
) -> None:
    path, trap = tmp_path / "model.ckpt", Command(trace)
    if kind == "checkpoint":
        make_checkpoint(path, callbacks=trap)
    elif kind == "old checkpoint":
        torch.save({METADATA_KEY: trap}, path, _use_new_zipfile_serialization=False)
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(trap, protocol=2))
    else:
        with open(path, "wb") as file:
            (np.savez if kind == "npz" else np.save)(file, np.array([trap], object))
    with pytest.raises(SingerVerifyError, match=r"holds more than plain tensors and values, and was not loaded"):
        reader(str(path) if reader == ParentCheckpoint.read else path)
    assert not trace.exists()


def test_lightning_reads_checkpoints_the_same_way(tmp_path: Path, trace: Path) -> None:
    path = make_checkpoint(tmp_path / "model.ckpt", callbacks=Command(trace))
    with pytest.raises(SingerVerifyError, match="was not loaded"):
        AtomicCheckpointIO().load_checkpoint(path, weights_only=False)
    assert not trace.exists()


@pytest.mark.parametrize("save", [np.save, np.savez])
def test_frames_made_to_execute_code_are_refused_and_do_not(save: Any, tmp_path: Path, trace: Path) -> None:
    with open(tmp_path / "frames.npy", "wb") as file:
        save(file, np.array([Command(trace)], object))
    with pytest.raises(SingerVerifyError, match="is not a plain array of numbers"):
        read_precomputed_frames(tmp_path / "frames.npy")
    assert not trace.exists()


def test_damaged_frames_are_equal_or_refused(tmp_path: Path) -> None:
    frames, path = np.random.default_rng(0).random((4, 4)), tmp_path / "frames.npy"
    np.save(path, frames)
    whole, num_data_bytes = path.read_bytes(), frames.nbytes
    for place in range(len(whole) - num_data_bytes):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        try:
            read = read_precomputed_frames(path)
        except UtteranceError:
            continue
        assert read.tobytes() == frames.tobytes()  # a byte that nobody reads
    path.write_bytes(whole.replace(b"(4, 4), }" + b" " * 13, b"(44444444444444, 4), }"))
    with pytest.raises(UtteranceError, match="is not a plain array of numbers"):
        read_precomputed_frames(path)


@pytest.mark.parametrize("reader", [read_feat_params, read_run_tree, read_recipe])
def test_yaml_made_to_execute_code_is_refused_and_does_not(reader: Any, tmp_path: Path, trace: Path) -> None:
    text = f"features: !!python/object/apply:os.system ['touch {trace}']\n"
    for name in ("feat_params.yaml", "config.yaml"):
        (tmp_path / name).write_text(text)
    (tmp_path / "run.json").write_text("{}")
    if reader is read_run_tree:
        assert [run.status for run in read_run_tree(tmp_path)] == ["unreadable"]
    else:
        with pytest.raises(SingerVerifyError, match="is not readable yaml"):
            reader(str(tmp_path / "config.yaml") if reader is read_recipe else tmp_path)
    assert not trace.exists()


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "singer_verify.features.mel.os.system",
        "singer_verify.features.mel.build_mel_filterbank",
        "builtins.eval",
    ],
)
@pytest.mark.parametrize("part", ["recipe", "encoder"])
def test_a_checkpoint_can_name_our_classes_only(target: str, part: str, tmp_path: Path) -> None:
    settings = {"_target_": target, "command": f"touch {tmp_path}/it_ran"}
    with pytest.raises(SingerVerifyError, match=r"not created by singer_verify|cannot be rebuilt"):
        load_model(make_checkpoint(tmp_path / "model.ckpt", card={part: settings}))
    assert not (tmp_path / "it_ran").exists()


@pytest.mark.parametrize(
    "target",
    [
        "os.system",
        "builtins.exec",
        "subprocess.Popen",
        "singer_verify.cli.os.system",
        "singer_verify.runs.folder.subprocess.run",
        "singer_verify.runs.folder.write_json",
        "torch.load",
        "torch.hub.load",
        "torch.optim.adam.torch.load",
        "pytorch_lightning.cli.LightningCLI",
        "pytorch_lightning.callbacks.lambda_function.Callable",
        "singer_verify.nothing",
        "",
    ],
)
def test_a_loaded_configuration_can_name_ours_and_the_libraries_only(target: str) -> None:
    config = {"trainer": {"callbacks": [{"deep": {"_target_": target, "_args_": ["touch it_ran"]}}]}}
    with pytest.raises(SingerVerifyError, match="a run's configuration may name classes of singer_verify"):
        refuse_untrusted_targets(config)


@pytest.mark.parametrize(
    "path", sorted((PROJECT / "conf").rglob("*.yaml")), ids=lambda path: f"{path.parent.name}/{path.stem}"
)
def test_our_own_configurations_may_be_loaded(path: Path) -> None:
    refuse_untrusted_targets(yaml.safe_load(path.read_text()))


def test_the_composed_configuration_may_be_loaded() -> None:
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        config = compose("train", ["loss=ge2e+ce", "scheduler=warmup_cosine"])
    refuse_untrusted_targets(OmegaConf.to_container(config))


def write_sealed(folder: Path, index: str) -> None:
    """An index whose checksums agree, as someone would write it on purpose."""
    manifest = json.loads((folder / "store.json").read_text())
    settings = {name: value for name, value in manifest.items() if not name.endswith("sha256")}
    (folder / "index.csv").write_text(index)
    (folder / "store.json").write_text(json.dumps(seal_manifest(settings, index.encode())))


def test_a_store_cannot_name_files_outside_its_corpus(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    corpus = read_corpus(make_corpus(utterances=1))
    load_or_compute_store(corpus, "train", MelSpectrogram(40), tmp_path / "store")
    folder = next(path.parent for path in (tmp_path / "store").rglob("index.csv"))
    index = (folder / "index.csv").read_text()
    for stray in ("../../secret.flac", "/etc/passwd", "train/../../x", "train/.."):
        write_sealed(folder, index.replace("train/train_singer1/song0.flac", stray))
        with pytest.raises(SingerVerifyError, match="lists files outside the corpus"):
            open_store(folder)
    write_sealed(folder, index.replace("song0", "a..b"))
    assert len(open_store(folder).singers) == 3


@pytest.mark.parametrize("dtype", ["object", "O", "V8"])
def test_a_store_holds_numbers_only(dtype: str, make_corpus: MakeCorpus, tmp_path: Path) -> None:
    load_or_compute_store(read_corpus(make_corpus(utterances=1)), "train", MelSpectrogram(40), tmp_path / "store")
    manifest = next((tmp_path / "store").rglob("store.json"))
    manifest.write_text(json.dumps(json.loads(manifest.read_text()) | {"dtype": dtype}))
    with pytest.raises(SingerVerifyError):
        open_store(manifest.parent)


@pytest.mark.parametrize("split", ["../other", "/etc", "val/..", "..", "."])
def test_a_split_is_a_folder_of_its_corpus(split: str, make_corpus: MakeCorpus) -> None:
    with pytest.raises(SingerVerifyError, match="expected the name of a folder in"):
        read_corpus(make_corpus(), splits=(split,), required=(split,))


def test_a_checkpoints_archive_cannot_write_outside(tmp_path: Path) -> None:
    """A checkpoint is a zip archive; one with a name that leads out of it is refused."""
    path = make_checkpoint(tmp_path / "folder.ckpt")
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../escaped", "x")
    before = set(tmp_path.parent.rglob("*"))
    with pytest.raises(SingerVerifyError, match="is damaged"):
        read_checkpoint(path)
    assert set(tmp_path.parent.rglob("*")) == before


def test_a_typed_folder_wins(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    """Whoever types hydra.run.dir= decides; the rule is for names."""
    with compose_training(make_corpus(), f"hydra.run.dir={tmp_path}/anywhere") as (_, run):
        assert run == tmp_path / "anywhere"
