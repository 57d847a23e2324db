"""Draw the figures of docs/study.md from the exported results of the study: no audio, no models, the same to the byte.

python scripts/make_study_figures.py                        all that docs/study/results has results for, a few minutes
python scripts/make_study_figures.py recipes robustness     some of them
python scripts/make_study_figures.py --results DIR --out DIR
"""

import argparse
import sys
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

from matplotlib.figure import Figure

from singer_verify.atomic_files import write_files_atomically
from singer_verify.errors import SingerVerifyError
from singer_verify.inference.probing import ProbeOptions
from singer_verify.plotting import render_figure_files
from singer_verify.reports.leaderboard.figures import plot_leaderboard
from singer_verify.reports.leaderboard.learning_curves import plot_learning_curves
from singer_verify.reports.leaderboard.robustness import plot_robustness
from singer_verify.reports.probes import plot_probes
from singer_verify.sweeps.cells import read_sweep_cells
from singer_verify.sweeps.comparison import Leaderboard, build_leaderboard
from singer_verify.sweeps.learning_curves import build_learning_curves
from singer_verify.sweeps.probing import probe_sweep

ROOT = Path(__file__).parents[1]
RECIPES = "recipes"  # the part whose cells those of other parts are compared with
BASELINE = "features=mel40"
PROBED_LABELS = ("singer", "gender", "statement", "emotion", "pitch")
TARGET_EER = 5.0  # in percent


class Study:
    """Exported results, a folder for each part: recipes, floors, normalisations, encoders, data_size.

    Args:
        results: folder of the parts.
    """

    def __init__(self, results: Path) -> None:
        self.results = results

    def has_part(self, part: str) -> bool:
        return (self.results / part).is_dir()

    @cached_property
    def recipes(self) -> Leaderboard:
        """All recipes of the first round, and their robustness where recordings were degraded."""
        return build_leaderboard(self.results / RECIPES, BASELINE, None, None)

    def compare_part(self, part: str) -> Leaderboard:
        """Compare the cells of a part with those of the first round that have the same recipe."""
        features = self.list_features(part)
        only = (f"experiment=study/{RECIPES},study/{part},features={features}",)
        return build_leaderboard(self.results, f"experiment=study/{RECIPES},{BASELINE}", None, None, only=only)

    def list_features(self, part: str) -> str:
        """List the recipes of a part, and the baseline's."""
        cells, _ = read_sweep_cells(self.results / part)
        named = {
            setting.partition("=")[2] for cell in cells for setting in cell.settings if setting.startswith("features=")
        }
        return ",".join(sorted(named | {BASELINE.partition("=")[2]}))

    def draw(self) -> Iterator[tuple[str, Callable[[], Figure]]]:
        """Iterate over the figures that there are results for, by name."""
        if self.has_part(RECIPES):
            yield "recipes", lambda: plot_leaderboard(self.recipes)
            if any((self.results / RECIPES).rglob("degraded-*.npz")):
                yield "robustness", lambda: plot_robustness(self.recipes)
            yield "probes", self.draw_probes
        for part in ("floors", "normalisations", "encoders"):
            if self.has_part(part) and self.has_part(RECIPES):
                yield part, lambda part=part: plot_leaderboard(self.compare_part(part))  # type: ignore[misc]
        if self.has_part("data_size"):
            yield "learning_curves", self.draw_learning_curves

    def draw_probes(self) -> Figure:
        folder = self.results / RECIPES
        tables = [folder / "utterances-folds.csv", folder / "measured-folds.csv"]
        headings = [table.read_text(encoding="utf-8").partition("\n")[0] for table in tables if table.is_file()]
        there = ("singer", *",".join(headings).split(","))
        probed = tuple(label for label in PROBED_LABELS if label in there)
        return plot_probes(probe_sweep(self.results / RECIPES, ProbeOptions(labels=probed), baseline=BASELINE))

    def draw_learning_curves(self) -> Figure:
        features = self.list_features("data_size")
        cells, _ = read_sweep_cells(self.results / "data_size")
        seeds = ",".join(map(str, sorted({run.seed for cell in cells for run in cell.runs})))  # the same for all sizes
        only = (f"experiment=study/{RECIPES},study/data_size,seed={seeds},features={features}",)
        return plot_learning_curves(build_learning_curves(self.results, TARGET_EER, None, None, only))


def main(arguments: list[str] | None = None) -> int:
    """Draw the figures, and name each file when it is written."""
    parser = argparse.ArgumentParser(description="Draw the figures of docs/study.md from exported results.")
    parser.add_argument("names", nargs="*", help="figures to draw (default: all that there are results for)")
    parser.add_argument("--results", type=Path, default=ROOT / "docs/study/results", help="folder of the parts")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/study", help="folder for the figures")
    given = parser.parse_args(arguments)
    figures = dict(Study(given.results).draw())
    if missing := [name for name in given.names if name not in figures]:
        print(f"error: {missing[0]}: {given.results} has results for: {', '.join(figures) or 'none'}.", file=sys.stderr)
        return 1
    for name in given.names or figures:
        try:
            content = render_figure_files(figures[name](), ("png",))["png"]
            write_files_atomically({f"{name}.png": content}, given.out)
        except SingerVerifyError as error:
            print(f"error: {name}: {error}", file=sys.stderr)
            return 1
        print(given.out / f"{name}.png")
    return 0


if __name__ == "__main__":
    sys.exit(main())
