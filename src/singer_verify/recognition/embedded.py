"""What a model makes of one recording: an embedding of the whole, and one of each window with its time."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from singer_verify.recognition.opening import Facts
from singer_verify.recognition.window_plan import WindowPlan

SHORT_S = 3.0  # recordings of this length are not called short, however long a window of the model is


@dataclass(frozen=True)
class Embedded:
    """A recording as embeddings.

    Attributes:
        name: its path, or what it is called.
        windows: (windows, embedding), rows of unit length, in order of time.
        starts_s: (windows,), when each window begins.
        ends_s: (windows,), when it ends.
        seconds: that the recording lasts.
        power: (steps,), mean square of its samples in each of equal steps of time; None for ready features.
        power_step_s: length of a step.
        has_two_voices: its channels differ as voices do.
        model_window_s: length of the windows that the model was validated with.
    """

    name: str
    windows: Float[np.ndarray, "windows embedding"]
    starts_s: Float[np.ndarray, " windows"]
    ends_s: Float[np.ndarray, " windows"]
    seconds: float
    power: Float[np.ndarray, " steps"] | None
    power_step_s: float
    has_two_voices: bool
    model_window_s: float

    @property
    def remarks(self) -> tuple[str, ...]:
        """Sentences on what makes the embedding doubtful."""
        enough_s = min(self.model_window_s, SHORT_S)
        short = f"{self.name}: lasts {self.seconds:.1f} s, less than {enough_s:.1f} s; what is said of it is uncertain."
        return ((short,) if self.seconds < enough_s else ()) + ((self.two_voices,) if self.has_two_voices else ())

    @property
    def two_voices(self) -> str:
        return f"{self.name}: its two channels hold different voices; their mean was taken: give one channel alone."

    @property
    def embedding(self) -> Float[np.ndarray, " embedding"]:
        """Of the whole: the mean over its windows, brought to unit length."""
        return mean_direction(self.windows)


def embedded(
    facts: Facts,
    windows: Float[np.ndarray, "windows embedding"],
    plan: WindowPlan,
    hop_ms: float,
    model_window_s: float,
) -> Embedded:
    """What is known of a recording, with the embeddings of its windows.

    Args:
        facts: of the recording.
        windows: (windows, embedding), in order.
        plan: where the windows lie.
        hop_ms: from frame to frame.
        model_window_s: see `Embedded`.
    """
    starts, length = plan.starts(facts.num_frames), plan.length(facts.num_frames)
    times_s = facts.times_s if facts.times_s is not None else np.arange(facts.num_frames) * hop_ms / 1000.0
    starts_s = np.minimum(times_s[starts], facts.seconds)
    ends_s = np.minimum(times_s[starts + length - 1] + hop_ms / 1000.0, facts.seconds)
    sound = (facts.seconds, facts.power, facts.power_step_s, facts.has_two_voices)
    return Embedded(facts.name, windows, starts_s, ends_s, *sound, model_window_s)


def mean_direction(rows: Float[np.ndarray, "rows embedding"]) -> Float[np.ndarray, " embedding"]:
    """The mean of unit rows, brought to unit length; a mean of zero stays zero."""
    mean = rows.mean(axis=0, dtype=np.float64)
    direction: np.ndarray = (mean / max(float(np.linalg.norm(mean)), 1e-12)).astype(np.float32)
    return direction
