"""What a leaderboard says: the figures of each cell of a sweep, and of the trials they were all judged on."""

from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float

from singer_verify.evaluation.comparison import Estimate
from singer_verify.evaluation.conditions import FEWEST_TRIALS


@dataclass(frozen=True)
class Condition:
    """A named subset of the trials, and how many of either kind it has."""

    name: str
    num_targets: int
    num_nontargets: int

    @property
    def has_enough(self) -> bool:
        return min(self.num_targets, self.num_nontargets) >= FEWEST_TRIALS


@dataclass(frozen=True)
class Standing:
    """One cell's line of the leaderboard; rates are means over its seeds.

    Attributes:
        name: what was typed for it and not for all others.
        varied: the same, setting by setting.
        seeds: of its runs.
        eer: equal error rate.
        min_dcf_01: minimum detection cost at a target prior of 0.01.
        min_dcf_05: the same at 0.05.
        eer_of_seeds: for each run.
        miss: at the leaderboard's false-alarm rates.
        eer_of_conditions: by the condition's name, where it has enough trials.
        num_parameters: of the encoder.
        num_bins: of its frames.
        seconds: of training, mean of those runs that were not interrupted; None if all were.
        difference: of its EER from the baseline's; None for the baseline, and where there is none.
        p: two-sided, of that difference.
        p_holm: the same, corrected for the number of comparisons.
    """

    name: str
    varied: tuple[str, ...]
    seeds: tuple[int, ...]
    eer: Estimate
    min_dcf_01: Estimate
    min_dcf_05: Estimate
    eer_of_seeds: tuple[float, ...]
    miss: Float[np.ndarray, " points"]
    eer_of_conditions: dict[str, Estimate]
    num_parameters: int
    num_bins: int
    seconds: float | None
    difference: Estimate | None = None
    p: float | None = None
    p_holm: float | None = None


@dataclass(frozen=True)
class Leaderboard:
    """All cells of a sweep, the lowest EER first.

    Attributes:
        standings: of the cells.
        baseline: name of the cell that the others are compared with; None where there is only one.
        split: that they were judged on.
        num_singers: of that split.
        num_utterances: of that split.
        num_targets: trials of one singer.
        num_nontargets: trials of two.
        num_resamples: of the bootstrap.
        conditions: of the trials, from the corpus' labels.
        false_alarms: at which each standing's `miss` is taken.
        left_out: runs that are not compared: path and status.
    """

    standings: tuple[Standing, ...]
    baseline: str | None
    split: str
    num_singers: int
    num_utterances: int
    num_targets: int
    num_nontargets: int
    num_resamples: int
    conditions: tuple[Condition, ...]
    false_alarms: Float[np.ndarray, " points"]
    left_out: dict[str, str] = field(default_factory=dict)
