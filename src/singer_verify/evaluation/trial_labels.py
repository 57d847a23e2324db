"""The labels of a list of trials: what is known of the two recordings of each."""

import pandas as pd

from singer_verify.evaluation.trial_list import TrialList

SIDES = ("left", "right")


def labelled(trials: TrialList, known: pd.DataFrame) -> TrialList:
    """The list with `left_<label>` and `right_<label>` for each label; labels that it had besides stay.

    Args:
        trials: of paths that are all in the table.
        known: a column of strings for each label, indexed by path.
    """
    columns = {
        f"{side}_{label}": known[label].to_numpy(object)[known.index.get_indexer(pd.Index(paths))]
        for label in known.columns
        for side, paths in zip(SIDES, (trials.left, trials.right), strict=True)
    }
    table = pd.DataFrame(columns)
    if trials.labels is not None:
        own = [name for name in trials.labels.columns if name not in columns]
        table = table.join(trials.labels[own].reset_index(drop=True))
    return TrialList(trials.left, trials.right, trials.is_target, table)
