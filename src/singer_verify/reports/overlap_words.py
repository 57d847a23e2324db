"""What follows from singers who were met before, in words, and which figures are concerned."""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from singer_verify.evaluation.overlap import CALIBRATION, CHOOSING, COHORT, THRESHOLD, TRAINING, Overlap

THRESHOLD_FIGURES, CALIBRATION_FIGURES = ("miss_at_threshold", "false_alarm_at_threshold"), ("cllr",)
ACTUAL_DCF = "actual_dcf_"  # at the calibration's threshold for a prior where there is one, else at the known one
FITTED_MARK = " (fitted to singers judged here)"


class Occasion(NamedTuple):
    """Where singers were met: what was done with them, and what follows for the figures."""

    done: str
    follows: str


OCCASIONS = {
    TRAINING: Occasion(
        "the model was trained on",
        "figures on them are too good, and what is fitted to them is too confident",
    ),
    CHOOSING: Occasion("the best step of the model was chosen on", "on other singers its EER will be higher"),
    THRESHOLD: Occasion(
        "the threshold was fitted to", "it was not known before, and on other singers it will make more errors"
    ),
    CALIBRATION: Occasion(
        "the calibration was fitted to", "on other singers Cllr and actual detection costs will be higher"
    ),
    COHORT: Occasion("projection and cohort were made of", "no figure says anything of other singers"),
}


def overlap_sentences(met: Mapping[str, Overlap | None]) -> list[str]:
    """A sentence for each occasion on which singers were met before, or of which that is not recorded.

    Args:
        met: see `evaluation_about.About`.
    """
    return [sentence for occasion, found in met.items() if (sentence := _sentence(OCCASIONS[occasion], found))]


def fitted_figures(figures: Iterable[str], met: Mapping[str, Overlap | None]) -> list[str]:
    """Names of those figures that a threshold or a calibration was fitted for on recordings of singers judged here."""
    found = list(figures)
    concerned: list[str] = []
    if _is_recognised(met.get(THRESHOLD)):
        concerned += THRESHOLD_FIGURES
    if _is_recognised(met.get(CALIBRATION)):
        concerned += CALIBRATION_FIGURES
    is_calibrated = any(name in found for name in CALIBRATION_FIGURES)
    if _is_recognised(met.get(CALIBRATION if is_calibrated else THRESHOLD)):
        concerned += [name for name in found if name.startswith(ACTUAL_DCF)]
    return [name for name in found if name in concerned]


def _is_recognised(found: Overlap | None) -> bool:
    return found is not None and found.num_recognised > 0


def _sentence(occasion: Occasion, found: Overlap | None) -> str:
    """Empty where nobody was met."""
    if found is None:
        return f"Which singers {occasion.done} is not recorded: they may be among those who are judged here."
    begins = f"{occasion.done[0].upper()}{occasion.done[1:]}"
    if found.num_recognised:
        is_all = found.num_recognised == found.num_singers
        whom = "these very singers" if is_all else f"{found.num_recognised} of these {found.num_singers} singers"
        return f"{begins} {whom}, as their recordings tell; {occasion.follows}."
    if found.num_namesakes:
        return (
            f"{found.num_namesakes} of {found.num_singers} singers have names of singers {occasion.done}. That may be "
            f"chance, as in corpora whose singers are called 01 and 02; if they are the same, then {occasion.follows}."
        )
    return ""
