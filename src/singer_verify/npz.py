"""Safe reading of .npz files that may be damaged or come from anyone: nothing in them is ever executed."""

import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

# Everything that reading a damaged array file can raise.
ARRAY_READ_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RuntimeError,  # an entry marked as encrypted
    MemoryError,  # a header that declares a huge shape
    SyntaxError,  # a header that is not a Python literal; NumPy may raise TokenError instead
    tokenize.TokenError,
)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read all arrays of an .npz file after verifying its checksums; pickled objects are refused.

    Args:
        path: the .npz file.

    Returns:
        The arrays by name.

    Raises:
        OSError, ValueError, ...: any of `ARRAY_READ_ERRORS` if the file is unreadable, damaged or not an .npz file.
    """
    with zipfile.ZipFile(path) as entries:
        if (damaged := entries.testzip()) is not None:
            raise zipfile.BadZipFile(f"{damaged} does not match its checksum")
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
