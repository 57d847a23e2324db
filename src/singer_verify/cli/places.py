"""Where a command may write, checked before it does the work."""

from pathlib import Path


def require_file_place(option: str, path: Path, suffix: str) -> None:
    """
    Raises:
        SingerVerifyError: the name has another suffix, is that of a folder, or lies in none.
    """
    from singer_verify.errors import SingerVerifyError
    from singer_verify.whole_files import require_place

    if path.suffix != suffix:
        raise SingerVerifyError(f"{option} {path}: expected a file name that ends in {suffix}.")
    require_place(path, option)
