"""The singer that a file's name tells, where it tells one.

The folder is the singer, whatever a name says; a name that says otherwise is worth a report. Names are compared by
whole words: `male10_scales` does not tell of `male1`.
"""

import re
from collections.abc import Collection
from pathlib import PurePosixPath

VOCALSET_CODE_PATTERN = re.compile(r"([fm])(\d+)(?![^\W_])")  # f4_scales_straight, m10_row_vibrato
VOCALSET_SINGER_PATTERN = re.compile(r"(?:fe)?male\d+")
WORD_END_PATTERN = re.compile(r"(?<=[^\W_])(?![^\W_])")


def parse_vocalset_singer(stem: str) -> str | None:
    """`male9` of `m9_caro_vibrato`; None of a name that begins with no such code."""
    code = VOCALSET_CODE_PATTERN.match(stem)
    return f"{'fe' * (code[1] == 'f')}male{code[2]}" if code else None


def find_contradicting_singer(path: str, singer: str, singers: Collection[str]) -> str | None:
    """Whom a file's name tells, if not the singer in whose folder it lies.

    It tells a singer by beginning with the singer's name, or, in the folder of `male8` or `female1`, with a code of
    VocalSet: `m9`.

    Args:
        path: of the file, with forward slashes.
        singer: its folder.
        singers: all there are, a set for many files; names without a letter are passed over, as a take's number may
            look like them.
    """
    stem = PurePosixPath(path).stem
    if VOCALSET_SINGER_PATTERN.fullmatch(singer) and (told := parse_vocalset_singer(stem)):
        return told if told != singer else None
    beginnings = [stem[: end.start()] for end in WORD_END_PATTERN.finditer(stem)]
    told_names = [name for name in beginnings if name in singers and any(map(str.isalpha, name))]
    return told_names[-1] if told_names and singer not in told_names else None
