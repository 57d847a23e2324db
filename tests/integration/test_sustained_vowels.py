"""The test set of sustained vowels: what is in it, and that conditions across vowels and notes can be asked of it."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from singer_verify.corpora.corpus import read_corpus
from singer_verify.corpora.labels import read_utterance_labels
from singer_verify.evaluation.conditions import Conditions, UtteranceMetadata, select_conditions
from singer_verify.evaluation.trials.trial_list import build_all_pairs

SCRIPT = Path(__file__).parents[2] / "scripts/make_sustained_vowels.py"


@pytest.mark.slow
def test_every_singer_sings_every_vowel_on_every_note(tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPT), "--out", str(tmp_path / "vowels")]
    subprocess.run(command, check=True, capture_output=True)
    split = read_corpus(tmp_path / "vowels", required=("val",)).splits["val"]
    paths = [utterance.path for utterance in split.utterances]
    labels = read_utterance_labels(paths, tmp_path / "vowels")
    assert set(labels) == {"gender", "technique", "vowel", "note"}
    sung = set(zip((item.singer for item in split.utterances), labels["vowel"], labels["note"], strict=True))
    assert (len(split.singers), len(paths), len(sung)) == (18, 18 * 5 * 4, 18 * 5 * 4)
    assert {soundfile.info(tmp_path / "vowels" / path).duration for path in paths} == {1.0}
    selection = select_conditions("cross vowel + cross note", labels)
    _, singer_index = np.unique([utterance.singer for utterance in split.utterances], return_inverse=True)
    trials = build_all_pairs(singer_index)
    conditions = Conditions(UtteranceMetadata(labels), selection.names)
    ((_, kept),) = conditions.iterate_masks(trials.left, trials.right)
    assert trials.is_target[kept].sum() == 18 * (5 * 4) * (4 * 3) / 2
    refused = subprocess.run(command, capture_output=True, text=True)
    assert refused.returncode == 1
    assert "already exists; choose another --out" in refused.stderr
