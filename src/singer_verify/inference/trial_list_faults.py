"""What is wrong with a list of trials, in words: a sentence for each kind of fault, with examples."""

from itertools import islice

import numpy as np

from singer_verify.evaluation.trials.validation import TrialListValidation, count_faults

NUM_FAULT_EXAMPLES = 3


def collect_fault_examples(validation: TrialListValidation) -> dict[str, list[str]]:
    """Name the first few files or trials of each fault."""
    listed = np.where(validation.is_target, "nontarget", "target")  # contradicting labels say the opposite
    return {
        "missing_files": list(validation.missing[:NUM_FAULT_EXAMPLES]),
        "self_pairs": [validation.left[trial] for trial in _take_first(validation.is_self_pair)],
        "duplicates": [_format_pair(validation, trial) for trial in _take_first(validation.is_duplicate)],
        "contradicting_labels": [
            f"{_format_pair(validation, trial)} listed as {listed[trial]}"
            for trial in _take_first(validation.is_contradicting)
        ],
        "misnamed_files": [
            f"{path} named after {singer}" for path, singer in islice(validation.misnamed.items(), NUM_FAULT_EXAMPLES)
        ],
    }


def format_fault_messages(validation: TrialListValidation) -> list[str]:
    """Say what was found and what is done about it: a sentence for each fault, none for a list without any."""
    counts, examples = count_faults(validation), collect_fault_examples(validation)
    elsewhere = f", {validation.num_elsewhere} of them in another split" if validation.num_elsewhere else ""
    openings = {
        "missing_files": f"Trials of files that are not among the utterances of {validation.root}, left out: "
        f"{counts['num_with_missing_files']}; such files{elsewhere}",
        "self_pairs": "Trials of a recording against itself, left out",
        "duplicates": "Trials that repeat an earlier one in either order, left out",
        "contradicting_labels": "Trials whose label contradicts the folders, where the folders decide",
        "misnamed_files": "Files named after another singer than their folder, where the folder decides",
    }
    return [
        f"{opening}: {number} ({'; '.join(examples[fault])}{'; …' if number > NUM_FAULT_EXAMPLES else ''})."
        for fault, opening in openings.items()
        if (number := counts[f"num_{fault}"])
    ]


def _take_first(is_chosen: np.ndarray) -> list[int]:
    return np.flatnonzero(is_chosen)[:NUM_FAULT_EXAMPLES].tolist()


def _format_pair(validation: TrialListValidation, trial: int) -> str:
    return f"{validation.left[trial]} – {validation.right[trial]}"
