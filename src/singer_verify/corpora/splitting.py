"""Which singers train a model, and which judge it."""

import math
from pathlib import Path

import numpy as np
import pandas as pd

from singer_verify.corpora.folder import SPLITS
from singer_verify.errors import SingerVerifyError

LEAST_SINGERS = 2  # of a split: one singer has no impostor


def draw_splits(gender_of: dict[str, str], val: float, test: float, seed: int = 0) -> dict[str, str]:
    """Deal singers out to train, val and test at random, so that each split has the whole's mix of genders.

    Args:
        gender_of: each singer's gender, `""` where unknown.
        val: singers of the validation split: their share of all if below 1, else their number.
        test: the same of the test split; 0 makes none.
        seed: of the draw: same singers and seed, same splits.

    Raises:
        SingerVerifyError: a split with fewer than two singers.
    """
    num_singers = len(gender_of)
    sizes = {"val": _size("--val", val, num_singers), "test": _size("--test", test, num_singers)}
    sizes["train"] = num_singers - sizes["val"] - sizes["test"]
    if small := [name for name, size in sizes.items() if size < LEAST_SINGERS and (size or name != "test")]:
        raise SingerVerifyError(
            f"--val {val:g} --test {test:g} of {num_singers} singers leave {sizes[small[0]]} for {small[0]}; expected "
            f"at least {LEAST_SINGERS} in each."
        )
    generator = np.random.default_rng(seed)
    left = {
        gender: generator.permutation(sorted(name for name in gender_of if gender_of[name] == gender)).tolist()
        for gender in sorted(set(gender_of.values()))
    }
    split_of: dict[str, str] = {}
    for split in ("test", "val"):
        for gender, share in _shares(sizes[split], {gender: len(names) for gender, names in left.items()}).items():
            split_of |= dict.fromkeys(left[gender][:share], split)
            left[gender] = left[gender][share:]
    return {singer: split_of.get(singer, "train") for singer in sorted(gender_of)}


def read_splits(path: Path, singers: set[str]) -> dict[str, str]:
    """The split of each singer, from a table with the columns `singer` and `split`.

    Raises:
        SingerVerifyError: no such table, an unknown split, or singers that are not those of the corpus.
    """
    try:
        table = pd.read_csv(path, dtype=str, keep_default_na=False, skipinitialspace=True, encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise SingerVerifyError(f"--splits {path}: cannot be read as a table ({error}).") from error
    if missing := [name for name in ("singer", "split") if name not in table.columns]:
        raise SingerVerifyError(f"--splits {path}: has no column {missing[0]}; expected singer,split.")
    if unknown := sorted(set(table["split"]) - set(SPLITS)):
        raise SingerVerifyError(f"--splits {path}: split {unknown[0]}: expected one of {', '.join(SPLITS)}.")
    if repeated := table["singer"][table["singer"].duplicated()].tolist():
        raise SingerVerifyError(f"--splits {path}: names {repeated[0]} twice; leave one line per singer.")
    named = set(table["singer"])
    if named != singers:
        strays, left_out = (", ".join(sorted(each)) or "none" for each in (named - singers, singers - named))
        raise SingerVerifyError(
            f"--splits {path}: singers that are not in the corpus: {strays}; singers of the corpus that it does not "
            f"name: {left_out}; expected one line for each singer."
        )
    return dict(zip(table["singer"], table["split"], strict=True))


def _size(option: str, value: float, num_singers: int) -> int:
    if not math.isfinite(value) or value < 0 or (value >= 1 and value != round(value)):
        raise SingerVerifyError(f"{option} {value:g}: expected a share below 1, or a number of singers.")
    return round(value * num_singers) if value < 1 else int(value)


def _shares(size: int, counts: dict[str, int]) -> dict[str, int]:
    """Parts of `size` in proportion to the counts; what rounding leaves goes to the largest remainders."""
    total = sum(counts.values())
    exact = {name: size * count / total for name, count in counts.items()}
    shares = {name: int(value) for name, value in exact.items()}
    by_remainder = sorted(counts, key=lambda name: (shares[name] - exact[name], name))
    for name in by_remainder[: size - sum(shares.values())]:
        shares[name] += 1
    return shares
