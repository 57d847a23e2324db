"""Table of singers with the mean embedding of each, as a file."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from singer_verify.evaluation.averaging import average_embeddings


@dataclass(frozen=True)
class SingerTable:
    """One singer per row.

    Attributes:
        singers: sorted names.
        splits: (singers,), split of each singer's recordings.
        num_utterances: (singers,), number of averaged recordings.
        embeddings: (singers, embedding), means of unit rows, brought to unit length.
    """

    singers: tuple[str, ...]
    splits: tuple[str, ...]
    num_utterances: Int[np.ndarray, " singers"]
    embeddings: Float[np.ndarray, "singers embedding"]


def build_singer_table(utterances: Iterable[tuple[str, str, Float[np.ndarray, " embedding"]]]) -> SingerTable:
    """Average the embeddings of each singer.

    Args:
        utterances: singer, split and embedding of each.
    """
    rows: dict[str, list[np.ndarray]] = {}
    split_of: dict[str, str] = {}
    for singer, split, embedding in utterances:
        rows.setdefault(singer, []).append(embedding)
        split_of[singer] = split
    singers = tuple(sorted(rows))
    means = np.stack([average_embeddings(np.stack(rows[singer])) for singer in singers])
    counts = np.array([len(rows[singer]) for singer in singers])
    return SingerTable(singers, tuple(split_of[singer] for singer in singers), counts, means)


def format_singer_table_npz(table: SingerTable, fingerprint: str) -> bytes:
    """Format as an `.npz` of the fields of `SingerTable` and the `fingerprint` of the model."""
    buffer = io.BytesIO()
    strings = {name: np.array(getattr(table, name), dtype=np.str_) for name in ("singers", "splits")}
    np.savez(
        buffer,
        singers=strings["singers"],
        splits=strings["splits"],
        num_utterances=table.num_utterances,
        embeddings=table.embeddings,
        fingerprint=fingerprint,
    )
    return buffer.getvalue()


def format_singer_table_csv(table: SingerTable) -> bytes:
    """Format as lines of a `.csv`: singer, split, num_utterances, e0, e1, ..."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    size = table.embeddings.shape[1]
    writer.writerow(["singer", "split", "num_utterances", *(f"e{place}" for place in range(size))])
    for singer, split, count, row in zip(
        table.singers, table.splits, table.num_utterances.tolist(), table.embeddings, strict=True
    ):
        writer.writerow([singer, split, count, *(f"{value:.8g}" for value in row.tolist())])
    return text.getvalue().encode("utf-8", "surrogateescape")
