"""Which conditions are judged: all of a label or a measure, or single ones by their names."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from singer_verify.errors import SingerVerifyError, require_one_of
from singer_verify.evaluation.conditions import Conditions, Descriptions

LENGTH, PITCH, NONE = "length", "pitch", "none"  # conditions that are measured, beside the labels; and no condition


@dataclass(frozen=True)
class ConditionChoice:
    """
    Attributes:
        names: of the conditions to be judged.
        labels: that they ask for; of the others nothing needs to be known.
        needs_length: whether they ask how long the utterances are.
        needs_pitch: whether they ask for their f0.
    """

    names: frozenset[str]
    labels: frozenset[str]
    needs_length: bool
    needs_pitch: bool


def chosen_conditions(
    wanted: str | None, labels: Mapping[str, np.ndarray], is_measurable: bool = True
) -> ConditionChoice:
    """What `--conditions` means.

    Args:
        wanted: labels, `length`, `pitch` and names of conditions, separated by commas, or `none`; None takes all.
        labels: for each label its value for every utterance.
        is_measurable: whether length and pitch can be told: not of ready features.

    Raises:
        SingerVerifyError: a name that is none of these, or `none` beside another.
    """
    groups = [*labels, LENGTH, PITCH] if is_measurable else [*labels]
    every = _names(labels, groups)
    parts = groups if wanted is None else wanted.split(",")
    for part in parts:
        require_one_of((*groups, NONE, *every), **{"--conditions": part})
    if NONE in parts and len(parts) > 1:
        raise SingerVerifyError(f"--conditions {wanted}: none stands alone; leave it out, or everything else.")
    names = {*_names(labels, [part for part in parts if part in groups]), *(part for part in parts if part in every)}
    needed = frozenset(group for group in groups if not names <= set(_names(labels, _without(groups, group))))
    return ConditionChoice(frozenset(names), needed - {LENGTH, PITCH}, LENGTH in needed, PITCH in needed)


def _without(groups: Collection[str], group: str) -> list[str]:
    return [each for each in groups if each != group]


def _names(labels: Mapping[str, np.ndarray], groups: Collection[str]) -> list[str]:
    """Of the conditions that can be told from some labels and measures."""
    described = Descriptions(
        {label: values for label, values in labels.items() if label in groups},
        np.ones(1) if LENGTH in groups else None,
        np.ones(1) if PITCH in groups else None,
    )
    return Conditions(described).names
