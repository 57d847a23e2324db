"""The equal error rate of each singer as a figure: who is told from the others, who is not, and from whom."""

from matplotlib.figure import Figure

from singer_verify.evaluation.judgement import SingerFigures
from singer_verify.reports.colours import BLUE, VERMILION
from singer_verify.reports.shown_names import shown

MOST_SHOWN = 40
LINE_HEIGHT_INCHES = 0.26


def worst_first(of_singers: tuple[SingerFigures, ...], singers: tuple[str, ...]) -> list[SingerFigures]:
    """By falling rate, then by name; those without a rate last."""

    def place(each: SingerFigures) -> tuple[bool, float, str]:
        return each.eer is None, -(each.eer or 0.0), singers[each.singer]

    return sorted(of_singers, key=place)


def singers_figure(of_singers: tuple[SingerFigures, ...], singers: tuple[str, ...], eer: float) -> Figure:
    """A dot per singer, the worst on top, each with the singer most like him or her; of many the worst only.

    Args:
        of_singers: figures of each.
        singers: names.
        eer: of all trials, drawn as a line.
    """
    rated = [each for each in worst_first(of_singers, singers) if each.eer is not None]
    drawn = rated[:MOST_SHOWN]
    figure = Figure(figsize=(7.2, 1.5 + LINE_HEIGHT_INCHES * max(len(drawn), 1)), layout="constrained")
    axes = figure.subplots()
    rates = [100 * float(each.eer or 0.0) for each in drawn]
    axes.hlines(range(len(drawn)), 0, rates, color="0.85", linewidth=1.2, zorder=1)
    axes.plot(rates, range(len(drawn)), "o", color=BLUE, markersize=6, zorder=3)
    axes.axvline(100 * eer, color=VERMILION, linestyle="--", linewidth=1, zorder=2)
    for row, each in enumerate(drawn):
        near = f"most like {shown(singers[each.nearest])}"
        axes.annotate(near, (rates[row], row), (8, 0), textcoords="offset points", va="center", color="0.4", fontsize=8)
    axes.set_yticks(range(len(drawn)), [shown(singers[each.singer]) for each in drawn])
    axes.set_ylim(max(len(drawn), 1) - 0.5, -0.5)
    axes.set_xlim(0, max([100 * eer, *rates]) * 1.45 + 1.0)
    axes.set_xlabel("EER in % over all trials of the singer; dashed: of all singers together")
    if title := _title(len(drawn), len(rated), len(of_singers)):
        axes.set_title(title, fontsize="medium")
    axes.spines[["top", "right"]].set_visible(False)
    return figure


def _title(num_drawn: int, num_rated: int, num_singers: int) -> str:
    parts = [f"the {num_drawn} worst of {num_rated}"] if num_drawn < num_rated else []
    if num_few := num_singers - num_rated:
        parts.append(f"with too few trials for a rate: {num_few}")
    return "; ".join(parts)
