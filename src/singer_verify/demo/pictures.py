"""The picture of a clip: its waveform and, over the same time axis, the frames that the model sees."""

import base64
import io

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

MAX_COLUMNS = 1200  # of a picture; more cannot be told apart
WAVEFORM_COLOUR, MISSING_FRAME_COLOUR = "#0072B2", "#cccccc"  # the first of Okabe & Ito
WIDTH_INCHES, HEIGHT_INCHES, PAD_INCHES, DOTS_PER_INCH = 6.0, 3.1, 0.08, 200
COLUMN_TOLERANCE = 1e-6  # of a column, so that a time on its edge falls into it
OUTLIER_PERCENT = 1.0  # percent of values at either end that do not stretch the colours


def plot_clip(
    samples: Float[np.ndarray, " samples"],
    sample_rate: int,
    frames: Float[np.ndarray, "frames bins"],
    times_s: Float[np.ndarray, " frames"],
    hop_ms: float,
) -> Figure:
    """Plot the waveform and the frames of a clip.

    Args:
        samples: of the clip, as the recipe gets them.
        sample_rate: in Hz.
        frames: as the encoder gets them, normalised.
        times_s: when each frame is; times without one, because the recipe drops silence or unvoiced frames, are grey.
        hop_ms: between frames where none is dropped.
    """
    figure = Figure(figsize=(WIDTH_INCHES, HEIGHT_INCHES), layout="constrained", dpi=DOTS_PER_INCH)
    figure.get_layout_engine().set(w_pad=PAD_INCHES, h_pad=PAD_INCHES)  # type: ignore[union-attr,call-arg]
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[2, 3])
    seconds = len(samples) / sample_rate
    _draw_waveform(above, samples, seconds)
    num_columns = min(MAX_COLUMNS, max(int(1000 * seconds / hop_ms), 1))
    _draw_frames(below, average_columns(frames, times_s, seconds, num_columns), seconds)
    below.set_xlabel("time in s")
    below.set_xlim(0, seconds)
    return figure


def compute_envelope(samples: Float[np.ndarray, " samples"]) -> tuple[np.ndarray, np.ndarray]:
    """Compute the lowest and highest sample of at most `MAX_COLUMNS` segments of equal length."""
    count = min(len(samples), MAX_COLUMNS)
    starts = np.arange(count) * len(samples) // count
    return np.minimum.reduceat(samples, starts), np.maximum.reduceat(samples, starts)


def average_columns(
    frames: Float[np.ndarray, "frames bins"], times_s: Float[np.ndarray, " frames"], seconds: float, num_columns: int
) -> Float[np.ndarray, "columns bins"]:
    """Average the frames within each of `num_columns` equal intervals; NaN where there is none."""
    column = np.minimum((times_s / seconds * num_columns + COLUMN_TOLERANCE).astype(int), num_columns - 1)
    counts = np.bincount(column, minlength=num_columns)
    sums = np.zeros((num_columns, frames.shape[1]))
    np.add.at(sums, column, frames)
    means: np.ndarray = np.divide(sums, counts[:, None], out=np.full_like(sums, np.nan), where=counts[:, None] > 0)
    return means


def encode_data_uri(figure: Figure) -> str:
    """Encode a figure as a data URI, so that no file is written for it."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return f"data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode('ascii')}"


def _draw_waveform(axes: Axes, samples: Float[np.ndarray, " samples"], seconds: float) -> None:
    lowest, highest = compute_envelope(samples)
    axes.fill_between(np.linspace(0, seconds, len(lowest)), lowest, highest, color=WAVEFORM_COLOUR, linewidth=0.4)
    axes.set_ylabel("waveform")
    axes.set_yticks([])
    axes.tick_params(labelbottom=False)
    axes.spines[["top", "right", "left"]].set_visible(False)


def _draw_frames(axes: Axes, columns: Float[np.ndarray, "columns bins"], seconds: float) -> None:
    low, high = np.nanpercentile(columns, [OUTLIER_PERCENT, 100 - OUTLIER_PERCENT])
    colours = colormaps["magma"].with_extremes(bad=MISSING_FRAME_COLOUR)
    extent = (0.0, seconds, -0.5, columns.shape[1] - 0.5)
    axes.imshow(columns.T, origin="lower", aspect="auto", extent=extent, vmin=low, vmax=high, cmap=colours)
    axes.set_ylabel("bin")
