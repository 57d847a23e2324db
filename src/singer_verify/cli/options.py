"""Commands that say who sings: compare two recordings, look a recording up among known singers."""

from pathlib import Path
from typing import Annotated

import typer

ThresholdOption = Annotated[float | None, typer.Option(help="Of scores (default: that of the model's scoring)")]
ScoringOption = Annotated[Path | None, typer.Option(help="What calibrate wrote (default: that in the run's folder)")]
PriorOption = Annotated[
    float | None, typer.Option(help="Share of such questions whose answer is: the same singer; it decides (Bayes).")
]
ProbabilityOption = Annotated[bool, typer.Option("--probability", help="Refuse a model that is not calibrated.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print the figures as JSON.")]


ModelArgument = Annotated[
    Path, typer.Argument(metavar="MODEL", help="A run folder (its best model), a .ckpt or a saved_model.pt.")
]
