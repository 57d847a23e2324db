"""Small corpora that tests write and read, and a project with a package of its own."""

from collections.abc import Generator
from pathlib import Path

from singer_verify.environment import set_torch_environment

set_torch_environment()  # before torch is loaded

import numpy as np
import pytest
import soundfile
import torch
from support.audio import SAMPLE_RATE, MakeCorpus, sing
from support.plugin_project import SETTINGS, make_project, train

from singer_verify.runs import packaged_model

torch.set_num_threads(1)  # the networks of the tests are too small to share


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip tests that need CUDA where there is none."""
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu"):
                item.add_marker(pytest.mark.skip(reason="needs CUDA"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Escape what is no UTF-8 in the output a test captured: xdist's processes exchange text."""
    report = yield
    report.sections = [(name, text.encode("utf-8", "backslashreplace").decode()) for name, text in report.sections]
    return report


@pytest.fixture(autouse=True)
def models_folder(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the model that comes with the package: empty, so that tests do not depend on its real one."""
    folder = tmp_path_factory.getbasetemp() / "no_models"
    monkeypatch.setattr(packaged_model, "MODELS_FOLDER", folder)
    return folder


@pytest.fixture
def make_corpus(tmp_path: Path) -> MakeCorpus:
    """Writes `<tmp>/corpus/<split>/<singer>/<utterance>.flac` and returns the root."""

    def make(
        train: int = 3, val: int = 2, utterances: int = 3, seconds: float = 1.0, sample_rate: int = SAMPLE_RATE
    ) -> Path:
        root = tmp_path / "corpus"
        for split, num_singers in (("train", train), ("val", val)):
            for singer in range(num_singers):
                folder = root / split / f"{split}_singer{singer}"
                folder.mkdir(parents=True)
                for utterance in range(utterances):
                    samples = sing(100 * singer + utterance + (split == "val") * 5000, seconds, sample_rate)
                    soundfile.write(folder / f"song{utterance}.flac", samples, sample_rate)
        return root

    return make


@pytest.fixture
def make_ready_corpus(tmp_path: Path) -> MakeCorpus:
    """Writes a corpus of precomputed features with its `feat_params.yaml` and returns the root."""

    def make(train: int = 3, val: int = 2, utterances: int = 3, frames: int = 60, bins: int = 8) -> Path:
        root = tmp_path / "ready"
        generator = np.random.default_rng(0)
        for split, num_singers in (("train", train), ("val", val)):
            for singer in range(num_singers):
                folder = root / split / f"{split}_singer{singer}"
                folder.mkdir(parents=True)
                for utterance in range(utterances):
                    np.save(folder / f"song{utterance}.npy", generator.random((frames + utterance, bins)))
        (root / "feat_params.yaml").write_text(f"num_feats: {bins}\nsr: 16000\nhop_size: 160\ntype: mel\n")
        return root

    return make


@pytest.fixture(scope="session")
def plugin_project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project's folder with a package beside train.py, and a corpus that its reader prepared."""
    return make_project(tmp_path_factory.mktemp("plugins") / "project")


@pytest.fixture(scope="session")
def plugin_run(plugin_project: Path) -> Path:
    """A run of that project, trained once."""
    train(plugin_project, *SETTINGS, "name=first")
    return plugin_project / "runs/first"
