"""Measures of recordings for an evaluation, from the files to the page."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
from support.audio import MakeCorpus, sing
from support.cli import call
from support.untrained_model import make_run

from singer_verify.audio.measures import measure_recording
from singer_verify.features.mel import MelSpectrogram
from singer_verify.features.pitch import PitchContour
from singer_verify.features.precomputed import PrecomputedFeature
from singer_verify.features.stack import FeatureStack
from singer_verify.inference import load_model
from singer_verify.inference.evaluation import embed_split, evaluate
from singer_verify.inference.recording_measures import PitchDataset, find_f0_settings
from singer_verify.reports.evaluation.confounds import build_confound_remarks

RATE = 16_000


def make_stack() -> FeatureStack:
    return FeatureStack([MelSpectrogram(20).recipe, PitchContour(f0_min_hz=80.0).recipe])


def test_the_f0_tracker_of_a_recipe_is_found_wherever_it_is() -> None:
    expected = PitchContour(f0_min_hz=80.0).f0.settings
    assert find_f0_settings(make_stack().recipe) == expected
    assert find_f0_settings({"base": {"parts": (MelSpectrogram(20).recipe, make_stack().recipe)}}) == expected
    assert find_f0_settings(MelSpectrogram(20).recipe) is None


def test_the_share_of_voiced_frames_is_that_of_loud_ones(tmp_path: Path) -> None:
    voice, noise = sing(0, 1.0), (0.2 * np.random.default_rng(0).standard_normal(RATE)).astype(np.float32)
    for name, parts in {
        "voice": [voice],
        "pause": [voice, np.zeros(3 * RATE, np.float32)],
        "noise": [noise],
        "both": [voice, noise],
    }.items():
        soundfile.write(tmp_path / f"{name}.wav", np.concatenate(parts), RATE)
    names = ("voice", "pause", "noise", "both", "missing")
    measured = dict(zip(names, PitchDataset([tmp_path / f"{name}.wav" for name in names]), strict=False))
    assert measured["voice"].voiced_share > 0.9
    assert measured["pause"].voiced_share == pytest.approx(measured["voice"].voiced_share, abs=0.05)
    assert measured["noise"].voiced_share < 0.4
    assert measured["both"].voiced_share == pytest.approx(
        (measured["voice"].voiced_share + measured["noise"].voiced_share) / 2, abs=0.1
    )
    low = PitchDataset([tmp_path / "voice.wav"], PitchContour(f0_min_hz=400.0, f0_max_hz=1000.0).f0.settings)[0]
    assert low.median_f0_hz == measured["voice"].median_f0_hz
    assert low.voiced_share < 0.5


def write_confounded_corpus(make_corpus: MakeCorpus) -> Path:
    """Three singers, each as loud as none other, and a copy."""
    root = make_corpus(train=0, val=3, utterances=5, seconds=0.5)
    for singer in range(3):
        for path in sorted((root / f"val/val_singer{singer}").iterdir()):
            samples, rate = soundfile.read(path, dtype="float32")
            soundfile.write(path, samples * 10.0 ** (-singer), rate)
    shutil.copy(root / "val/val_singer0/song0.flac", root / "val/val_singer0/song0 (1).flac")
    rows = [f"{path.relative_to(root)},{path.parent.name[-1]}" for path in sorted(root.rglob("*.flac"))]
    (root / "corpus.csv").write_text("utterance,microphone\n" + "\n".join(rows) + "\n")
    return root


def test_measures_are_those_of_what_the_features_are_given(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    root = write_confounded_corpus(make_corpus)
    utterances = embed_split(load_model(make_run(tmp_path / "run")), root, "val", measures_recordings=True)
    assert list(utterances.measures) == ["duration_s", "level_db", "noise_db", "snr_db", "bandwidth_hz"]
    for number, path in enumerate(utterances.paths):
        expected = measure_recording(soundfile.read(root / path, dtype="float32")[0], RATE)
        found = {name: values[number] for name, values in utterances.measures.items()}
        assert found == pytest.approx({name: getattr(expected, name) for name in found}, abs=1e-4)


def test_an_evaluation_says_what_the_level_gives_away(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    root, model = write_confounded_corpus(make_corpus), make_run(tmp_path / "run")
    settings = ("--conditions", "microphone", "--resamples", 20, "--json")
    record = json.loads(call("evaluate", model, root, *settings))
    confounds = record["confounds"]
    alone = {part["property"]: part["conditions"][0]["eer"]["value"] for part in confounds["alone"]}
    assert (alone["microphone"], alone["level_db"]) == (0.0, 0.0)
    assert confounds["num_copies"] == 1
    assert confounds["remarks"][0].startswith("microphone alone would give an EER of 0.0 [0.0, 0.0] %")
    assert any("of one property alone: microphone (0.0 %), level (0.0 %)" in remark for remark in confounds["remarks"])
    without = json.loads(call("evaluate", model, root, *settings, "--no-confounds"))
    assert without["confounds"] is None
    assert without["metrics"] == record["metrics"]
    assert without["conditions"] == record["conditions"]


def test_features_that_use_pitch_have_their_tracker_judged(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    root = make_corpus(train=0, val=2, utterances=3)
    noise = np.random.default_rng(0).standard_normal(RATE // 2) * 0.2
    for singer in range(2):
        growl = np.concatenate([sing(singer, 0.1), noise + 1e-4 * singer])
        soundfile.write(root / f"val/val_singer{singer}/song2.flac", growl, RATE)
    techniques = {"song0": "belt", "song1": "belt", "song2": "growl"}
    rows = [f"{path.relative_to(root)},{techniques[path.stem]}" for path in root.rglob("*.flac")]
    (root / "corpus.csv").write_text("utterance,technique\n" + "\n".join(rows) + "\n")
    result = evaluate(load_model(make_run(tmp_path / "run", make_stack())), root, conditions="none", num_resamples=20)
    assert result.confounds is not None
    shares = {part.own.name: part.own.measures["voiced_share"] for part in result.confounds.values}
    assert shares["growl"] < 0.5 * shares["belt"]
    remarks = [remark for remark in build_confound_remarks(result) if remark.startswith("An f0 is found in")]
    assert len(remarks) == 1
    assert "of technique growl" in remarks[0]


def test_precomputed_features_have_labels_alone(make_ready_corpus: MakeCorpus, tmp_path: Path) -> None:
    root = make_ready_corpus(val=3, utterances=5)
    rows = [f"{path.relative_to(root)},{path.stem}" for path in sorted(root.rglob("*.npy"))]
    (root / "corpus.csv").write_text("utterance,song\n" + "\n".join(rows) + "\n")
    params = {"num_feats": 8, "sr": 16000, "hop_size": 160, "type": "mel"}
    result = evaluate(load_model(make_run(tmp_path / "run", PrecomputedFeature(params))), root, num_resamples=20)
    assert result.confounds is not None
    assert [floor.name for floor in result.confounds.floors] == ["song"]
