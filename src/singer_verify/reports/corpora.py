"""What a prepared corpus holds, as a table for the console."""

import pandas as pd
from rich.table import Table

from singer_verify.corpora.folder import SPLITS
from singer_verify.corpora.labels import KEY, NOT_LABELS

SECONDS_PER_HOUR = 3600


def corpus_table(utterances: pd.DataFrame, title: str) -> Table:
    """A row per split, and what labels there are.

    Args:
        utterances: the columns of `corpus.csv`.
        title: of the table.
    """
    table = Table(title=title, caption=_labels(utterances))
    for name in ("split", "singers", "by gender", "utterances", "hours", "sample rates (Hz)"):
        table.add_column(name, justify="left" if name in ("split", "by gender") else "right")
    for split in [name for name in SPLITS if (utterances["split"] == name).any()]:
        part = utterances[utterances["split"] == split]
        hours = part["seconds"].astype(float).sum() / SECONDS_PER_HOUR
        rates = ", ".join(str(rate) for rate in sorted(part["sample_rate"].unique()))
        table.add_row(split, str(part["singer"].nunique()), _genders(part), str(len(part)), f"{hours:.2f}", rates)
    return table


def _genders(part: pd.DataFrame) -> str:
    if "gender" not in part:
        return "unknown"
    genders = part.groupby("singer")["gender"].first()
    return ", ".join(f"{count} {name or 'unknown'}" for name, count in sorted(genders.value_counts().items()))


def _labels(utterances: pd.DataFrame) -> str:
    names = [str(name) for name in utterances.columns if name not in (KEY, *NOT_LABELS)]
    counts = [f"{name} ({utterances[name].replace('', pd.NA).nunique()})" for name in names]
    return f"labels, and how many values: {', '.join(counts) or 'none'}"
