"""The preparation of the voice: pauses left out and the level set, alike in stores, crops, models and checkpoints."""

import math
import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from omegaconf import OmegaConf
from support.audio import MakeCorpus, sing_phrases
from support.train_process import PROJECT, train

from singer_verify.corpora.corpus import read_corpus
from singer_verify.data.datamodule import SingerDataModule
from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.features.mel import MelSpectrogram
from singer_verify.features.normalisation import NO_NORMALISATION
from singer_verify.features.precomputed import PrecomputedFeature
from singer_verify.features.recipe import build_feature, get_frame_settings
from singer_verify.features.trimming import TrimmedFeature
from singer_verify.features.voice import (
    DEFAULT_VOICE_SETTINGS,
    ActiveLevel,
    VoiceFeature,
    VoicePreparation,
    unwrap_feature,
    with_frame_settings,
)
from singer_verify.inference import AudioClip, load_model
from singer_verify.inference.frames import load_frames
from singer_verify.runs.checkpoints import read_checkpoint
from singer_verify.runs.model_metadata import METADATA_KEY
from singer_verify.store.extraction import load_or_compute_store
from singer_verify.store.utterance_frames import extract_frames

RATE = 16_000
MEL = MelSpectrogram(40)


def with_pause(seconds: float = 2.0) -> np.ndarray:
    voice = sing_phrases(1, 0, 3.0)
    return np.concatenate([voice[:RATE], np.zeros(round(seconds * RATE), np.float32), voice[RATE:]])


def test_a_training_leaves_out_pauses_and_sets_the_level_unless_told_otherwise() -> None:
    settings = OmegaConf.load(PROJECT / "conf/train.yaml").features
    assert {name: settings[name] for name in DEFAULT_VOICE_SETTINGS} == DEFAULT_VOICE_SETTINGS
    seed = OmegaConf.load(PROJECT / "conf/experiment/seed.yaml").features
    assert dict(seed) == {"activity_db": None, "level_db": None}


def test_a_recipe_that_names_neither_keeps_the_recording() -> None:
    assert build_feature(MEL.recipe).recipe == MEL.recipe
    assert get_frame_settings(MEL.recipe)["activity_db"] is None


@pytest.mark.parametrize("level_db", [-26.0, -40.0])
def test_the_active_level_is_set(level_db: float) -> None:
    samples = torch.from_numpy(with_pause())
    prepared = VoicePreparation(35.0, level_db).prepare_samples(samples, RATE)
    assert len(prepared) == pytest.approx(3 * RATE, abs=0.03 * RATE)
    assert 20 * math.log10(float(prepared.std())) == pytest.approx(level_db, abs=1e-3)
    kept = VoicePreparation(None, level_db).prepare_samples(samples, RATE)
    assert len(kept) == len(samples)
    ratio = kept[samples != 0] / samples[samples != 0]
    torch.testing.assert_close(ratio, torch.full_like(ratio, float(ratio[0])))
    quiet = VoicePreparation(35.0, None).prepare_samples(samples, RATE)
    torch.testing.assert_close(ActiveLevel(level_db)(quiet), prepared, rtol=1e-4, atol=1e-6)


def test_half_a_second_of_each_pause_is_kept_on_request() -> None:
    for pause_s, kept_s in ((2.0, 0.5), (12.0, 0.5), (0.3, 0.3)):
        samples = torch.from_numpy(with_pause(pause_s))
        prepared = VoicePreparation(35.0, None, pause_s=0.5).prepare_samples(samples, RATE)
        assert len(prepared) == pytest.approx((3 + kept_s) * RATE, abs=0.03 * RATE)
    feature = with_frame_settings(MEL, {"activity_db": 35, "pause_s": 0.5})
    assert feature.recipe == MEL.recipe | {"activity_db": 35, "pause_s": 0.5, "level_db": None}
    torch.testing.assert_close(feature(samples), MEL(prepared))


def test_trimming_comes_after_the_voice_and_frames_keep_their_times() -> None:
    settings = DEFAULT_VOICE_SETTINGS | {"voiced_only": True}
    feature = with_frame_settings(MEL, settings)
    assert isinstance(feature, VoiceFeature)
    assert isinstance(feature.feature, TrimmedFeature)
    assert unwrap_feature(feature) is MEL
    assert build_feature(feature.recipe).recipe == feature.recipe
    info, pieces = load_frames(AudioClip(with_pause(), RATE), feature, NO_NORMALISATION)
    assert info.times_s is not None
    assert len(info.times_s) == sum(map(len, pieces()))
    assert not ((info.times_s > 1.05) & (info.times_s < 2.9)).any()
    assert info.times_s[-1] > 4.5


def test_store_model_and_samples_give_the_same_frames(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    corpus = make_corpus(train=2, val=2, utterances=2)
    for number, path in enumerate(sorted(corpus.rglob("*.flac"))):
        soundfile.write(path, with_pause(0.5 + 0.1 * number), RATE)
    feature = with_frame_settings(MEL, DEFAULT_VOICE_SETTINGS)
    store = load_or_compute_store(read_corpus(corpus), "val", feature, tmp_path, "float32")
    for index, path in enumerate(store.paths):
        expected = extract_frames(corpus / path, feature).numpy()
        np.testing.assert_array_equal(store.get_utterance_frames(index), expected)
        _, pieces = load_frames(corpus / path, feature, NO_NORMALISATION)
        np.testing.assert_array_equal(torch.cat(list(pieces())).numpy(), expected)
        assert len(expected) < 310


def test_crops_computed_on_the_fly_hold_the_voice_alone(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    corpus = make_corpus(train=2, val=2, utterances=2)
    for number, path in enumerate(sorted(corpus.rglob("*.flac"))):
        soundfile.write(path, np.roll(with_pause(2.0), 2000 * number), RATE)
    feature = with_frame_settings(MEL, DEFAULT_VOICE_SETTINGS)
    modules = [
        SingerDataModule(
            str(corpus),
            feature,
            num_frames=40,
            singers_per_batch=2,
            store_root=str(tmp_path),
            store_dtype="float32",
            num_extraction_workers=0,
            samples_dtype="float32",
            on_the_fly=on_the_fly,
        )
        for on_the_fly in (False, True)
    ]
    crops = []
    for module in modules:
        module.prepare_data()
        module.setup()
        source = module.normalised.get("train") or module.stores["train"]
        batch = module.training_batches.batches(source, module.train_sampler, 3, 0, 1)[1]
        crops.append(module.transfer_batch_to_device(batch, torch.device("cpu"), 0).features)
    torch.testing.assert_close(crops[1], crops[0], atol=2e-4, rtol=0)
    assert float(crops[0].amax(dim=3).min()) > 0.3  # no crop holds a silent frame


def test_the_setting_travels_in_the_checkpoint(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    root = make_corpus(utterances=2)
    run = train(root, "features.activity_db=30", f"hydra.run.dir={tmp_path}/run", "trainer.max_steps=1")
    recipe = read_checkpoint(run / "checkpoints/best.ckpt")[METADATA_KEY]["recipe"]
    assert (recipe["activity_db"], recipe["level_db"]) == (30, -40)
    feature = load_model(run).feature
    assert isinstance(feature, VoiceFeature)
    assert feature.preparation == VoicePreparation(30, -40)
    with pytest.raises(SingerVerifyError, match=r"features.activity_db is 30 there, 35 here"):
        train(root, "features.activity_db=35", f"init_from={run}", "name=refused")
    tuned = train(root, f"init_from={run}", f"hydra.run.dir={tmp_path}/tuned", "trainer.max_steps=1")
    assert load_model(tuned).feature.recipe == feature.recipe


def test_a_recording_with_too_little_voice_is_skipped_by_name(make_corpus: MakeCorpus, tmp_path: Path) -> None:
    corpus = make_corpus(train=2, val=2, utterances=2)
    path = sorted((corpus / "val").rglob("*.flac"))[0]
    soundfile.write(path, np.concatenate([np.zeros(20 * RATE), sing_phrases(0, 0, 0.3)]), RATE)
    feature = with_frame_settings(MEL, DEFAULT_VOICE_SETTINGS)
    store = load_or_compute_store(read_corpus(corpus), "val", feature, tmp_path)
    (skipped,) = store.skipped
    assert "val_singer0/song0.flac: holds" in skipped
    assert "s of voice in 20.30 s; expected at least 0.5 s of singing" in skipped


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"activity_db": 0}, "features.activity_db=0: expected a number between 10 and 100"),
        ({"activity_db": True}, "features.activity_db=True: expected a number between 10 and 100"),
        ({"activity_db": 35, "pause_s": -1}, "features.pause_s=-1: expected a number between 0 and 10"),
        ({"level_db": 3}, "features.level_db=3: expected a number between -60 and -10"),
        ({"level_db": "loud"}, "features.level_db=loud: expected a number between -60 and -10"),
    ],
)
def test_refuses_settings_out_of_range(settings: dict[str, object], said: str) -> None:
    with pytest.raises(SingerVerifyError, match=said):
        with_frame_settings(MEL, settings)


def test_precomputed_features_are_taken_as_they_are() -> None:
    ready = PrecomputedFeature({"num_feats": 8, "sr": 16000, "hop_size": 160})
    assert with_frame_settings(ready, DEFAULT_VOICE_SETTINGS) is ready


def test_a_gradient_passes_through_the_preparation() -> None:
    samples = torch.from_numpy(with_pause(1.0)).requires_grad_()
    feature = with_frame_settings(MEL, DEFAULT_VOICE_SETTINGS)
    feature(samples).sum().backward()
    assert samples.grad is not None
    assert float(samples.grad[: RATE // 2].abs().sum()) > 0
    assert float(samples.grad[RATE + 800 : 2 * RATE - 800].abs().sum()) == 0.0


def test_what_is_no_voice_is_said_to_be_none() -> None:
    feature = with_frame_settings(MEL, DEFAULT_VOICE_SETTINGS)
    noise = 0.1 * torch.randn(3 * RATE, generator=torch.Generator().manual_seed(0))
    with pytest.raises(UtteranceError, match=r"holds no voice; expected at least 0\.5 s of singing"):
        feature(noise)


def test_it_is_told_how_much_of_a_corpus_is_voice_and_how_channels_were_mixed(
    make_corpus: MakeCorpus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    corpus = make_corpus(train=2, val=2, utterances=2)
    feature = with_frame_settings(MEL, DEFAULT_VOICE_SETTINGS)
    caplog.set_level("INFO")
    load_or_compute_store(read_corpus(corpus), "train", feature, tmp_path)
    assert "hold frames of a voice" not in caplog.text
    assert "channels" not in caplog.text
    for number, path in enumerate(sorted((corpus / "val").rglob("*.flac"))):
        voice = np.concatenate([np.zeros(9 * RATE, np.float32), sing_phrases(number, 0, 1.0)])
        soundfile.write(path, np.stack([voice, -voice], axis=1) if number < 2 else voice, RATE)
    load_or_compute_store(read_corpus(corpus), "val", feature, tmp_path, num_workers=1)
    assert "corpus-val: 4 s of 40 s hold frames of a voice; the rest are pauses and noise." in caplog.text
    assert "the channels of 2 of 4 recordings were not simply averaged (the first: val/val_singer0/song0" in caplog.text


def test_copies_do_not_count_as_pauses(
    make_corpus: MakeCorpus, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    corpus = make_corpus(train=2, val=2, utterances=1)
    for path in sorted((corpus / "val").rglob("*.flac")):
        for number in range(3):
            shutil.copy(path, path.with_name(f"{path.stem} ({number}).flac"))
    store = load_or_compute_store(
        read_corpus(corpus), "val", with_frame_settings(MEL, DEFAULT_VOICE_SETTINGS), tmp_path
    )
    assert (len(store.paths), len(store.skipped)) == (2, 6)
    assert "hold frames of a voice" not in caplog.text
