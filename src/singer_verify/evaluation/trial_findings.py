"""What was found wrong with a list of trials, in numbers or in words."""

from collections.abc import Iterable
from itertools import islice

import numpy as np

from singer_verify.evaluation.trial_checks import Diagnosis

NUM_EXAMPLES = 3


def counts(diagnosis: Diagnosis) -> dict[str, int]:
    """How many there are of each fault. A trial counts for one fault: those left out add up."""
    return {
        "num_listed": len(diagnosis.is_target),
        "num_left_out": int(diagnosis.is_left_out.sum()),
        "num_with_missing_files": int(diagnosis.is_missing.sum()),
        "num_self_pairs": int(diagnosis.is_self_pair.sum()),
        "num_duplicates": int(diagnosis.is_duplicate.sum()),
        "num_contradicting_labels": int(diagnosis.is_contradicting.sum()),
        "num_missing_files": len(diagnosis.missing),
        "num_missing_files_elsewhere": diagnosis.num_elsewhere,
        "num_misnamed_files": len(diagnosis.misnamed),
    }


def examples(diagnosis: Diagnosis) -> dict[str, list[str]]:
    """The first few files or trials of each fault by name."""
    listed = np.where(diagnosis.is_target, "nontarget", "target")  # the opposite, of contradicting labels
    return {
        "missing_files": list(diagnosis.missing[:NUM_EXAMPLES]),
        "self_pairs": [diagnosis.left[trial] for trial in _first(diagnosis.is_self_pair)],
        "duplicates": [_pair(diagnosis, trial) for trial in _first(diagnosis.is_duplicate)],
        "contradicting_labels": [
            f"{_pair(diagnosis, trial)} listed as {listed[trial]}" for trial in _first(diagnosis.is_contradicting)
        ],
        "misnamed_files": [
            f"{path} named after {singer}" for path, singer in islice(diagnosis.misnamed.items(), NUM_EXAMPLES)
        ],
    }


def sentences(diagnosis: Diagnosis) -> list[str]:
    """What was found and what is done about it: a sentence for each fault there is, none for a list without any."""
    found, named = counts(diagnosis), examples(diagnosis)
    elsewhere = f", {diagnosis.num_elsewhere} of them in another split" if diagnosis.num_elsewhere else ""
    openings = {
        "missing_files": f"Trials of files that are not among the utterances of {diagnosis.root}, left out: "
        f"{found['num_with_missing_files']}; such files{elsewhere}",
        "self_pairs": "Trials of a recording against itself, left out",
        "duplicates": "Trials that repeat an earlier one in either order, left out",
        "contradicting_labels": "Trials whose label contradicts the folders, where the folders decide",
        "misnamed_files": "Files named after another singer than their folder, where the folder decides",
    }
    return [
        f"{opening}: {number} ({'; '.join(named[fault])}{'; …' if number > NUM_EXAMPLES else ''})."
        for fault, opening in openings.items()
        if (number := found[f"num_{fault}"])
    ]


def _first(is_chosen: np.ndarray) -> Iterable[int]:
    return (int(trial) for trial in np.flatnonzero(is_chosen)[:NUM_EXAMPLES])


def _pair(diagnosis: Diagnosis, trial: int) -> str:
    return f"{diagnosis.left[trial]} – {diagnosis.right[trial]}"
