"""How many singers it takes to see a difference: power of the paired bootstrap, by number of singers.

The observed singers stand for all singers: as many of them as a study would have are drawn with replacement, many
times. How far the difference of two systems scatters over the draws is both how far it scatters between studies of that
size, and how wide the percentile interval of each is. The power is the share of studies whose interval excludes zero on
the side of the true difference (Efron & Tibshirani 1993, section 25.5, on the power of a larger sample). At the
observed number of singers, the draws are those of the bootstrap itself.

From few singers the curve itself is uncertain, and the observed difference is only an estimate of the true one: ask for
an effect that would matter, too.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from singer_verify.evaluation.metrics.binned_counts import BinnedCounts, ScoreBins
from singer_verify.evaluation.metrics.bootstrap import sum_weighted_pairs

POWER_NUM_SINGERS = (10, 15, 20, 30, 45, 60, 90, 130, 200, 300, 450, 700, 1000)
TARGET_POWER = 0.8
NUM_STUDIES = 2000  # a power is known to a point or so
MAX_POWER_LEVELS = 150  # of target scores: rates are straight between them, and intervals are far wider
MAX_DRAWS = 2000  # weighted at a time


@dataclass(frozen=True)
class SingerPairCounts:
    """Trials of one system counted by pair of singers and score bin; resamples only weight the pairs.

    Attributes:
        bins: bins of the score axis.
        target_singers: (pairs,), singers that have target trials.
        targets: (pairs, bins), their target trials.
        left: (others,), one singer of each pair that has non-target trials.
        right: (others,), the other.
        nontargets: (others, bins), their non-target trials.
    """

    bins: ScoreBins
    target_singers: Int[np.ndarray, " pairs"]
    targets: Int[np.ndarray, "pairs bins"]
    left: Int[np.ndarray, " others"]
    right: Int[np.ndarray, " others"]
    nontargets: Int[np.ndarray, "others bins"]

    @classmethod
    def from_scores(
        cls,
        scores: Float[np.ndarray, " trials"],
        left_singers: Int[np.ndarray, " trials"],
        right_singers: Int[np.ndarray, " trials"],
        max_levels: int = MAX_POWER_LEVELS,
    ) -> "SingerPairCounts":
        """Count trials.

        Args:
            scores: scores of one system.
            left_singers: numbered from 0.
            right_singers: the same singer in a target trial.
            max_levels: number of score levels.
        """
        is_target = left_singers == right_singers
        bins = ScoreBins.from_target_scores(scores[is_target]).thin(max_levels)
        places = bins.digitize(scores)
        low, high = np.minimum(left_singers, right_singers), np.maximum(left_singers, right_singers)
        counted = []
        for kind in (is_target, ~is_target):
            pairs, index = np.unique(np.stack([low[kind], high[kind]], axis=1), axis=0, return_inverse=True)
            counts = np.bincount(index.ravel() * len(bins) + places[kind], minlength=len(pairs) * len(bins))
            counted += [pairs, counts.reshape(len(pairs), len(bins))]
        same, targets, others, nontargets = counted
        return cls(bins, same[:, 0], targets, others[:, 0], others[:, 1], nontargets)

    def compute_resampled_eers(self, draws: Int[np.ndarray, "draws singers"]) -> Float[np.ndarray, " draws"]:
        """Compute the equal error rate in each draw of singers; NaN where it leaves trials of one kind only."""
        eers = []
        for start in range(0, len(draws), MAX_DRAWS):
            weights = np.ascontiguousarray(draws[start : start + MAX_DRAWS].T)
            most = int(weights.max(initial=1))
            targets = sum_weighted_pairs(weights, self.target_singers, self.target_singers, self.targets, most)
            nontargets = sum_weighted_pairs(weights, self.left, self.right, self.nontargets, most)
            eers.append(BinnedCounts(self.bins.thresholds, targets, nontargets).curve.compute_eer()[0])
        return np.concatenate(eers)


@dataclass(frozen=True)
class PowerCurve:
    """Scatter of a difference between studies.

    Attributes:
        difference: the observed difference.
        num_singers: (sizes,), number of singers of the studies, rising.
        deviations: (sizes, studies), difference in each study minus their mean; NaN where a study has no rates.
    """

    difference: float
    num_singers: Int[np.ndarray, " sizes"]
    deviations: Float[np.ndarray, "sizes studies"]

    def compute_power(self, effect: float | None = None) -> Float[np.ndarray, " sizes"]:
        """Compute the share of studies whose 95 % interval lies on the right side of zero, by number of singers.

        Args:
            effect: size of the true difference; None is the observed one.
        """
        size = abs(self.difference if effect is None else effect)
        scatter = np.copysign(1.0, self.difference) * self.deviations
        lower_bounds = size + scatter + np.nanpercentile(scatter, 2.5, axis=1, keepdims=True)
        return np.asarray((lower_bounds > 0.0).sum(axis=1) / np.isfinite(scatter).sum(axis=1))

    def find_num_singers(self, effect: float | None = None, power: float = TARGET_POWER) -> int | None:
        """Find the number of singers from which on studies have this power, interpolated; None if none of the sizes do.

        Args:
            effect: size of the true difference; None is the observed one.
            power: share of studies that are to see it.
        """
        powers = self.compute_power(effect)
        below = np.flatnonzero(powers < power)
        if not len(below):
            return int(self.num_singers[0])
        last = int(below[-1])
        if last + 1 == len(powers):
            return None
        (low, high), sizes = powers[last : last + 2], self.num_singers[last : last + 2]
        return int(np.ceil(sizes[0] + (power - low) / (high - low) * (sizes[1] - sizes[0])))


def compute_power_curves(
    systems: Mapping[str, Sequence[SingerPairCounts]],
    comparisons: Sequence[tuple[str, str]],
    num_singers: Sequence[int] = POWER_NUM_SINGERS,
    num_studies: int = NUM_STUDIES,
    seed: int = 0,
) -> list[PowerCurve]:
    """Simulate studies of several sizes, in which all systems are compared on the same singers.

    Args:
        systems: trials of each system by name, of one or several models, whose error rates are averaged.
        comparisons: names of two systems; the difference is the error rate of the second minus that of the first.
        num_singers: numbers of singers of a study.
        num_studies: number of studies of each size.
        seed: seed of the draws.
    """
    observed = 1 + max(int(counts.target_singers.max()) for models in systems.values() for counts in models)
    names = sorted({name for pair in comparisons for name in pair})
    everyone = np.ones((1, observed), np.int64)
    observed_eers = {name: _average(systems[name], everyone)[0] for name in names}
    deviations: dict[tuple[str, str], list[np.ndarray]] = {pair: [] for pair in comparisons}
    for number, size in enumerate(num_singers):
        generator = np.random.default_rng([seed, number])
        draws = generator.multinomial(size, np.full(observed, 1.0 / observed), size=num_studies)
        eers = {name: _average(systems[name], draws) for name in names}
        for first, second in comparisons:
            differences = eers[second] - eers[first]
            deviations[first, second].append(differences - np.nanmean(differences))
    sizes = np.array(num_singers, np.int64)
    return [
        PowerCurve(float(observed_eers[second] - observed_eers[first]), sizes, np.stack(deviations[first, second]))
        for first, second in comparisons
    ]


def _average(
    models: Sequence[SingerPairCounts], draws: Int[np.ndarray, "draws singers"]
) -> Float[np.ndarray, " draws"]:
    return np.asarray(np.mean([counts.compute_resampled_eers(draws) for counts in models], axis=0))
