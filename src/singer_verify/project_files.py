"""The files that a training begins with, where this package was installed from: train.py, conf/, the example data."""

import shutil
from pathlib import Path

from singer_verify.errors import SingerVerifyError

WHEEL_PROJECT_FOLDER = Path(__file__).parent / "project"
PROJECT_FOLDER = WHEEL_PROJECT_FOLDER if WHEEL_PROJECT_FOLDER.is_dir() else Path(__file__).parents[2]  # of a checkout
PROJECT_FILE_NAMES = ("train.py", "conf", "example_dataset")


def copy_project_files(folder: Path) -> None:
    """Copy them into a folder, all or nothing.

    Args:
        folder: made where it is missing.

    Raises:
        SingerVerifyError: it holds one of them, is no folder, or cannot be written to.
    """
    if folder.exists() and not folder.is_dir():
        raise SingerVerifyError(f"{folder}: is a file; give a new folder.")
    if found := [name for name in PROJECT_FILE_NAMES if (folder / name).exists()]:
        raise SingerVerifyError(f"{folder}: holds {' and '.join(found)} already; give another folder.")
    part = folder / ".project.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(part, ignore_errors=True)
        for name in PROJECT_FILE_NAMES:
            source = PROJECT_FOLDER / name
            copy = shutil.copytree if source.is_dir() else shutil.copyfile
            part.mkdir(exist_ok=True)
            copy(source, part / name)  # type: ignore[operator]
        for name in PROJECT_FILE_NAMES:
            (part / name).rename(folder / name)
        part.rmdir()
    except OSError as error:
        shutil.rmtree(part, ignore_errors=True)
        raise SingerVerifyError(
            f"{folder}: cannot be written ({error.strerror or error}); give another folder, or free some space."
        ) from error
