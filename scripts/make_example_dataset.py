"""Write the example corpus: synthetic singers, to try training and evaluation without recordings.

python scripts/make_example_dataset.py --out example_dataset --force
"""

import shutil
from pathlib import Path
from typing import Annotated

import numpy as np
import pandas as pd
import soundfile
import typer
import yaml
from rich.progress import track
from singing_synthesis import FORMANTS_HZ, SAMPLE_RATE, TECHNIQUES, Take, Voice, sing

from singer_verify.cli.console import report_user_errors
from singer_verify.corpora.labels import CORPUS_TABLE_NAME
from singer_verify.errors import SingerVerifyError

NUM_SINGERS = {"train": 6, "val": 3}  # for each register
NUM_UTTERANCES = 8
EXERCISES = ("scales", "arpeggios", "long_tones", "excerpt")
FEAT_PARAMS = {
    "type": "mel",
    "sr": 16000,
    "frame_size": 1024,
    "hop_size": 160,
    "num_feats": 40,
    "fmin": 90,
    "fmax": 7600,
}

# Ranges of voice properties; for units see singing_synthesis.Voice.
VOICE_RANGES = {
    "formant_1": (-0.10, 0.10),
    "formant_2": (-0.10, 0.10),
    "formant_3": (-0.14, 0.14),
    "formant_4": (-0.14, 0.14),
    "formant_5": (-0.14, 0.14),
    "bandwidth": (0.6, 2.0),
    "open_quotient": (0.45, 0.8),
    "tilt_db": (-1.0, 6.0),
    "breath_db": (-42.0, -14.0),
    "jitter": (0.002, 0.015),
    "shimmer_db": (0.1, 1.0),
    "vibrato_hz": (4.6, 6.8),
    "vibrato_semitones": (0.25, 0.9),
    "vibrato_onset_s": (0.05, 0.4),
    "glide_s": (0.03, 0.14),
    "ring_hz": (2400.0, 3400.0),
    "ring_db": (-6.0, 18.0),
    "trough_hz": (4000.0, 6000.0),
}
TRACT_RANGE_CM = {"male": (15.8, 19.0), "female": (12.8, 15.4)}
KEY_RANGE_MIDI = {"male": (42.0, 56.0), "female": (53.0, 67.0)}  # of the lowest note; the registers overlap


def draw_voices(rng: np.random.Generator, register: str) -> dict[str, list[Voice]]:
    """Draw the singers of a register as one Latin hypercube, and divide them into splits.

    Validation singers get inner strata of each property, so that they do not extrapolate the training singers.
    """
    num_train, num_val = NUM_SINGERS["train"], NUM_SINGERS["val"]
    num_all = num_train + num_val
    val_strata = np.linspace(1, num_all - 2, num_val).round().astype(int)
    train_strata = np.setdiff1d(np.arange(num_all), val_strata)
    columns = {}
    for name, (low, high) in {"tract_cm": TRACT_RANGE_CM[register], **VOICE_RANGES}.items():
        strata = np.concatenate([rng.permutation(train_strata), rng.permutation(val_strata)])
        columns[name] = low + (high - low) * (strata + rng.uniform(0.25, 0.75, num_all)) / num_all
    voices = [Voice(**{name: float(column[number]) for name, column in columns.items()}) for number in range(num_all)]
    return {"train": voices[:num_train], "val": voices[num_train:]}


def draw_takes(rng: np.random.Generator, register: str) -> list[Take]:
    """Draw the utterances of one singer, spread over the whole register; two of one exercise differ in vowel."""
    vowels, techniques = rng.permutation(list(FORMANTS_HZ)), rng.permutation(list(TECHNIQUES))
    low, high = KEY_RANGE_MIDI[register]
    key_strata = rng.permutation(NUM_UTTERANCES)
    return [
        Take(
            exercise=EXERCISES[number % len(EXERCISES)],
            technique=str(techniques[number % len(techniques)]),
            vowel=str(vowels[number % len(vowels)]),
            key_midi=low + (high - low) * (key_strata[number] + rng.uniform()) / NUM_UTTERANCES,
            duration_s=round(rng.uniform(3.5, 4.3), 1),
            articulation=np.exp(0.02 * rng.normal(size=5) + 0.008 * rng.normal()),  # each formant, the larynx
            gain_db=rng.uniform(-3.0, 3.0),
            recording_tilt_db=rng.uniform(-0.4, 0.4),
        )
        for number in range(NUM_UTTERANCES)
    ]


def write_singer(folder: Path, voice: Voice, register: str, seeds: list[int]) -> list[dict[str, str]]:
    """Write one singer's utterances and return their labels.

    Files are named like VocalSet's: singer, exercise, technique, vowel.
    """
    labels = []
    folder.mkdir(parents=True)
    short_name = f"{register[0]}{folder.name.removeprefix(register)}"
    for number, take in enumerate(draw_takes(np.random.default_rng(seeds), register)):
        samples = sing(voice, take, np.random.default_rng([*seeds, number]))
        name = f"{short_name}_{take.exercise}_{take.technique}_{take.vowel}.flac"
        soundfile.write(folder / name, samples, SAMPLE_RATE, subtype="PCM_16")
        location = {"utterance": f"{folder.parent.name}/{folder.name}/{name}", "singer": folder.name}
        sung = {"exercise": take.exercise, "technique": take.technique, "vowel": take.vowel}
        labels.append({**location, "split": folder.parent.name, "gender": register, **sung})
    return labels


def write_corpus(out: Path, seed: int) -> None:
    """Write all singers, the table of labels, and the mel settings that the corpus is meant for."""
    singers, labels = [], []
    for register_number, register in enumerate(TRACT_RANGE_CM):
        voices = draw_voices(np.random.default_rng([seed, register_number]), register)
        for split, split_voices in voices.items():
            singers += [(split, register, register_number, voice) for voice in split_voices]
    numbers = dict.fromkeys(TRACT_RANGE_CM, 0)
    for split, register, register_number, voice in track(singers, "Singing"):
        numbers[register] += 1
        folder = out / split / f"{register}{numbers[register]}"
        labels += write_singer(folder, voice, register, [seed, register_number, numbers[register]])
    table = pd.DataFrame(labels).sort_values("utterance")
    table.to_csv(out / CORPUS_TABLE_NAME, index=False, lineterminator="\n")
    (out / "feat_params.yaml").write_text(yaml.safe_dump(FEAT_PARAMS, sort_keys=False))


def main(
    out: Annotated[Path, typer.Option(help="Corpus folder to write.")] = Path("example_dataset"),
    seed: Annotated[int, typer.Option(help="Seed of the singers.")] = 3,
    force: Annotated[bool, typer.Option(help="Replace existing splits in the folder.")] = False,
) -> None:
    """Write the example corpus; an existing README is kept."""
    with report_user_errors():
        existing = [out / split for split in NUM_SINGERS if (out / split).exists()]
        if existing and not force:
            raise SingerVerifyError(f"{existing[0]}: already exists; choose another --out or replace it with --force.")
        for folder in existing:
            shutil.rmtree(folder)
        write_corpus(out, seed)


if __name__ == "__main__":
    typer.run(main)
