"""Parts of a package outside singer_verify: a corpus is read, a model trained, a recording embedded."""

import json
from pathlib import Path

import numpy as np
import pytest
from support.plugin_project import REFUSAL, SINGERS, execute, last_of

from singer_verify.runs.checkpoints import read_checkpoint
from singer_verify.runs.model_metadata import METADATA_KEY


def test_a_reader_prepares_a_corpus(plugin_project: Path) -> None:
    singers = {path.name for split in ("train", "val") for path in (plugin_project / "corpus" / split).iterdir()}
    assert singers == {f"x_{name}" for name in SINGERS}


def test_a_checkpoint_names_the_packages(plugin_run: Path) -> None:
    metadata = read_checkpoint(plugin_run / "checkpoints/best.ckpt")[METADATA_KEY]
    assert metadata["packages"] == ["singer_plugin"]
    assert metadata["recipe"]["_target_"] == "singer_plugin.features.LogBands"
    assert metadata["encoder"]["channels"] == [8, 8]
    assert "aam" in json.dumps(sorted(last_of(plugin_run)))


@pytest.mark.slow
def test_embed_loads_it_if_trusted(plugin_project: Path, plugin_run: Path) -> None:
    command = ("-m", "singer_verify.cli", "embed", "runs/first", "downloads/ann__0.flac", "--out", "embeddings.npz")
    refused = execute(plugin_project, *command)
    assert REFUSAL in " ".join(refused.stderr.split())
    assert "--trust singer_plugin" in " ".join(refused.stderr.split())
    done = execute(plugin_project, *command, "--trust", "singer_plugin")
    assert done.returncode == 0, done.stderr
    rows = np.load(plugin_project / "embeddings.npz")["embeddings"]
    assert rows.shape == (1, 6)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1.0, atol=1e-5)
