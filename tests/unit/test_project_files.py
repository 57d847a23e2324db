"""A project begun in an empty folder has what the README's first training needs."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from singer_verify.cli import app
from singer_verify.errors import SingerVerifyError
from singer_verify.project_files import PROJECT_FILE_NAMES, PROJECT_FOLDER, copy_project_files


def files_of(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for name in PROJECT_FILE_NAMES
        for path in ([folder / name] if (folder / name).is_file() else sorted((folder / name).rglob("*")))
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_a_new_project_holds_what_is_shipped(tmp_path: Path) -> None:
    made = CliRunner().invoke(app, ["new", str(tmp_path / "study")])
    assert made.exit_code == 0
    assert "python train.py" in made.stdout
    assert files_of(tmp_path / "study") == files_of(PROJECT_FOLDER)
    assert sorted(path.name for path in (tmp_path / "study").iterdir()) == sorted(PROJECT_FILE_NAMES)


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text("mine")
    with pytest.raises(SingerVerifyError, match=r"already contains train\.py; give another folder"):
        copy_project_files(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["train.py"]
    with pytest.raises(SingerVerifyError, match="cannot be written"):
        copy_project_files(tmp_path / "train.py" / "below")
