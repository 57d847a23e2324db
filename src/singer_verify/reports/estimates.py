"""Estimates with intervals, and p values, as files and tables of reports have them."""

import math

from singer_verify.evaluation.metrics.bootstrap import Estimate

MINUS = "−"


def build_estimate_record(estimate: Estimate | None) -> dict[str, float | None] | None:
    """Build the plain values of an estimate, None for bounds that it lacks."""
    if estimate is None:
        return None
    bounds = {"value": estimate.value, "low": estimate.low, "high": estimate.high}
    return {name: float(value) if math.isfinite(value) else None for name, value in bounds.items()}


def flatten_estimate(name: str, estimate: Estimate | None) -> dict[str, float | None]:
    """Build the columns `eer`, `eer_low` and `eer_high` of an estimate called `eer`."""
    values = build_estimate_record(estimate) or {"value": None, "low": None, "high": None}
    return {name: values["value"], f"{name}_low": values["low"], f"{name}_high": values["high"]}


def format_p_value(p: float) -> str:
    """Format a p value with three decimals."""
    return "<0.001" if p < 0.001 else f"{p:.3f}"


def format_short_p_value(p: float) -> str:
    """Format a p value with three decimals and without its leading zero."""
    return format_p_value(p).replace("0.", ".", 1)
