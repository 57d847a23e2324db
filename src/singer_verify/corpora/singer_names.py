"""Singers mentioned in file names.

The folder decides who the singer is; a file name that contradicts it is reported. Names are compared word by word:
`male10_scales` does not mention `male1`.
"""

import re
from collections.abc import Collection
from pathlib import PurePosixPath

VOCALSET_CODE_PATTERN = re.compile(r"([fm])(\d+)(?![^\W_])")  # f4_scales_straight, m10_row_vibrato
VOCALSET_SINGER_PATTERN = re.compile(r"(?:fe)?male\d+")
WORD_END_PATTERN = re.compile(r"(?<=[^\W_])(?![^\W_])")


def parse_vocalset_singer(stem: str) -> str | None:
    """Return the singer encoded in a VocalSet file name, for example `male9` for `m9_caro_vibrato`, or None."""
    code = VOCALSET_CODE_PATTERN.match(stem)
    return f"{'fe' * (code[1] == 'f')}male{code[2]}" if code else None


def find_contradicting_singer(path: str, singer: str, singers: Collection[str]) -> str | None:
    """Return the singer that a file name mentions if it is not the singer of its folder, otherwise None.

    A name mentions a singer if it starts with the singer's name, or, in folders such as `male8` or `female1`, with a
    VocalSet code such as `m9`.

    Args:
        path: of the file, with forward slashes.
        singer: name of its folder.
        singers: names of all singers (a set is fastest); those without a letter are ignored because take numbers look
            like them.
    """
    stem = PurePosixPath(path).stem
    if VOCALSET_SINGER_PATTERN.fullmatch(singer) and (named_singer := parse_vocalset_singer(stem)):
        return named_singer if named_singer != singer else None
    prefixes = [stem[: end.start()] for end in WORD_END_PATTERN.finditer(stem)]
    named_singers = [name for name in prefixes if name in singers and any(map(str.isalpha, name))]
    return named_singers[-1] if named_singers and singer not in named_singers else None
