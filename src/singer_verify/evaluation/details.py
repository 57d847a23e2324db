"""The last pass over all trials: the range of scores, the worst trials, the singers taken for one another."""

from collections.abc import Iterable

from singer_verify.evaluation.confusions import NUM_WORST, ScoreCounts, SingerPairs, WorstTrials
from singer_verify.evaluation.counting import ALL, TrialCounts
from singer_verify.evaluation.decisions import DecisionSums
from singer_verify.evaluation.tally import equal_error_rates
from singer_verify.evaluation.trial_blocks import TrialBlock, TrialSource

MOST_SHOWN = 2000  # more singers than that are not compared one by one


class Details:
    """What the last pass over the trials finds, when the threshold and the range of scores are known.

    Args:
        source: of the trials.
        counts: of the same trials.
        decisions: at thresholds that were known before, to be summed.
        singers: their numbers, passed on one by one.
    """

    def __init__(
        self, source: TrialSource, counts: TrialCounts, decisions: DecisionSums, singers: Iterable[int]
    ) -> None:
        _, thresholds = equal_error_rates(counts.of_conditions[ALL].tally, counts.cells.thresholds)
        num_singers = len(counts.draws.unit_of)
        self.scores = ScoreCounts(counts.lowest, counts.highest)
        self.misses, self.false_alarms = WorstTrials(NUM_WORST, -1), WorstTrials(NUM_WORST, 1)
        self.pairs = SingerPairs(source, float(thresholds[0]), num_singers) if num_singers <= MOST_SHOWN else None
        for singer in singers:
            for is_target in (True, False):
                for block in source.blocks(singer, is_target):
                    decisions.add(block, source.singer_index)
                    self._add(block)

    def _add(self, block: TrialBlock) -> None:
        self.scores.add(block)
        (self.misses if block.is_target else self.false_alarms).add(block)
        if self.pairs is not None:
            self.pairs.add(block)
