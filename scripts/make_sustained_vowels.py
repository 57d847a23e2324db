"""Write a test set of one-second sung vowels, each vowel on each of several notes, by synthetic singers.

python scripts/make_sustained_vowels.py --out sustained_vowels
singer-verify evaluate MODEL sustained_vowels --conditions "cross vowel + cross note"

The singers are drawn like those of the example data, with another seed: a model trained there has heard none of them.
Technique, articulation, gain and recording vary from utterance to utterance, as there.
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import soundfile
import typer
from make_example_dataset import TRACT_RANGE_CM, draw_voices
from rich.progress import track
from singing_synthesis import FORMANTS_HZ, SAMPLE_RATE, TECHNIQUES, Take, Voice, sing

from singer_verify.cli.console import report_user_errors
from singer_verify.corpora.labels import CORPUS_TABLE_NAME
from singer_verify.errors import SingerVerifyError

DURATION_S = 1.0
SPLIT = "val"
NOTES_MIDI = {  # the registers overlap
    "male": {"A2": 45, "D3": 50, "G3": 55, "C4": 60},
    "female": {"G3": 55, "C4": 60, "F4": 65, "A4": 69},
}


def draw_take(rng: np.random.Generator, vowel: str, note_midi: int) -> Take:
    """Draw one vowel on one note."""
    return Take(
        exercise="sustained",
        technique=str(rng.choice(list(TECHNIQUES))),
        vowel=vowel,
        key_midi=float(note_midi),
        duration_s=DURATION_S,
        articulation=np.exp(0.02 * rng.normal(size=5) + 0.008 * rng.normal()),  # each formant, the larynx
        gain_db=rng.uniform(-3.0, 3.0),
        recording_tilt_db=rng.uniform(-0.4, 0.4),
    )


def write_singer(folder: Path, voice: Voice, register: str, rng: np.random.Generator) -> list[dict[str, str]]:
    """Write one singer's utterances and return their labels."""
    labels = []
    folder.mkdir(parents=True)
    for vowel in FORMANTS_HZ:
        for note, note_midi in NOTES_MIDI[register].items():
            take = draw_take(rng, vowel, note_midi)
            name = f"{vowel}_{note}.flac"
            soundfile.write(folder / name, sing(voice, take, rng), SAMPLE_RATE, subtype="PCM_16")
            location = {"utterance": f"{SPLIT}/{folder.name}/{name}", "singer": folder.name, "split": SPLIT}
            labels.append({**location, "gender": register, "technique": take.technique, "vowel": vowel, "note": note})
    return labels


def main(
    out: Annotated[Path, typer.Option(help="Corpus folder to write.")] = Path("sustained_vowels"),
    seed: Annotated[int, typer.Option(help="Seed of the singers; the example data have 3.")] = 4,
) -> None:
    """Write the test set, 18 singers with 20 utterances each, and its table of labels."""
    with report_user_errors():
        if (out / SPLIT).exists():
            raise SingerVerifyError(f"{out / SPLIT}: already exists; choose another --out.")
        voices = [
            (register, voice)
            for number, register in enumerate(TRACT_RANGE_CM)
            for drawn in draw_voices(np.random.default_rng([seed, number]), register).values()
            for voice in drawn
        ]
        labels: list[dict[str, str]] = []
        for number, (register, voice) in enumerate(track(voices, "Singing"), start=1):
            folder = out / SPLIT / f"voice{number:02}"
            labels += write_singer(folder, voice, register, np.random.default_rng([seed, number]))
        table = pd.DataFrame(labels).sort_values("utterance")
        table.to_csv(out / CORPUS_TABLE_NAME, index=False, lineterminator="\n")


if __name__ == "__main__":
    typer.run(main)
