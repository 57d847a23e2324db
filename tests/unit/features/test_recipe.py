"""What every shipped recipe keeps: it is built from its yaml, gives what it says, and says what it needs."""

from pathlib import Path

import pytest
import soundfile
import torch
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from support.audio import sing
from support.train_process import PROJECT

from singer_verify.errors import UtteranceError
from singer_verify.features.feature import Feature
from singer_verify.features.recipe import build_feature, read_recipe
from singer_verify.features.voice import DEFAULT_VOICE_SETTINGS, unwrap_feature
from singer_verify.store.utterance_frames import extract_frames

SHIPPED = sorted(path.stem for path in (PROJECT / "conf/features").glob("*.yaml"))


def feature_named(*overrides: str) -> Feature:
    """From the settings that a training composes of what is typed."""
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        return build_feature(OmegaConf.to_container(compose("train", list(overrides)).features))


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_gives_what_it_says(name: str) -> None:
    feature = feature_named(f"features={name}")
    samples = torch.from_numpy(sing(1, 1.0, feature.sample_rate))
    frames = feature(samples)
    assert isinstance(feature, Feature)
    assert frames.dtype == torch.float32
    assert frames.shape[1] == feature.num_bins
    assert frames.isfinite().all()
    if name not in ("resemblyzer", "fbank"):  # one lengthens an utterance to whole partials, one has no reflected edges
        assert len(frames) == 1 + 1000 // feature.hop_ms
    assert 0 < feature.bandwidth_hz <= feature.sample_rate / 2
    rebuilt = build_feature(feature.recipe)
    assert rebuilt.recipe == feature.recipe
    torch.testing.assert_close(rebuilt(samples), frames, rtol=0, atol=0)
    assert build_feature(DEFAULT_VOICE_SETTINGS | read_recipe(name)).recipe == feature.recipe


@pytest.mark.parametrize("name", SHIPPED)
def test_a_shipped_recipe_bears_silence_inside_an_utterance(name: str) -> None:
    feature = feature_named(f"features={name}")
    samples = torch.from_numpy(sing(1, 1.5, feature.sample_rate))
    samples[: len(samples) // 2] = 0.0
    frames = feature(samples)
    assert frames.isfinite().all()
    assert frames.half().isfinite().all()  # as the store keeps them


def test_a_recipe_is_found_from_any_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_recipe("mel40")["num_bins"] == 40


@pytest.mark.parametrize(
    ("name", "file_rate", "bandwidths"),
    [
        ("mel128_44k", 16_000, "8000 Hz; the recipe extends to 22050"),
        ("mel40", 8000, "4000 Hz; the recipe extends to 7600"),
    ],
)
def test_refuses_a_recording_that_lacks_what_the_recipe_reaches_to(
    tmp_path: Path, name: str, file_rate: int, bandwidths: str
) -> None:
    soundfile.write(tmp_path / "a.wav", sing(1, 1.0, file_rate), file_rate)
    with pytest.raises(UtteranceError, match=f"a.wav: bandwidth is {bandwidths}"):
        extract_frames(tmp_path / "a.wav", build_feature(read_recipe(name)))


@pytest.mark.parametrize(("name", "file_rate"), [("mel128_44k", 44_100), ("mel128_44k", 48_000), ("mel40", 15_000)])
def test_a_recording_that_nearly_reaches_will_do(tmp_path: Path, name: str, file_rate: int) -> None:
    soundfile.write(tmp_path / "a.wav", sing(1, 1.0, file_rate), file_rate)
    assert len(extract_frames(tmp_path / "a.wav", build_feature(read_recipe(name))))


def test_features_can_be_stacked_and_followed_from_the_command_line() -> None:
    stack = unwrap_feature(feature_named("features=stack", "features.stack=[mel80,energy,mfcc]"))
    assert stack.num_bins == 80 + 1 + 20
    assert stack.recipe["stack"][0]["num_bins"] == 80
    assert feature_named("features=deltas", "features.base=energy", "features.orders=1").num_bins == 2
