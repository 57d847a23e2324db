"""The files every project starts from (train.py, conf/, the example dataset), as installed with the package."""

import shutil
from pathlib import Path

from singer_verify.errors import SingerVerifyError

WHEEL_PROJECT_FOLDER = Path(__file__).parent / "project"
# The installed package's own copy, or the root of a checkout.
PROJECT_FOLDER = WHEEL_PROJECT_FOLDER if WHEEL_PROJECT_FOLDER.is_dir() else Path(__file__).parents[2]
PROJECT_FILE_NAMES = ("train.py", "conf", "example_dataset")


def copy_project_files(folder: Path) -> None:
    """Copy train.py, conf/ and the example dataset into a folder, all or none.

    Args:
        folder: target folder, created if missing.

    Raises:
        SingerVerifyError: the folder already holds one of them, is a file, or cannot be written to.
    """
    if folder.exists() and not folder.is_dir():
        raise SingerVerifyError(f"{folder}: is a file; expected a folder, give another path.")
    if existing := [name for name in PROJECT_FILE_NAMES if (folder / name).exists()]:
        raise SingerVerifyError(f"{folder}: already contains {' and '.join(existing)}; give another folder.")
    partial = folder / ".project.part"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(partial, ignore_errors=True)
        for name in PROJECT_FILE_NAMES:
            source = PROJECT_FOLDER / name
            copy = shutil.copytree if source.is_dir() else shutil.copyfile
            partial.mkdir(exist_ok=True)
            copy(source, partial / name)  # type: ignore[operator]
        for name in PROJECT_FILE_NAMES:
            (partial / name).rename(folder / name)
        partial.rmdir()
    except OSError as error:
        shutil.rmtree(partial, ignore_errors=True)
        raise SingerVerifyError(
            f"{folder}: cannot be written ({error.strerror or error}); free some space or give another folder."
        ) from error
