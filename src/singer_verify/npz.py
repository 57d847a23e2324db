"""Arrays in files that may be damaged, or made by anyone: read without executing anything."""

import tokenize
import zipfile
import zlib
from pathlib import Path

import numpy as np

# What reading a damaged file of arrays can end in.
ARRAY_READ_ERRORS = (
    zipfile.BadZipFile,
    zlib.error,
    OSError,
    EOFError,
    ValueError,
    TypeError,
    LookupError,
    AttributeError,
    RuntimeError,  # an entry that says of itself that it is encrypted
    MemoryError,  # a header of a huge shape
    SyntaxError,  # a header that is no literal, of which NumPy raises the next one too
    tokenize.TokenError,
)


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an `.npz`, all of which agree with their checksums; pickled objects are refused, never loaded.

    Raises:
        OSError, ValueError and the others of `DAMAGE`: the file cannot be read, is damaged, or is no `.npz`.
    """
    with zipfile.ZipFile(path) as entries:
        if (damaged := entries.testzip()) is not None:
            raise zipfile.BadZipFile(f"{damaged} does not agree with its checksum")
    with open(path, "rb") as file, np.load(file, allow_pickle=False) as stored:
        return {name: stored[name] for name in stored.files}
