"""What is published: the source distribution, and the wheel that is built from it."""

import os
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
PROJECT_FOLDERS = ("conf", "example_dataset")
SOURCE_FOLDERS = (".ci", ".github", "conf", "docs", "example_dataset", "examples", "scripts", "src", "tests")
SOURCE_FILES = (
    *(".gitignore", ".pre-commit-config.yaml", "CHANGELOG.md", "CITATION.cff", "CONTRIBUTING.md", "LICENSE"),
    *("README.md", "constraints.txt", "mkdocs.yml", "pyproject.toml", "train.py"),
)
MAX_WHEEL_BYTES, MAX_SOURCE_BYTES = 14e6, 16e6


def list_files(root: Path, folders: Iterable[str]) -> set[str]:
    """Return the files of folders below a root, without what Python and tools leave there."""
    return {
        path.relative_to(root).as_posix()
        for folder in folders
        for path in (root / folder).rglob("*")
        if path.is_file() and path.suffix != ".pyc" and not any("cache" in part for part in path.parent.parts)
    }


@pytest.fixture(scope="module")
def sdist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build(ROOT, "sdist", tmp_path_factory.mktemp("sdist"))


@pytest.fixture(scope="module")
def wheel(sdist: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel that is built from the source distribution, where there is no repository."""
    folder = tmp_path_factory.mktemp("wheel")
    with tarfile.open(sdist) as tar:
        tar.extractall(folder, filter="data")
    return build(folder / sdist.name.removesuffix(".tar.gz"), "wheel", folder)


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the wheel is installed in; what it depends on is in this environment."""
    folder = tmp_path_factory.mktemp("installed")
    run_python("-m", "pip", "install", "-q", "--no-deps", "--no-index", "--target", str(folder), str(wheel))
    return folder


def build(root: Path, target: str, folder: Path) -> Path:
    run_python("-m", "hatchling", "build", "-t", target, "-d", str(folder), cwd=root)
    (built,) = (path for path in folder.iterdir() if path.is_file())
    return built


def run_python(*arguments: str, cwd: Path | None = None, **environment: str) -> str:
    environment = {**os.environ, **environment}
    command = [sys.executable, *arguments]
    result = subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def test_the_source_distribution_holds_the_repository_without_results(sdist: Path) -> None:
    with tarfile.open(sdist) as tar:
        names = {member.name.partition("/")[2] for member in tar.getmembers() if member.isfile()}
    expected = {name for name in list_files(ROOT, SOURCE_FOLDERS) if not name.startswith("docs/study/results/")}
    assert names == {*expected, *SOURCE_FILES, "PKG-INFO"}
    assert sdist.stat().st_size < MAX_SOURCE_BYTES


def test_the_wheel_holds_the_package_and_what_a_new_project_needs(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    metadata = {name for name in names if name.startswith("singer_verify-")}
    project = {"singer_verify/project/train.py"}
    project |= {f"singer_verify/project/{name}" for name in list_files(ROOT, PROJECT_FOLDERS)}
    assert names - metadata == list_files(ROOT / "src", ["singer_verify"]) | project
    assert {Path(name).name for name in metadata} == {"METADATA", "WHEEL", "RECORD", "entry_points.txt", "LICENSE"}
    assert wheel.stat().st_size < MAX_WHEEL_BYTES


def test_the_wheel_is_typed_and_has_the_model_with_its_card_and_scoring(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert "singer_verify/py.typed" in names
    models = {name.removesuffix(".pt") for name in names if name.startswith("singer_verify/models/") and ".pt" in name}
    assert models
    assert {f"{model}{suffix}" for model in models for suffix in (".md", ".scoring.npz")} <= names
    folders = {Path(name).parent.as_posix() for name in names if name.endswith(".jinja")}
    assert {"singer_verify/demo/templates", "singer_verify/reports", "singer_verify/reports/evaluation"} <= folders


def test_the_installed_wheel_begins_a_project_and_compares_recordings(installed: Path, tmp_path: Path) -> None:
    python_path = str(installed)
    where = run_python(
        "-c", "import singer_verify; print(singer_verify.__file__)", PYTHONPATH=python_path, cwd=tmp_path
    )
    assert Path(where.strip()).is_relative_to(installed)
    command = str(installed / "bin/singer-verify")
    run_python(command, "new", "study", PYTHONPATH=python_path, cwd=tmp_path)
    study = tmp_path / "study"
    assert {path.name for path in study.iterdir()} == {"train.py", *PROJECT_FOLDERS}
    assert list_files(study, PROJECT_FOLDERS) == list_files(ROOT, PROJECT_FOLDERS)
    one, other = sorted(study.glob("example_dataset/val/female7/*.flac"))[:2]
    embedded = run_python(command, "embed", str(one), str(other), "--out", "e.npz", PYTHONPATH=python_path, cwd=study)
    assert (study / "e.npz").is_file(), embedded
    settings = run_python("train.py", "--cfg", "job", PYTHONPATH=python_path, cwd=study)
    assert "singer_verify.encoders" in settings
