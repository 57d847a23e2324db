"""Difficulty of the example corpus: how well mean pitch alone distinguishes its validation singers.

python scripts/example_difficulty.py                  EER of the mean pitch
python train.py name=example                          EER before and after training, in its last table
"""

from pathlib import Path
from typing import Annotated

import librosa
import numpy as np
import typer
from rich.progress import track

from singer_verify.audio import load_audio
from singer_verify.cli.console import report_user_errors
from singer_verify.corpora.corpus import read_corpus
from singer_verify.evaluation.metrics.error_rates import compute_eer
from singer_verify.evaluation.trials.trial_list import build_all_pairs

SAMPLE_RATE = 16_000
LOUD_DB = 30.0  # frames this far below the loudest are treated as silence


def compute_mean_pitch_octaves(path: Path) -> float:
    """Compute the mean of log2 f0 in Hz over sung frames (YIN, de Cheveigné & Kawahara 2002, as in librosa)."""
    samples = load_audio(path, SAMPLE_RATE)
    f0_hz = librosa.yin(samples, fmin=60.0, fmax=1000.0, sr=SAMPLE_RATE)
    level = librosa.feature.rms(y=samples)[0]
    return float(np.log2(f0_hz[level > level.max() * 10 ** (-LOUD_DB / 20)]).mean())


def main(
    corpus: Annotated[Path, typer.Argument(help="The corpus folder.")] = Path("example_dataset"),
    split: Annotated[str, typer.Option(help="Its split.")] = "val",
) -> None:
    """Print the EER with the negative distance between the mean pitches of two utterances as score."""
    with report_user_errors():
        utterances = read_corpus(corpus, splits=(split,), required=(split,)).splits[split].utterances
        _, singer_index = np.unique([utterance.singer for utterance in utterances], return_inverse=True)
        pitches = np.array(
            [compute_mean_pitch_octaves(corpus / utterance.path) for utterance in track(utterances, "Pitch")]
        )
        trials = build_all_pairs(singer_index)
        scores = -np.abs(pitches[trials.left] - pitches[trials.right])
        eer, _ = compute_eer(scores, trials.is_target)
        typer.echo(f"EER of the mean pitch on {corpus / split}: {100 * eer:.1f} % ({len(scores)} trials)")


if __name__ == "__main__":
    typer.run(main)
