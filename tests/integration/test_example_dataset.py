"""The example data is what its README says: layout, names, size, determinism, and no problem that pitch solves."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from singer_verify.corpora.corpus import read_corpus
from singer_verify.corpora.labels import CORPUS_TABLE_NAME, NON_LABEL_COLUMNS, read_label_table
from singer_verify.features.precomputed import read_feat_params

PROJECT = Path(__file__).parents[2]
ROOT = PROJECT / "example_dataset"


def test_layout_and_names() -> None:
    corpus, labels = read_corpus(ROOT), read_label_table(ROOT / CORPUS_TABLE_NAME)
    assert [name for name in labels.columns if name not in NON_LABEL_COLUMNS] == [
        *("gender", "exercise", "technique", "vowel")
    ]
    assert [len(split.singers) for split in corpus.splits.values()] == [12, 6]
    for split in corpus.splits.values():
        assert sum(singer.startswith("male") for singer in split.singers) == len(split.singers) / 2
        for utterance in split.utterances:
            short_name = f"{utterance.singer[0]}{utterance.singer.lstrip('femal')}"
            assert re.fullmatch(rf"{short_name}_[a-z_]+_[aeiou]\.flac", Path(utterance.path).name)
            assert labels["gender"][utterance.path] == utterance.singer.rstrip("0123456789")
    assert len(list(ROOT.rglob("*.flac"))) == len(labels) == 18 * 8
    assert sum(path.stat().st_size for path in ROOT.rglob("*") if path.is_file()) < 8e6
    assert read_feat_params(ROOT).recipe["params"]["num_feats"] == 40


def test_utterances_last_about_four_seconds_and_do_not_clip() -> None:
    for path in sorted(ROOT.rglob("*.flac"))[::7]:
        samples, sample_rate = soundfile.read(path)
        assert sample_rate == 16_000
        assert 3.4 < samples.size / sample_rate < 4.6
        assert 0.01 < np.abs(samples).max() < 0.99


@pytest.mark.slow
def test_the_script_writes_the_same_again(tmp_path: Path) -> None:
    script = PROJECT / "scripts/make_example_dataset.py"
    command = [sys.executable, str(script), "--out", str(tmp_path / "again")]
    subprocess.run(command, check=True, capture_output=True)
    for path in sorted(ROOT.rglob("*.flac")):
        again, _ = soundfile.read(tmp_path / "again" / path.relative_to(ROOT))
        shipped, _ = soundfile.read(path)
        np.testing.assert_allclose(again, shipped, atol=2 / 32768)  # other processors round otherwise
    assert (tmp_path / "again/corpus.csv").read_bytes() == (ROOT / "corpus.csv").read_bytes()
    refused = subprocess.run(
        [sys.executable, str(script), "--out", str(tmp_path / "again")], capture_output=True, text=True
    )
    assert refused.returncode == 1
    assert "already exists; choose another --out or replace it with --force" in refused.stderr


@pytest.mark.slow
def test_pitch_alone_does_not_tell_singers_apart() -> None:
    command = [sys.executable, str(PROJECT / "scripts/example_difficulty.py"), str(ROOT)]
    said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    match = re.search(r"EER of the mean pitch on .*: ([\d.]+) % \(1128 trials\)", said)
    assert match is not None
    assert float(match[1]) >= 25.0


@pytest.mark.slow
def test_faults_put_into_it_are_found() -> None:
    command = [sys.executable, str(PROJECT / "scripts/benchmark_audit.py"), str(ROOT), "--each", "3"]
    said = subprocess.run(command, check=True, capture_output=True, text=True, encoding="utf-8").stdout
    rows = [[cell.strip() for cell in line.split("│")[1:-1]] for line in said.splitlines() if line.startswith("│")]
    recall = {name: float(percent) for name, _, percent, *_ in rows}
    for fault in ("copy, another name", "excerpt, another name", "clipping", "hum"):
        assert recall[fault] == 100.0, said
    assert recall["swapped label"] == 0.0  # without a model
