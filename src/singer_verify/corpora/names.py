"""Names of singers and files: compared in one spelling of their letters, and kept out of tables that cannot hold them.

Unicode spells an accented letter as one character (NFC) or as a letter and an accent (NFD). The two look the same, and
a copy to another file system may change one into the other. So names are compared in NFC, while paths stay as they are
on disk.
"""

import os
import unicodedata
from pathlib import Path

from singer_verify.errors import SingerVerifyError

LINE_BREAKING_CATEGORIES = ("Cc", "Zl", "Zp")  # control characters, among them tabs; separators of lines, paragraphs


def normalise_name(name: str) -> str:
    """Compose accented letters, as a singer's name and for comparison."""
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def require_table_name(path: str, where: str | Path) -> None:
    """Refuse a path that tables, lists and logs cannot hold.

    Args:
        path: path of an utterance below a folder.
        where: that folder, for the message.

    Raises:
        SingerVerifyError: the path contains a line break, a tab or another control character.
    """
    if path.isprintable():
        return
    if any(unicodedata.category(character) in LINE_BREAKING_CATEGORIES for character in path):
        raise SingerVerifyError(
            f"{where}: the name {path!r} contains a line break, a tab or another control character, which tables and "
            f"lists of trials cannot hold; rename the file or folder."
        )


def find_typed_path(path: Path) -> Path:
    """Return the path on disk that a typed path means: itself if it exists, otherwise one that is spelled the same.

    A file that is yet to be written is placed in such a folder. Where nothing fits, or several paths do, the path is
    returned as typed.
    """
    if str(path).isascii() or os.path.lexists(path):
        return path
    found = Path(path.anchor)
    parts = path.parts[1:] if path.anchor else path.parts
    for number, part in enumerate(parts, 1):
        if not os.path.lexists(found / part):
            try:
                names = [name for name in os.listdir(found) if normalise_name(name) == normalise_name(part)]
            except OSError:
                return path
            if len(names) > 1 or (not names and number < len(parts)):
                return path
            found /= (names or [part])[0]
        else:
            found /= part
    return found
