"""The event handlers of the page: pictures of clips, verdicts and candidates as HTML, or an error in one sentence."""

import base64
import filecmp
import io
from collections.abc import Callable
from functools import wraps
from threading import Lock

import numpy as np
from jaxtyping import Float
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from singer_verify.demo.clips import ClipLimits, check_clip, read_clip_preview
from singer_verify.demo.words import (
    SAME_CLIP_MESSAGE,
    ScoreScale,
    build_score_scale,
    describe_candidate,
    describe_decision,
    describe_prior,
    describe_probability,
    describe_score,
    describe_threshold,
    format_percent,
    render_panel,
    replace_paths,
)
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.scoring.scoring import Scoring
from singer_verify.features.precomputed import PrecomputedFeature
from singer_verify.inference import Candidate, Gallery, Model, verify

MAX_CANDIDATES = 10  # shown
TONES = {True: "same", False: "different", None: "open"}
MAX_COLUMNS = 1200  # columns of a picture; more cannot be told apart
WAVEFORM_COLOUR, MISSING_FRAME_COLOUR = "#0072B2", "#cccccc"  # the first of Okabe & Ito
WIDTH_INCHES, HEIGHT_INCHES, PAD_INCHES, DOTS_PER_INCH = 6.0, 3.1, 0.08, 200
COLUMN_TOLERANCE = 1e-6  # of a column, so that a time on its edge falls into it
OUTLIER_PERCENT = 1.0  # percent of values at either end that do not stretch the colours


def show_errors_on_page(handler: Callable[..., str]) -> Callable[..., str]:
    """Decorate a handler: its errors are shown on the page, and calls run one at a time, as a model takes all cores."""

    @wraps(handler)
    def handle(self: "DemoHandlers", *uploads: str | None) -> str:
        try:
            with self.lock:
                return handler(self, *uploads)
        except SingerVerifyError as error:
            return render_panel("refusal", sentence=replace_paths(str(error), name_uploads(*uploads)))

    return handle


def name_uploads(*uploads: str | None) -> dict[str, str]:
    """Map the paths of clips to what they are called on the page."""
    is_one = len(set(uploads)) == 1  # the same file given twice has one path
    names = ("the clip",) * len(uploads) if is_one else ("the first clip", "the second clip")
    return {upload: name for upload, name in zip(uploads, names, strict=True) if upload is not None}


class DemoHandlers:
    """The event handlers of the page for one model; each returns HTML.

    Args:
        embedder: model that embeds the clips.
        scoring: scoring of the model's embeddings.
        limits: limits of a clip.
        gallery: gallery of enrolled singers; None leaves out identification.

    Raises:
        SingerVerifyError: the model takes precomputed features, which recordings lack, or the gallery is empty.
    """

    def __init__(self, embedder: Model, scoring: Scoring, limits: ClipLimits, gallery: Gallery | None = None) -> None:
        if isinstance(embedder.feature, PrecomputedFeature):
            raise SingerVerifyError("the model takes precomputed features, not audio; give a model trained on audio.")
        if gallery is not None and not gallery.singers:
            raise SingerVerifyError("the gallery is empty; singer-verify enrol adds singers.")
        self.embedder, self.scoring, self.limits, self.gallery = embedder, scoring, limits, gallery
        self.lock = Lock()

    @show_errors_on_page
    def show(self, upload: str | None) -> str:
        """Render the picture of a clip; return nothing if there is no clip."""
        if upload is None:
            return ""
        clip = read_clip_preview(check_clip(upload, "", self.limits), self.embedder)
        feature = self.embedder.feature
        figure = plot_clip(clip.samples, feature.sample_rate, clip.frames, clip.times_s, feature.hop_ms)
        return render_panel(
            "clip",
            picture=encode_data_uri(figure),
            seconds=f"{len(clip.samples) / feature.sample_rate:.1f}",
            num_frames=len(clip.frames),
            num_bins=feature.num_bins,
            is_whole=clip.is_whole,
            is_normalised=self.embedder.normalisation.name != "none",
        )

    @show_errors_on_page
    def compare(self, left: str | None, right: str | None) -> str:
        """Decide whether two clips are of the same singer."""
        first = check_clip(left, "Record or upload the first clip too.", self.limits)
        second = check_clip(right, "Record or upload the second clip too.", self.limits)
        verdict = verify(self.embedder, self.scoring, first, second)
        scale, threshold = build_score_scale(self.scoring), verdict.threshold
        remarks = [SAME_CLIP_MESSAGE] if filecmp.cmp(first, second, shallow=False) else []
        remarks += [replace_paths(remark, name_uploads(left, right)) for remark in verdict.remarks]
        return render_panel(
            "verdict",
            tone=TONES[verdict.is_same],
            decision=describe_decision(verdict.is_same),
            score_words=describe_score(verdict.score, threshold),
            score_place=scale.place(verdict.score),
            threshold_place=None if threshold is None else scale.place(threshold.score),
            scale=scale,
            probability_words=describe_probability(verdict.probability, self.scoring.calibration),
            remarks=remarks,
        )

    @show_errors_on_page
    def identify(self, upload: str | None) -> str:
        """Rank the singers of the gallery for a clip."""
        assert self.gallery is not None
        path = check_clip(upload, "Record or upload a clip first.", self.limits)
        result = self.gallery.identify(path)
        scale, shown = build_score_scale(self.scoring), result.candidates[:MAX_CANDIDATES]
        return render_panel(
            "candidates",
            tone=TONES[result.is_known],
            decision=describe_candidate(shown[0].singer, result.is_known),
            rows=[_build_candidate_row(candidate, scale) for candidate in shown],
            num_others=len(result.candidates) - len(shown),
            has_probabilities=result.prior is not None,
            threshold_words=describe_threshold(result),
            probability_words=describe_prior(self.scoring.calibration),
            remarks=[replace_paths(remark, name_uploads(upload)) for remark in result.remarks],
        )


def _build_candidate_row(candidate: Candidate, scale: ScoreScale) -> dict[str, object]:
    """Build a row of the table of candidates."""
    return {
        "singer": candidate.singer,
        "score": f"{candidate.score:.3f}",
        "place": scale.place(candidate.score),
        "threshold_place": None if candidate.threshold is None else scale.place(candidate.threshold),
        "probability": "" if candidate.probability is None else format_percent(candidate.probability),
        "is_enough": bool(candidate.is_accepted),
    }


def plot_clip(
    samples: Float[np.ndarray, " samples"],
    sample_rate: int,
    frames: Float[np.ndarray, "frames bins"],
    times_s: Float[np.ndarray, " frames"],
    hop_ms: float,
) -> Figure:
    """Plot the waveform and the frames of a clip.

    Args:
        samples: samples of the clip, as the recipe gets them.
        sample_rate: sample rate in Hz.
        frames: frames as the encoder gets them, normalised.
        times_s: time of each frame; times without one, because the recipe drops silence or unvoiced frames, are grey.
        hop_ms: time between frames where none is dropped.
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
