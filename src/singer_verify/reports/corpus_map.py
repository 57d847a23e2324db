"""A map of the recordings of a split, as files: a picture, and the places with the labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float

from singer_verify.errors import SingerVerifyError, require_at_least, require_one_of
from singer_verify.evaluation.judgement import JudgedUtterances
from singer_verify.reports.embedding_map import (
    METHOD_NAMES,
    METHODS,
    chosen_utterances,
    embedding_map,
    require_installed,
)
from singer_verify.reports.map_figure import MOST_PANELS, labels_to_colour, map_figure, values_of
from singer_verify.reports.picture_files import picture_files
from singer_verify.whole_files import write_files


@dataclass(frozen=True)
class CorpusMap:
    """Where each utterance lies.

    Attributes:
        paths: (utterances,), relative to the corpus root.
        places: of the utterances.
        labels: those drawn, for each its value for every utterance.
        title: of the picture.
    """

    paths: np.ndarray
    places: Float[np.ndarray, "utterances 2"]
    labels: dict[str, np.ndarray]
    title: str

    def table(self) -> pd.DataFrame:
        """A row per utterance: its path, x, y, and its labels."""
        places = {"x": self.places[:, 0], "y": self.places[:, 1]}
        return pd.DataFrame({"utterance": self.paths, **places, **self.labels})

    def records(self) -> list[dict[str, Any]]:
        """The rows of the table as plain values."""
        return [{str(name): value for name, value in row.items()} for row in self.table().to_dict("records")]


def check_choices(out: Path, method: str, seed: int) -> None:
    """
    Raises:
        SingerVerifyError: a file name that is not a PNG's, an unknown method or one that is not installed, a negative
            seed.
    """
    if out.suffix != ".png":
        raise SingerVerifyError(f"--out {out}: expected a file name that ends in .png.")
    require_one_of(METHODS, **{"--method": method})
    require_at_least(0, **{"--seed": seed})
    require_installed(method)


def label_names(by: str, known: Sequence[str]) -> list[str]:
    """The labels in a text of names separated by commas.

    Raises:
        SingerVerifyError: none or too many of them, or one that is not known.
    """
    names = list(dict.fromkeys(name.strip() for name in by.split(",") if name.strip()))
    if strange := [name for name in names if name not in known]:
        raise SingerVerifyError(f"--by {strange[0]}: the corpus has no such label; it has {', '.join(known)}.")
    if not 1 <= len(names) <= MOST_PANELS:
        raise SingerVerifyError(f"--by {by}: {len(names)} labels; expected one to {MOST_PANELS}.")
    return names


def draw_map(utterances: JudgedUtterances, by: list[str] | None, method: str, seed: int, title: str) -> CorpusMap:
    """Find the utterances' places; of very many utterances, those of a draw.

    Args:
        utterances: with their embeddings.
        by: labels to colour by, or `singer`; None takes those worth it.
        method: of `embedding_map.METHODS`.
        seed: of the method and of the draw.
        title: of the picture.

    Raises:
        SingerVerifyError: too few utterances, or a method that is not installed.
    """
    known = values_of(utterances)
    labels = labels_to_colour(utterances) if by is None else {name: known[name] for name in by}
    chosen = chosen_utterances(len(utterances.paths), seed)
    places = embedding_map(utterances.embeddings[chosen], method, seed)
    drawn = {name: values[chosen] for name, values in labels.items()}
    title = f"{title}: {METHOD_NAMES[method]} of {len(chosen)} utterances"
    return CorpusMap(utterances.paths[chosen], places, drawn, title)


def write_map(drawn: CorpusMap, out: Path) -> None:
    """Write the picture as png and svg, and the places as csv beside it.

    Raises:
        SingerVerifyError: the folder cannot be written to.
    """
    pictures = picture_files(map_figure(drawn.places, drawn.labels, drawn.title))
    table = str(drawn.table().to_csv(index=False, lineterminator="\n")).encode("utf-8", "surrogateescape")
    write_files({f"{out.stem}.{suffix}": file for suffix, file in {**pictures, "csv": table}.items()}, out.parent)
