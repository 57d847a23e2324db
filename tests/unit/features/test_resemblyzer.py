"""The recipe of Resemblyzer's encoder: against librosa, by its properties, and against the package where installed."""

from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
import torch
from support.audio import sing

from singer_verify.data.windows import compute_window_starts
from singer_verify.features import resemblyzer
from singer_verify.features.recipe import build_feature
from singer_verify.features.resemblyzer import Resemblyzer, count_padded_frames, raise_volume
from singer_verify.inference import load_model
from singer_verify.training.import_weights import import_weights_as_run


def test_frames_are_librosas_mel_power() -> None:
    samples = np.concatenate([sing(1, 2.3) * 3.0, np.zeros(4000, np.float32)])  # ends in the silence that is added
    frames = Resemblyzer()(torch.from_numpy(samples)).numpy()
    expected = librosa.feature.melspectrogram(y=samples, sr=16_000, n_fft=400, hop_length=160, n_mels=40).T
    shared = min(len(frames), len(expected))
    assert frames.shape[1] == 40
    np.testing.assert_allclose(frames[:shared], expected[:shared], rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(("level_db", "expected_db"), [(-60.0, -30.0), (-30.5, -30.0), (-30.0, -30.0), (-12.0, -12.0)])
def test_volume_is_raised_to_30_db_below_full_scale_never_lowered(level_db: float, expected_db: float) -> None:
    samples = torch.randn(16_000, generator=torch.Generator().manual_seed(0))
    samples *= 10 ** (level_db / 20) / samples.square().mean().sqrt()
    rms = raise_volume(samples).square().mean().sqrt()
    assert 20 * torch.log10(rms).item() == pytest.approx(expected_db, abs=1e-3)


def test_quiet_and_very_quiet_recordings_have_the_same_frames() -> None:
    samples = torch.from_numpy(sing(2)) * 0.05
    torch.testing.assert_close(Resemblyzer()(samples), Resemblyzer()(samples / 10), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("piece_frames", [1, 100, 230, 231, 232])
def test_frames_are_the_same_in_pieces(piece_frames: int, monkeypatch: pytest.MonkeyPatch) -> None:
    samples = torch.from_numpy(sing(4, 2.3))
    whole = Resemblyzer()(samples)
    monkeypatch.setattr(resemblyzer, "PIECE_FRAMES", piece_frames)
    torch.testing.assert_close(Resemblyzer()(samples), whole, rtol=1e-5, atol=1e-9)


def test_silence_stays_silent() -> None:
    assert not Resemblyzer()(torch.zeros(16_000)).any()


@pytest.mark.parametrize(
    ("seconds", "starts"),
    [
        (0.02, [0]),
        (1.6, [0]),  # one partial exactly
        (1.9, [0]),  # the second, from 0.77 s, would be covered by 1.13 s of 1.6
        (2.0, [0, 77]),  # by 1.23 s
        (4.0, [0, 77, 154, 231]),
    ],
)
def test_evaluation_windows_are_the_partials(seconds: float, starts: list[int]) -> None:
    num_frames = count_padded_frames(round(seconds * 16_000))
    assert compute_window_starts(num_frames, 160).tolist() == starts
    assert len(Resemblyzer()(torch.from_numpy(sing(3, seconds)))) == num_frames


def test_the_recipe_rebuilds_it() -> None:
    feature = Resemblyzer()
    assert build_feature(feature.recipe).recipe == feature.recipe
    assert (feature.num_bins, feature.hop_ms, feature.sample_rate) == (40, 10.0, 16_000)


REAL_CLIPS = Path(__file__).parents[3].with_name("shared") / "singing/ravdess_song/val"


@pytest.fixture
def five_clips() -> list[Path]:
    clips = sorted(REAL_CLIPS.rglob("*.flac"))[::40]
    if len(clips) < 5:
        pytest.skip(f"needs five real clips below {REAL_CLIPS}")
    return clips[:5]


@pytest.mark.filterwarnings("ignore")  # scipy's, librosa's and setuptools', at a package of 2019
def test_embeddings_equal_the_packages_own(five_clips: list[Path], tmp_path: Path) -> None:
    """With and without the package's removal of silences, which is done here before our own program sees the clip."""
    resemblyzer = pytest.importorskip("resemblyzer")
    package = Path(resemblyzer.__file__).parent
    theirs = resemblyzer.VoiceEncoder("cpu", verbose=False)
    import_weights_as_run(package / "pretrained.pt", Resemblyzer(), 160, tmp_path / "run")
    ours = load_model(tmp_path / "run")
    for clip in five_clips:
        trimmed = tmp_path / f"{clip.stem}.wav"
        soundfile.write(trimmed, resemblyzer.preprocess_wav(clip), 16_000, subtype="FLOAT")
        whole = resemblyzer.audio.normalize_volume(soundfile.read(clip, dtype="float32")[0], -30, increase_only=True)
        expected = theirs.embed_utterance(resemblyzer.preprocess_wav(clip)), theirs.embed_utterance(whole)
        assert ours.embed(trimmed) @ expected[0] >= 0.9999
        assert ours.embed(clip) @ expected[1] >= 0.9999
