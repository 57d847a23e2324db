"""The folder of a run, before and after there is a run in it."""

from pathlib import Path

import pytest

from singer_verify.runs.folder import HYDRA_FOLDER, remove_unused_folder


@pytest.mark.parametrize("written", [[], ["run.json"], ["train.log"]])
def test_a_refused_training_leaves_no_folder_unless_something_was_written(written: list[str], tmp_path: Path) -> None:
    run = tmp_path / "runs" / "refused"
    (run / HYDRA_FOLDER).mkdir(parents=True)
    for name in [f"{HYDRA_FOLDER}/config.yaml", *written]:
        (run / name).touch()
    remove_unused_folder(run)
    assert run.exists() == bool(written)
    assert run.parent.exists()
    remove_unused_folder(tmp_path / "absent")
