"""Draw the pictures of README and docs: no training, the same to the byte, each light and dark.

python scripts/make_figures.py              all of them, into docs/figures
python scripts/make_figures.py pipeline     some of them
"""

import argparse
import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch, FancyBboxPatch

from singer_verify.atomic_files import write_files_atomically
from singer_verify.audio.loading import load_audio
from singer_verify.evaluation.metrics.verification import verify_all_pairs
from singer_verify.features.recipe import build_feature, read_recipe
from singer_verify.inference import load_model
from singer_verify.plotting import BLUE, COLOURS, VERMILION, render_figure_files

ROOT = Path(__file__).parents[1]
SAMPLE_RATE, EXCERPT_S = 16_000, 2.0
EXAMPLE = "val/female7/f7_excerpt_vibrato_e.flac"
# Foreground and background of the two themes of the site and of GitHub.
THEMES = {"": ("#24292f", "#ffffff"), "_dark": ("#e6edf3", "#0d1117")}
SMALL, LARGE = 7.5, 9.5


def draw_pipeline(foreground: str, background: str) -> Figure:
    """Draw samples, frames, encoder, embeddings and scores of the example data, from left to right."""
    figure = Figure(figsize=(10.0, 2.5), facecolor=background)
    widths = (1.25, 1.25, 1.0, 1.25, 1.35)
    panels: list[Axes] = list(
        figure.subplots(1, 5, width_ratios=widths, gridspec_kw={"left": 0.015, "right": 0.985, "wspace": 0.22})
    )
    figure.subplots_adjust(top=0.83, bottom=0.2)
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
            ("audio", "a few seconds of singing"),
            ("features", "40 mel bands, or 20 other recipes"),
            ("LSTM", "GE2E and other losses"),
            ("embeddings", f"{len(set(singers))} singers never heard before"),
            ("trials", "same singer? equal error rate"),
        ),
        strict=True,
    ):
        axes.set_title(title, fontsize=LARGE, fontweight="bold", color=foreground, pad=6)
        axes.text(
            0.5, -0.13, caption, transform=axes.transAxes, ha="center", va="top", fontsize=SMALL, color=foreground
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
    for mask, colour, label in ((~is_target, VERMILION, "different singers"), (is_target, BLUE, "the same singer")):
        axes.hist(scores[mask], bins.tolist(), density=True, color=colour, alpha=0.75, label=label)
    metrics = verify_all_pairs(embeddings.astype(np.float32), singer_index).metrics
    axes.axvline(metrics["threshold"].value, color=foreground, linewidth=1, linestyle="--")
    eer = 100 * metrics["eer"].value
    axes.set_ylim(0, axes.get_ylim()[1] * 1.55)
    legend = axes.legend(loc="upper left", fontsize=SMALL, frameon=False, labelcolor=foreground, handlelength=1)
    legend.set_title(f"EER {eer:.1f} %")
    legend.get_title().set(color=foreground, fontsize=SMALL, fontweight="bold")


FIGURES: dict[str, Callable[[str, str], Figure]] = {"pipeline": draw_pipeline}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figures", nargs="*", choices=[*FIGURES, []], help="names of figures; all by default")
    parser.add_argument("--out", type=Path, default=ROOT / "docs/figures", help="folder to write them into")
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.figures or FIGURES:
        for suffix, colours in THEMES.items():
            with rc_context({"font.family": "DejaVu Sans"}):
                rendered = render_figure_files(FIGURES[name](*colours), ("png",))
            write_files_atomically({f"{name}{suffix}.png": rendered["png"]}, options.out)
            print(options.out / f"{name}{suffix}.png")


if __name__ == "__main__":
    main()
