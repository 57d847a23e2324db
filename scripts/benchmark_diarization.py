"""Diarization without a gallery, on recordings joined from singers of a corpus, where it is known who sings when.

python scripts/benchmark_diarization.py MODEL CORPUS [CORPUS ...] --recordings 20

Each recording has one to four singers of one corpus, who take turns of 4 to 12 seconds for a minute and a half; a turn
is a stretch of the singer's recordings, brought to one level. Printed are the diarization error rate, pooled over
recordings with a 95 % interval from resampling them, and how often the number of singers is right: found, given, or
following from a threshold.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.console import Console
from rich.progress import track
from rich.table import Table

from singer_verify.audio import AUDIO_SUFFIXES, load_audio
from singer_verify.audio.clip import AudioClip
from singer_verify.corpora.file_search import find_recordings
from singer_verify.evaluation.metrics.bootstrap import compute_percentile_interval
from singer_verify.evaluation.scoring.scoring import USER_DEFINED, Threshold
from singer_verify.inference import load_model, load_model_scoring
from singer_verify.inference.clustering import diarize_unknown_singers
from singer_verify.inference.rttm import DiarizationError, ReferenceSegment, compute_diarization_error

RATE, LEVEL = 16_000, 0.05
RECORDING_S, MIN_TURN_S, MAX_TURN_S = 90.0, 4.0, 12.0
app = typer.Typer(pretty_exceptions_enable=False)


def join_turns(
    files: dict[str, list[Path]], generator: np.random.Generator, num_singers: int
) -> tuple[np.ndarray, list[ReferenceSegment]]:
    """Join turns of randomly chosen singers; nobody follows himself."""
    singers = generator.choice(sorted(files), size=num_singers, replace=False).tolist()
    turns: list[np.ndarray] = []
    segments: list[ReferenceSegment] = []
    now_s, last = 0.0, ""
    while now_s < RECORDING_S:
        waiting = [name for name in singers if name not in {segment.singer for segment in segments}]
        singer = str(generator.choice(waiting or [name for name in singers if name != last or num_singers == 1]))
        turn = draw_turn(files[singer], generator)
        turns.append(turn)
        segments.append(ReferenceSegment(now_s, now_s + len(turn) / RATE, singer))
        now_s, last = now_s + len(turn) / RATE, singer
    return np.concatenate(turns), segments


def draw_turn(files: list[Path], generator: np.random.Generator) -> np.ndarray:
    """Take a stretch of some seconds from one recording, or from several where they are short."""
    wanted = int(generator.uniform(MIN_TURN_S, MAX_TURN_S) * RATE)
    parts: list[np.ndarray] = []
    while sum(map(len, parts)) < wanted:
        samples = load_audio(files[generator.integers(len(files))], RATE)
        missing = wanted - sum(map(len, parts))
        start = int(generator.integers(max(len(samples) - missing, 0) + 1))
        part = samples[start : start + missing]
        parts.append(part * (LEVEL / max(float(np.sqrt(np.square(part).mean())), 1e-6)))
    return np.concatenate(parts)


@app.command()
def measure(
    model_path: Path,
    corpora: list[Path],
    recordings: Annotated[int, typer.Option(help="Recordings of each number of singers.")] = 6,
    seed: int = 0,
    window_s: float = 2.0,
    hop_s: float = 0.5,
    smooth_s: float = 3.0,
    thresholds: Annotated[str, typer.Option(help="Thresholds to try, separated by commas.")] = "",
) -> None:
    """Print the table."""
    model = load_model(model_path)
    scoring = load_model_scoring(model)
    table = Table("corpus", "singers are", "error rate % [95 %]", "confusion %", "number right", "too many", "too few")
    for corpus in corpora:
        files: dict[str, list[Path]] = {}
        for file in find_recordings(corpus, AUDIO_SUFFIXES):
            files.setdefault(file.parent.name, []).append(file)
        generator = np.random.default_rng(seed)
        cases = []
        for number in track([n for n in (1, 2, 3, 4) for _ in range(recordings)], f"Embedding {corpus.name}"):
            samples, truth = join_turns(files, generator, number)
            clip = AudioClip(samples, RATE, f"{number} singers")
            cases.append((number, truth, model.embed_windows(clip, window_s=window_s, hop_s=hop_s)))
        ways: dict[str, tuple[bool, Threshold | None]] = {"found": (False, None), "given": (True, None)}
        scores = [float(text) for text in thresholds.split(",") if text]
        ways |= {f"found, threshold {score:g}": (False, Threshold(score, USER_DEFINED)) for score in scores}
        for name, (is_given, threshold) in ways.items():
            errors = [
                compute_diarization_error(
                    diarize_unknown_singers(embedded, scoring, smooth_s, number if is_given else None, threshold), truth
                )
                for number, truth, embedded in cases
            ]
            table.add_row(corpus.name, name, *describe_errors(errors))
    Console().print(table)


def describe_errors(errors: list[DiarizationError]) -> list[str]:
    """Pool the errors of recordings; their rate with an interval."""
    wrong = np.array([error.rate * error.total_s for error in errors])
    total = np.array([error.total_s for error in errors])
    draws = np.random.default_rng(0).integers(len(errors), size=(1000, len(errors)))
    estimate = compute_percentile_interval(
        float(wrong.sum() / total.sum()), wrong[draws].sum(axis=1) / total[draws].sum(axis=1)
    )
    extra = np.array([error.num_singers - error.num_reference_singers for error in errors])
    confusion = sum(error.confusion_s for error in errors) / total.sum()
    return [
        f"{100 * estimate.value:.1f} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]",
        f"{100 * confusion:.1f}",
        *(f"{int(mask.sum())} of {len(errors)}" for mask in (extra == 0, extra > 0, extra < 0)),
    ]


if __name__ == "__main__":
    app()
