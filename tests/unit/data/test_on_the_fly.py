"""Frames computed in the training are the stored ones, for every crop; what cannot be is refused."""

from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch
from support.audio import SAMPLE_RATE, MakeCorpus, sing
from torch import Tensor
from torch.utils.data import DataLoader

from singer_verify.corpora.corpus import read_corpus
from singer_verify.data.augmentation.augmentation import NO_AUGMENTATION, AugmentationChain
from singer_verify.data.batches import SingerBatch, SingerBatchDataset, TrainingBatchPipeline
from singer_verify.data.datamodule import SingerDataModule
from singer_verify.data.on_the_fly import CropFeatureExtractor, ResidentSamples, read_reflected_segments
from singer_verify.data.sampler import SingerSampler
from singer_verify.errors import SingerVerifyError, UtteranceError
from singer_verify.features.fbank import Fbank
from singer_verify.features.feature import Feature
from singer_verify.features.ltas import LongTermAverage
from singer_verify.features.mel import MelSpectrogram
from singer_verify.features.mfcc import Mfcc
from singer_verify.features.modulation import ModulationSpectrum
from singer_verify.features.normalisation import NORMALISATIONS, Normalisation
from singer_verify.features.precomputed import PrecomputedFeature
from singer_verify.features.raw_waveform import RawWaveform
from singer_verify.features.resemblyzer import Resemblyzer
from singer_verify.features.trimming import TrimmedFeature
from singer_verify.store.extraction import load_or_compute_store
from singer_verify.store.packed import PackedStore

NUM_BATCHES = 12
RECIPES = {
    "mel40": MelSpectrogram(40),
    "another hop": MelSpectrogram(40, n_fft=512, hop_ms=12.5),
    "mfcc": Mfcc(13),
    "hop longer than half a window": MelSpectrogram(20, n_fft=512, hop_ms=25.0),
    "edges that are not reflected": Fbank(20),
    "frames that end with a hop": Fbank(20, frame_ms=20.0625),
    "a window longer than an utterance": LongTermAverage(MelSpectrogram(40)),
    "modulations": ModulationSpectrum(4),
}


@pytest.fixture
def corpus(make_corpus: MakeCorpus) -> Path:
    """Three singers; utterances of half a second to a bit more than the shortest, 16-bit."""
    root = make_corpus(utterances=2, seconds=0.5)
    for singer in range(3):
        for number, num_samples in enumerate((520, 1600, 3999, 4801 + singer)):
            path = root / f"train/train_singer{singer}/short{number}.flac"
            soundfile.write(path, sing(number, 1.0)[:num_samples], SAMPLE_RATE, subtype="PCM_16")
    return root


def datamodule(root: Path, feature: Feature, num_frames: int = 30, **more: object) -> SingerDataModule:
    places = str(root), feature, num_frames, 3, 3, 0, 2, str(root.parent / "store"), "float32", 0, 1
    data = SingerDataModule(*places, **more)
    data.prepare_data()
    data.setup()
    return data


def batches_of(data: SingerDataModule) -> list[SingerBatch]:
    source = data.normalised.get("train") or data.stores["train"]
    dataset = data.training_batches.batches(source, data.train_sampler, NUM_BATCHES, 0, 1)
    return [data.transfer_batch_to_device(dataset[step], torch.device("cpu"), 0) for step in range(NUM_BATCHES)]


@pytest.mark.parametrize("samples_dtype", ["int16", "float32"])
@pytest.mark.parametrize("recipe", RECIPES)
@pytest.mark.parametrize("num_frames", [12, 33])
def test_frames_are_the_stored_ones(corpus: Path, recipe: str, num_frames: int, samples_dtype: str) -> None:
    """Crops inside utterances, at their edges, and of utterances shorter than a crop, of the same singers."""
    feature = RECIPES[recipe]
    stored = datamodule(corpus, feature, num_frames)
    on_the_fly = datamodule(corpus, feature, num_frames, on_the_fly=True, samples_dtype=samples_dtype)
    starts = [stored.train_sampler.plan_batch(step).starts for step in range(NUM_BATCHES)]
    assert any(start.any() for start in starts) or num_frames * feature.hop_ms > 500
    for one, other in zip(batches_of(stored), batches_of(on_the_fly), strict=True):
        assert torch.equal(one.singers, other.singers)
        assert torch.allclose(one.features, other.features, atol=1e-4, rtol=0)


@pytest.mark.parametrize("on_the_fly", [False, True])
def test_utterances_shorter_than_a_crop_are_repeated_and_counted_in_a_warning(
    corpus: Path, caplog: pytest.LogCaptureFixture, on_the_fly: bool
) -> None:
    """Half a second has 51 frames, the short ones 4, 11, 25 and 31."""
    data = datamodule(corpus, MelSpectrogram(40), 40, on_the_fly=on_the_fly)
    assert (
        "66.7 % of the training utterances (12 of 18) are shorter than a crop of 40 frames and are repeated to fill "
        "it; half of them have 28 frames or fewer: shorten crops by data.num_frames or data.crop_seconds."
    ) in caplog.messages
    lengths = datamodule(corpus, MelSpectrogram(40), 40).stores["train"].num_frames
    for step, batch in enumerate(batches_of(data)):
        utterances = data.train_sampler.plan_batch(step).utterances
        for crop, length in zip(batch.features.flatten(0, 1), lengths[utterances].ravel(), strict=True):
            assert torch.equal(crop, crop[np.arange(40) % length])
    caplog.clear()
    datamodule(corpus, MelSpectrogram(40), 4, on_the_fly=on_the_fly)
    assert "shorter than a crop" not in caplog.text


def test_every_crop_of_an_utterance_is_cut_from_its_frames(tmp_path: Path) -> None:
    samples = np.random.default_rng(0).integers(-9000, 9000, 4321).astype(np.int16)
    store = PackedStore(samples[:, None], np.array([0, 4321]), np.zeros(1, np.int64), ("a",), np.array(["a"]), {})
    feature = MelSpectrogram(40)
    whole = feature(torch.from_numpy(samples / np.float32(32768)))
    crop_frames = CropFeatureExtractor(feature, 7, "int16")
    first_frames = np.arange(len(whole) - 6)
    first_samples = (first_frames - crop_frames.context_frames) * 160
    stretches = read_reflected_segments(store, np.zeros_like(first_frames), first_samples, crop_frames.num_samples)
    places = crop_frames.compute_frame_indices(np.full(len(first_frames), len(whole)))
    utterances = torch.zeros(len(first_frames), dtype=torch.int64)
    crops = crop_frames(torch.from_numpy(stretches) / 32768, torch.from_numpy(places), utterances)
    assert torch.allclose(crops, whole.unfold(0, 7, 1).mT, atol=1e-5, rtol=0)


def test_reflection_is_numpys_however_far_it_reaches() -> None:
    frames = np.arange(5, dtype=np.int16)[:, None]
    store = PackedStore(frames, np.array([0, 5]), np.zeros(1, np.int64), ("a",), np.array(["a"]), {})
    stretch = read_reflected_segments(store, np.zeros(1, np.int64), np.array([-13]), 30)
    np.testing.assert_array_equal(stretch[0], np.pad(frames[:, 0], (13, 12), "reflect"))


def test_samples_that_a_device_keeps_are_those_of_the_store(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Segments within an utterance and far beyond its ends, of a store and of some of its utterances."""
    monkeypatch.setattr("singer_verify.data.on_the_fly.UPLOADED_BYTES", 5000)
    whole = datamodule(corpus, MelSpectrogram(40), on_the_fly=True).stores["train"]
    generator = np.random.default_rng(0)
    for store in (whole, whole.select(set(whole.paths[::2].tolist()))):
        utterances = generator.integers(0, len(store.num_frames), 50)
        first = generator.integers(-9000, 9000, 50)
        found = ResidentSamples(store, torch.device("cpu")).read_reflected_segments(
            torch.from_numpy(utterances), torch.from_numpy(first), 3000
        )
        np.testing.assert_array_equal(found.numpy(), read_reflected_segments(store, utterances, first, 3000))


def test_batches_without_samples_are_completed_by_the_device(corpus: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = datamodule(corpus, MelSpectrogram(40), on_the_fly=True)
    expected = batches_of(data)
    assert data.training_batches.resident_samples is None
    monkeypatch.setattr(ResidentSamples, "fits", staticmethod(lambda store, device: True))
    dataset = data.training_batches.batches(
        data.stores["train"], data.train_sampler, NUM_BATCHES, device=torch.device("cpu")
    )
    for step, batch in enumerate(expected):
        found = data.transfer_batch_to_device(dataset[step], torch.device("cpu"), 0)
        assert torch.equal(found.features, batch.features)


def test_validation_reads_stored_frames(corpus: Path) -> None:
    data = datamodule(corpus, MelSpectrogram(40), on_the_fly=True)
    assert data.stores["val"].frames.shape[1] == 40
    assert data.stores["train"].frames.dtype == np.int16
    batch = SingerBatchDataset(data.stores["val"], data.val_sampler, 1)[0]
    assert torch.equal(data.transfer_batch_to_device(batch, torch.device("cpu"), 0).features, batch.features)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_workers_and_ranks_change_nothing(corpus: Path, num_workers: int) -> None:
    data = datamodule(corpus, MelSpectrogram(40), on_the_fly=True)
    whole = batches_of(data)
    dataset = data.training_batches.batches(data.stores["train"], data.train_sampler, NUM_BATCHES, 0, 1)
    loader = DataLoader(dataset, batch_size=None, num_workers=num_workers)
    for expected, drawn in zip(whole, loader, strict=True):
        assert torch.equal(data.training_batches.apply_augmentation(drawn).features, expected.features)
    of_ranks = [
        data.training_batches.batches(data.stores["train"], data.train_sampler, NUM_BATCHES, rank, 3)
        for rank in range(3)
    ]
    parts = [data.training_batches.apply_augmentation(dataset[4]).features for dataset in of_ranks]
    assert torch.allclose(torch.cat(parts), whole[4].features, atol=1e-6, rtol=0)


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_samples_are_stored_as_they_are_recorded(make_corpus: MakeCorpus, dtype: str) -> None:
    root = make_corpus(train=1, utterances=1)
    feature = RawWaveform(SAMPLE_RATE, dtype, 1, 8000)
    store = load_or_compute_store(read_corpus(root), "train", feature, root.parent / "store", dtype)
    recorded, _ = soundfile.read(root / "train/train_singer0/song0.flac", dtype="float32")
    np.testing.assert_array_equal(store.get_utterance_frames(0)[:, 0] * np.float32(feature.unit), recorded)


def test_whole_numbers_clip_at_full_scale_a_little_and_refuse_more() -> None:
    waveform = RawWaveform(SAMPLE_RATE, "int16", 1, 8000)
    stored = waveform(torch.tensor([-1.001, -1.0, 0.0, 0.25, 1.001]))
    assert stored[:, 0].tolist() == [-32768, -32768, 0, 8192, 32767]
    with pytest.raises(UtteranceError, match=r"reach 1\.5 × full scale, .* set data.samples_dtype=float32"):
        waveform(torch.tensor([-1.5, -1.0, 0.0, 0.25, 1.0]))


def test_utterances_without_a_frame_are_skipped_like_in_the_stored_frames(
    corpus: Path, caplog: pytest.LogCaptureFixture
) -> None:
    soundfile.write(corpus / "train/train_singer1/shortest.flac", sing(1)[:512], SAMPLE_RATE)
    stores = [datamodule(corpus, MelSpectrogram(40), on_the_fly=choice).stores["train"] for choice in (False, True)]
    assert len(stores[0].skipped) == 1
    assert stores[0].skipped == stores[1].skipped
    assert caplog.text.count("Skipped: ") == 2  # once for each training, although its stores are opened twice
    assert stores[0].paths.tolist() == stores[1].paths.tolist()


@pytest.mark.parametrize(
    ("feature", "said"),
    [
        (Resemblyzer(), "Resemblyzer, with these settings, computes its frames from whole utterances"),
        (
            MelSpectrogram(40, high_pass_hz=30),
            "MelSpectrogram, with these settings, computes its frames from whole utterances",
        ),
        (
            TrimmedFeature(MelSpectrogram(40), 40.0, False),
            "features.trim_silence_db=40.0 and features.voiced_only=False look at whole",
        ),
        (
            PrecomputedFeature({"num_feats": 8, "sr": 16000, "hop_size": 160}),
            "the corpus contains precomputed features; expected audio",
        ),
    ],
)
def test_refuses_what_needs_whole_utterances(feature: Feature, said: str) -> None:
    with pytest.raises(SingerVerifyError, match=said) as refusal:
        CropFeatureExtractor(feature, 10, "int16")
    assert "data.on_the_fly" in str(refusal.value)


@pytest.mark.parametrize("name", ["global_unit_variance", "global_bins"])
def test_figures_of_the_training_split_normalise_as_they_do_stored(corpus: Path, name: str) -> None:
    choices = {"normalisation": Normalisation(name)}
    stored, on_the_fly = (
        datamodule(corpus, MelSpectrogram(40), on_the_fly=choice, **choices) for choice in (False, True)
    )
    assert stored.recipe == on_the_fly.recipe
    for one, other in zip(batches_of(stored), batches_of(on_the_fly), strict=True):
        assert torch.allclose(one.features, other.features, atol=1e-3, rtol=0)  # a deviation of 0.1 becomes 1


def test_the_mean_of_an_utterance_is_removed_as_it_is_stored(corpus: Path) -> None:
    """The mean is that of the whole utterance, of which the crop is a part."""
    choices = {"normalisation": Normalisation("utterance_mean")}
    stored, on_the_fly = (datamodule(corpus, Fbank(20), 12, on_the_fly=choice, **choices) for choice in (False, True))
    assert stored.recipe == on_the_fly.recipe
    for one, other in zip(batches_of(stored), batches_of(on_the_fly), strict=True):
        assert torch.allclose(one.features, other.features, atol=1e-3, rtol=0)
        assert one.features.mean(dim=2).abs().max() > 0.1


class Quieter:
    """Another level and another channel for every crop, as a filter would leave them."""

    p, num_draws, context_ratio = 1.0, 0, 1.0

    def __call__(self, crops: Tensor, uniform: Tensor, sample_rate: int) -> Tensor:
        return 0.05 * crops


def test_what_an_augmentation_does_to_the_mean_is_removed_too(corpus: Path) -> None:
    choices = {"normalisation": Normalisation("utterance_mean"), "on_the_fly": True}
    plain = datamodule(corpus, Fbank(20), 12, **choices)
    augmented = datamodule(corpus, Fbank(20), 12, augmentation=AugmentationChain({"quieter": Quieter()}, {}), **choices)
    for one, other in zip(batches_of(plain), batches_of(augmented), strict=True):
        assert torch.allclose(one.features, other.features, atol=1e-3, rtol=0)


@pytest.mark.parametrize("name", NORMALISATIONS[1:4])
def test_refuses_normalisation_by_the_utterance(name: str) -> None:
    with pytest.raises(SingerVerifyError, match=f"normalise={name}: takes its statistics from whole utterances"):
        CropFeatureExtractor(MelSpectrogram(40), 10, "int16", Normalisation(name))


def test_refuses_another_dtype() -> None:
    with pytest.raises(SingerVerifyError, match=r"data\.samples_dtype=float16: expected one of int16, float32"):
        CropFeatureExtractor(MelSpectrogram(40), 10, "float16")


def test_stored_frames_without_augmentation_go_the_short_way() -> None:
    sampler = SingerSampler(np.array([0, 0, 1]), np.full(3, 9), 2, 1, 5, 0)
    frames: Tensor = torch.zeros(27, 2)
    store = PackedStore(frames.numpy(), np.arange(4) * 9, np.array([0, 0, 1]), ("a", "b"), np.array(["a"] * 3), {})
    assert isinstance(
        TrainingBatchPipeline(None, NO_AUGMENTATION, 0).batches(store, sampler, 2, 0, 1), SingerBatchDataset
    )


def test_crops_of_several_lengths_come_from_stored_frames(corpus: Path) -> None:
    data = datamodule(corpus, MelSpectrogram(40), 20, min_frames=8)
    lengths = {batch.features.shape[2] for batch in batches_of(data)}
    assert len(lengths) > 1
    assert lengths <= set(range(8, 21))
    with pytest.raises(SingerVerifyError, match=r"data\.min_frames: .* set data\.on_the_fly=false"):
        datamodule(corpus, MelSpectrogram(40), 20, min_frames=8, on_the_fly=True)
    with pytest.raises(SingerVerifyError, match=r"data\.min_frames=21: expected at most 20"):
        datamodule(corpus, MelSpectrogram(40), 20, min_frames=21)
