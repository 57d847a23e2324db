"""Make the pictures of README and docs, each light and dark, in docs/figures.

python scripts/make_figures.py                         all drawn ones: no training, the same to the byte
python scripts/make_figures.py pipeline det            some of them
python scripts/make_figures.py terminal                what commands print, as SVG (scripts/terminal_pictures.py)
python scripts/make_figures.py report leaderboard_page demo tensorboard    pages in a browser (scripts/screenshots.py)
"""

import argparse
import csv
import itertools
import sys
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.colors import to_rgba_array
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, FancyBboxPatch
from screenshots import SCREENSHOTS
from terminal_pictures import write_terminal_pictures

from singer_verify.atomic_files import write_files_atomically
from singer_verify.audio.loading import load_audio
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.embedding_map import map_utterances
from singer_verify.evaluation.metrics.verification import verify_all_pairs
from singer_verify.evaluation.results import ConditionMetrics, EvaluatedUtterances
from singer_verify.evaluation.scoring.scoring import COSINE
from singer_verify.features.recipe import build_feature, read_recipe
from singer_verify.inference import load_model
from singer_verify.inference.evaluation import embed_split, evaluate_utterances, plan_evaluation, show_nothing
from singer_verify.plotting import BLUE, COLOURS, VERMILION, render_figure_files
from singer_verify.reports.det_figure import plot_det
from singer_verify.reports.embedding_map import build_corpus_map, plot_corpus_map
from singer_verify.reports.leaderboard.figures import plot_leaderboard
from singer_verify.sweeps.comparison import Leaderboard, build_leaderboard

ROOT = Path(__file__).parents[1]
SAMPLE_RATE, EXCERPT_S = 16_000, 2.0
EXAMPLE = "val/female7/f7_excerpt_vibrato_e.flac"
# Foreground and background of the two themes of the site and of GitHub.
THEMES = {"": ("#24292f", "#ffffff"), "_dark": ("#e6edf3", "#0d1117")}
SMALL, LARGE = 10.0, 12.0  # still legible at the width of a phone


def draw_pipeline(foreground: str, background: str) -> Figure:
    """Draw samples, frames, encoder, embeddings and scores of the example data, from left to right."""
    figure = Figure(figsize=(7.5, 2.5), facecolor=background)
    widths = (1.25, 1.25, 1.0, 1.25, 1.35)
    panels: list[Axes] = list(
        figure.subplots(1, 5, width_ratios=widths, gridspec_kw={"left": 0.01, "right": 0.99, "wspace": 0.2})
    )
    figure.subplots_adjust(top=0.87, bottom=0.3)
    samples = load_audio(ROOT / "example_dataset" / EXAMPLE, SAMPLE_RATE)[: round(EXCERPT_S * SAMPLE_RATE)]
    _draw_samples(panels[0], samples)
    _draw_frames(panels[1], samples)
    _draw_encoder(panels[2], foreground, background)
    embeddings, singers = embed_example_singers()
    _draw_embeddings(panels[3], embeddings, singers)
    _draw_scores(panels[4], embeddings, singers, foreground)
    for axes, (title, caption) in zip(
        panels,
        (
            ("audio", "a few seconds\nof singing"),
            ("features", "40 mel bands,\nor 20 other\nrecipes"),
            ("LSTM", "GE2E and\nother losses"),
            ("embeddings", f"{len(set(singers))} singers\nnever heard\nbefore"),
            ("trials", "same singer?\nequal error rate"),
        ),
        strict=True,
    ):
        axes.set_title(title, fontsize=LARGE, fontweight="bold", color=foreground, pad=6)
        axes.text(
            0.5, -0.08, caption, transform=axes.transAxes, ha="center", va="top", fontsize=SMALL, color=foreground
        )
        axes.set_facecolor(background)
        axes.set_xticks([])
        axes.set_yticks([])
        for spine in axes.spines.values():
            spine.set_visible(False)
    for left, right in itertools.pairwise(panels):
        arrow = ConnectionPatch(
            (1.03, 0.5), (-0.03, 0.5), "axes fraction", "axes fraction", axesA=left, axesB=right, arrowstyle="-|>"
        )
        arrow.set(color=foreground, linewidth=1.2, mutation_scale=11)
        figure.add_artist(arrow)
    return figure


def _draw_samples(axes: Axes, samples: Float[np.ndarray, " samples"]) -> None:
    blocks = samples[: len(samples) // 250 * 250].reshape(-1, 250)
    positions = np.arange(len(blocks))
    axes.fill_between(positions, blocks.min(axis=1), blocks.max(axis=1), color=BLUE, linewidth=0)
    axes.set_xlim(0, len(blocks) - 1)


def _draw_frames(axes: Axes, samples: Float[np.ndarray, " samples"]) -> None:
    feature = build_feature(read_recipe("mel40"))
    frames = feature(torch.from_numpy(samples)).numpy()
    axes.imshow(frames.T, origin="lower", aspect="auto", cmap="magma", interpolation="nearest")


def _draw_encoder(axes: Axes, foreground: str, background: str) -> None:
    axes.set_xlim(0, 10)
    axes.set_ylim(0, 10)
    for layer in range(3):
        for cell in range(4):
            box = FancyBboxPatch(
                (0.7 + 2.3 * cell, 1.0 + 2.9 * layer), 1.5, 1.7, boxstyle="round,pad=0.1,rounding_size=0.3"
            )
            box.set(facecolor=COLOURS[5], edgecolor=foreground, linewidth=0.6)
            axes.add_patch(box)
            if cell:
                axes.annotate(
                    "",
                    (0.55 + 2.3 * cell, 1.85 + 2.9 * layer),
                    (2.35 + 2.3 * (cell - 1), 1.85 + 2.9 * layer),
                    arrowprops={"arrowstyle": "-|>", "color": foreground, "lw": 0.7, "mutation_scale": 6},
                )
            if layer:
                axes.annotate(
                    "",
                    (1.45 + 2.3 * cell, 0.85 + 2.9 * layer),
                    (1.45 + 2.3 * cell, 2.85 + 2.9 * (layer - 1)),
                    arrowprops={"arrowstyle": "-|>", "color": foreground, "lw": 0.7, "mutation_scale": 6},
                )


def embed_example_singers() -> tuple[Float[np.ndarray, "utterances embedding"], list[str]]:
    """Embed the validation singers of the example data with the model that comes with the package."""
    model = load_model(device="cpu")
    paths = sorted((ROOT / "example_dataset/val").rglob("*.flac"))
    return np.stack([model.embed(path) for path in paths]), [path.parent.name for path in paths]


def _draw_embeddings(axes: Axes, embeddings: Float[np.ndarray, "utterances embedding"], singers: list[str]) -> None:
    """Draw the plane in which the singers' means differ most."""
    names = sorted(set(singers))
    means = np.stack([embeddings[[singer == name for singer in singers]].mean(axis=0) for name in names])
    _, _, directions = np.linalg.svd(means - means.mean(axis=0), full_matrices=False)
    plane = (embeddings - embeddings.mean(axis=0)) @ directions[:2].T
    for number, name in enumerate(names):
        mask = [singer == name for singer in singers]
        axes.scatter(plane[mask, 0], plane[mask, 1], s=16, color=COLOURS[number % len(COLOURS)], linewidth=0)
    axes.margins(0.08)


def _draw_scores(
    axes: Axes, embeddings: Float[np.ndarray, "utterances embedding"], singers: list[str], foreground: str
) -> None:
    _, singer_index = np.unique(singers, return_inverse=True)
    left, right = np.triu_indices(len(singers), 1)
    scores = (embeddings @ embeddings.T)[left, right]
    is_target = singer_index[left] == singer_index[right]
    bins = np.linspace(scores.min(), scores.max(), 32)
    for mask, colour, label in ((~is_target, VERMILION, "different"), (is_target, BLUE, "same singer")):
        axes.hist(scores[mask], bins.tolist(), density=True, color=colour, alpha=0.75, label=label)
    metrics = verify_all_pairs(embeddings.astype(np.float32), singer_index).metrics
    axes.axvline(metrics["threshold"].value, ymax=0.52, color=foreground, linewidth=1, linestyle="--")
    eer = 100 * metrics["eer"].value
    axes.set_ylim(0, axes.get_ylim()[1] * 1.9)
    legend = axes.legend(loc="upper left", fontsize=SMALL, frameon=False, labelcolor=foreground, handlelength=1)
    legend.set_title(f"EER {eer:.1f} %")
    legend.get_title().set(color=foreground, fontsize=SMALL, fontweight="bold")


def recolour(figure: Figure, foreground: str, background: str) -> Figure:
    """Give a figure drawn in black on white the colours of a theme: greys lie between them, other colours stay."""
    figure.draw_without_rendering()  # makes the ticks, which have colours too
    black, white = to_rgba_array(foreground)[0, :3], to_rgba_array(background)[0, :3]
    for artist in figure.findobj():
        for name in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor"):
            read, write = getattr(artist, f"get_{name}", None), getattr(artist, f"set_{name}", None)
            if read is None or write is None or (name == "color" and hasattr(artist, "get_facecolor")):
                continue
            colours = to_rgba_array(read())
            is_grey = np.ptp(colours[:, :3], axis=1) < 0.02
            lightness = colours[is_grey, :1]
            colours[is_grey, :3] = black + lightness * (white - black)
            if is_grey.any():
                write(colours[0] if len(colours) == 1 else colours)
    return figure


def draw_leaderboard(foreground: str, background: str) -> Figure:
    """Draw the comparison of recipes of docs/study.md."""
    return recolour(plot_leaderboard(_compare_recipes()), foreground, background)


@cache
def _compare_recipes() -> Leaderboard:
    return build_leaderboard(ROOT / "docs/study/results/recipes", "features=mel40", None, None)


def draw_det(foreground: str, background: str) -> Figure:
    """Draw DET curves of the training singers of the example data, who are more, by condition."""
    return recolour(plot_det(_evaluate_conditions()), foreground, background)


@cache
def _evaluate_conditions() -> tuple[ConditionMetrics, ...]:
    plan = plan_evaluation(ROOT / "example_dataset", "train", None, "gender,exercise,technique,vowel", False)
    return evaluate_utterances(_embed_split("train"), COSINE, plan, 3, 500, 0, show_nothing, {}).conditions


def draw_embeddings(foreground: str, background: str) -> Figure:
    """Draw the map of the validation singers of the example data, by singer, gender and technique."""
    utterances = _embed_split("val")
    placed = map_utterances(utterances.embeddings, "tsne", 0)
    drawn = build_corpus_map(utterances, placed, ["singer", "gender", "technique"], "example_dataset, val split: ")
    return recolour(plot_corpus_map(drawn), foreground, background)


@cache
def _embed_split(split: str) -> EvaluatedUtterances:
    return embed_split(load_model(device="cpu"), ROOT / "example_dataset", split, show_nothing, False)


def draw_training_curve(foreground: str, background: str) -> Figure:
    """Draw loss and EER of `python train.py logger=csv`, from its metrics in docs/figures/training_curve.csv."""
    with (ROOT / "docs/figures/training_curve.csv").open(encoding="utf-8", newline="") as table:
        rows = list(csv.DictReader(table))
    figure = Figure(figsize=(7.0, 2.7), layout="constrained")
    left, right = figure.subplots(1, 2)
    for axes, names, title in (
        (left, {"train/ge2e": ("training", BLUE), "val/ge2e": ("validation", VERMILION)}, "GE2E loss"),
        (right, {"val/eer": ("six unseen singers", VERMILION)}, "equal error rate in %"),
    ):
        for name, (label, colour) in names.items():
            points = [(int(row["step"]), float(row[name])) for row in rows if row[name]]
            steps, values = np.array(points).T
            style = {"marker": "o", "markersize": 3.5} if name.startswith("val/") else {"alpha": 0.8}
            axes.plot(steps, values * (100 if name == "val/eer" else 1), color=colour, label=label, **style)
        axes.set(xlabel="step", ylim=(0, None))
        axes.set_title(title, fontsize="medium")
        axes.grid(color="0.9")
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize="small")
    return recolour(figure, foreground, background)


FIGURES: dict[str, Callable[[str, str], Figure]] = {
    "pipeline": draw_pipeline,
    "leaderboard": draw_leaderboard,
    "det": draw_det,
    "embeddings": draw_embeddings,
    "training_curve": draw_training_curve,
}


def write_drawn_figure(name: str, out: Path) -> None:
    """Draw a figure in both themes."""
    for suffix, colours in THEMES.items():
        with rc_context({"font.family": "DejaVu Sans"}):
            rendered = render_figure_files(FIGURES[name](*colours), ("png",))
        write_files_atomically({f"{name}{suffix}.png": rendered["png"]}, out)
        print(out / f"{name}{suffix}.png")


def main() -> None:
    makers: dict[str, Callable[[Path], None]] = {name: partial(write_drawn_figure, name) for name in FIGURES}
    makers |= {"terminal": write_terminal_pictures, **SCREENSHOTS}
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "pictures", nargs="*", choices=[*makers, []], help="names of pictures; all drawn ones by default"
    )
    parser.add_argument("--out", type=Path, default=ROOT / "docs/figures", help="folder to write them into")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.pictures or FIGURES:
        try:
            makers[name](options.out)
        except SingerVerifyError as error:
            sys.exit(f"error: {name}: {error}")


if __name__ == "__main__":
    main()
