"""From embeddings to a leaderboard: every cell on the same trials and the same resamples of singers."""

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int
from rich.console import Console
from rich.progress import track

from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.comparison import Estimate, holm, percentile_estimate, two_sided_p
from singer_verify.evaluation.conditions import Conditions, Descriptions
from singer_verify.evaluation.det import false_alarm_grid, miss_at
from singer_verify.evaluation.intervals import draw_singers, trials_between
from singer_verify.evaluation.resampling import resampled_rates
from singer_verify.evaluation.trials import Trials, all_pairs, cosine_scores
from singer_verify.reports.leaderboard import Condition, Leaderboard, Standing
from singer_verify.reports.leaderboard_embeddings import SplitEmbeddings
from singer_verify.runs.cells import Cell

CONDITION_RESAMPLES = 500  # intervals of the conditions need no p values, so fewer do


@dataclass(frozen=True)
class SharedTrials:
    """What all cells are judged on.

    Attributes:
        trials: all pairs of utterances.
        left_singers: (trials,).
        right_singers: (trials,).
        draws: how often each singer counts; the first row is every singer once.
        conditions: named subsets of the trials.
        num_utterances: of the split.
    """

    trials: Trials
    left_singers: Int[np.ndarray, " trials"]
    right_singers: Int[np.ndarray, " trials"]
    draws: Int[np.ndarray, "draws singers"]
    conditions: dict[str, Bool[np.ndarray, " trials"]]
    num_utterances: int

    def sizes(self) -> tuple[Condition, ...]:
        """The conditions, with how many trials of either kind each has."""
        is_target = self.trials.is_target
        return tuple(
            Condition(name, int((chosen & is_target).sum()), int((chosen & ~is_target).sum()))
            for name, chosen in self.conditions.items()
        )


def shared_trials(singers: np.ndarray, labels: dict[str, np.ndarray], num_resamples: int) -> SharedTrials:
    """All pairs of a split's utterances, their conditions, and the draws of the bootstrap.

    Args:
        singers: (utterances,), names.
        labels: for each label its value for every utterance, empty where unknown.
        num_resamples: of the bootstrap.

    Raises:
        SingerVerifyError: fewer than two singers, or no singer with two utterances.
    """
    names, singer_index = np.unique(singers, return_inverse=True)
    trials = all_pairs(singer_index)
    left, right = singer_index[trials.left], singer_index[trials.right]
    drawn = draw_singers(trials_between(left, right, len(names)), num_resamples)
    draws = np.vstack([np.ones((1, len(names)), np.int64), drawn])
    conditions = dict(Conditions(Descriptions(labels)).of(trials.left, trials.right))
    return SharedTrials(trials, left, right, draws, conditions, len(singers))


def require_same_trials(embeddings: dict[str, SplitEmbeddings]) -> None:
    """
    Args:
        embeddings: by the path of the run.

    Raises:
        SingerVerifyError: two runs have other utterances or other singers, and which.
    """
    (first, wanted), *others = embeddings.items()
    singer_of = dict(zip(wanted.paths.tolist(), wanted.singers.tolist(), strict=True))
    for path, found in others:
        theirs = dict(zip(found.paths.tolist(), found.singers.tolist(), strict=True))
        if theirs == singer_of:
            continue
        missing, extra = sorted(singer_of.keys() - theirs.keys()), sorted(theirs.keys() - singer_of.keys())
        sung = sorted(each for each in singer_of.keys() & theirs.keys() if singer_of[each] != theirs[each])
        raise SingerVerifyError(
            f"{path} cannot be compared with {first}, for their trials differ: it {_some('lacks', missing)}, "
            f"{_some('adds', extra)}, and {_some('has another singer for', sung)}; expected the same utterances by the "
            f"same singers; leave one of the runs out, or judge all on one corpus with --corpus."
        )


def _some(verb: str, paths: list[str]) -> str:
    shown = f" ({', '.join(paths[:3])}{', ...' if len(paths) > 3 else ''})" if paths else ""
    return f"{verb} {len(paths)} utterances{shown}"


def compare(
    cells: list[Cell], embeddings: dict[str, SplitEmbeddings], shared: SharedTrials, baseline: Cell | None, split: str
) -> Leaderboard:
    """Rates of every cell with intervals over singers, and their differences from the baseline's.

    Args:
        cells: of the sweep.
        embeddings: by the path of the run, of the same utterances in the same order.
        shared: the trials.
        baseline: one of the cells.
        split: that was embedded.
    """
    false_alarms = false_alarm_grid()
    standings, resampled = [], {}
    for cell in track(cells, "Resampling singers", console=Console(stderr=True), transient=True):
        runs = [embeddings[str(run.path)] for run in cell.runs]
        standing, resampled[cell.name] = _standing(cell, runs, shared, false_alarms)
        standings.append(standing)
    if baseline is not None:
        standings = _compared(standings, resampled, baseline.name)
    num_targets = int(shared.trials.is_target.sum())
    return Leaderboard(
        standings=tuple(sorted(standings, key=lambda standing: (standing.eer.value, standing.name))),
        baseline=None if baseline is None else baseline.name,
        split=split,
        num_singers=shared.draws.shape[1],
        num_utterances=shared.num_utterances,
        num_targets=num_targets,
        num_nontargets=len(shared.left_singers) - num_targets,
        num_resamples=len(shared.draws) - 1,
        conditions=shared.sizes(),
        false_alarms=false_alarms,
    )


def _standing(
    cell: Cell, runs: list[SplitEmbeddings], shared: SharedTrials, false_alarms: Float[np.ndarray, " points"]
) -> tuple[Standing, Float[np.ndarray, " resamples"]]:
    """A cell's figures, and its EER in every resample."""
    scores = [cosine_scores(run.embeddings, shared.trials) for run in runs]
    everywhere = np.ones(len(shared.left_singers), bool)
    rates = np.stack([_rates(each, shared, everywhere, shared.draws) for each in scores])
    eer, min_dcf_01, min_dcf_05 = (_estimate(rates[..., rate].mean(axis=0)) for rate in range(3))
    times = [run.seconds for run in cell.runs if run.seconds is not None]
    standing = Standing(
        name=cell.name,
        varied=cell.varied,
        seeds=tuple(run.seed for run in cell.runs),
        eer=eer,
        min_dcf_01=min_dcf_01,
        min_dcf_05=min_dcf_05,
        eer_of_seeds=tuple(rates[:, 0, 0].tolist()),
        miss=np.mean([miss_at(each, shared.trials.is_target, false_alarms) for each in scores], axis=0),
        eer_of_conditions=_eer_of_conditions(scores, shared),
        num_parameters=runs[0].num_parameters,
        num_bins=runs[0].num_bins,
        seconds=float(np.mean(times)) if times else None,
    )
    return standing, rates[:, 1:, 0].mean(axis=0)


def _eer_of_conditions(scores: list[np.ndarray], shared: SharedTrials) -> dict[str, Estimate]:
    draws = shared.draws[: CONDITION_RESAMPLES + 1]
    return {
        condition.name: _estimate(
            np.mean([_rates(each, shared, shared.conditions[condition.name], draws)[:, 0] for each in scores], axis=0)
        )
        for condition in shared.sizes()
        if condition.has_enough
    }


def _rates(scores: np.ndarray, shared: SharedTrials, chosen: np.ndarray, draws: np.ndarray) -> np.ndarray:
    return resampled_rates(scores[chosen], shared.left_singers[chosen], shared.right_singers[chosen], draws)


def _estimate(resampled: Float[np.ndarray, " draws"]) -> Estimate:
    return percentile_estimate(float(resampled[0]), resampled[1:])


def _compared(standings: list[Standing], resampled: dict[str, np.ndarray], baseline: str) -> list[Standing]:
    """With the difference of each standing's EER from the baseline's, in the resamples that both share."""
    level = next(standing.eer.value for standing in standings if standing.name == baseline)
    others = [standing for standing in standings if standing.name != baseline]
    differences = [resampled[standing.name] - resampled[baseline] for standing in others]
    p_values = [two_sided_p(each) for each in differences]
    compared = {
        standing.name: replace(
            standing, difference=percentile_estimate(standing.eer.value - level, each), p=p, p_holm=p_holm
        )
        for standing, each, p, p_holm in zip(others, differences, p_values, holm(p_values), strict=True)
    }
    return [compared.get(standing.name, standing) for standing in standings]
