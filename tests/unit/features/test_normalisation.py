"""Normalisation against slow loops, on the training split as a whole, the same in training and embedding."""

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from sklearn.preprocessing import StandardScaler
from support.audio import MakeCorpus
from support.train_process import prepare, train

from singer_verify.data.batches import SingerBatchDataset, WindowBatchDataset
from singer_verify.data.sampler import SingerSampler
from singer_verify.data.windows import build_window_groups
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.averaging import average_by_group
from singer_verify.features.normalisation import (
    GLOBAL_NORMALISATIONS,
    NORMALISATIONS,
    Normalisation,
    compute_frame_statistics,
    pool_over_bins,
    pool_over_frames,
)
from singer_verify.inference import load_model
from singer_verify.runs.checkpoints import read_checkpoint
from singer_verify.runs.model_metadata import METADATA_KEY
from singer_verify.store.packed import NormalisedStore, PackedStore, fit_normalisation
from singer_verify.training.import_weights import import_weights_as_run

LENGTHS = (7, 1, 40, 12, 3)


def packed(seed: int = 0, bins: int = 4, lengths: tuple[int, ...] = LENGTHS, dtype: str = "float32") -> PackedStore:
    """Utterances around levels and with spreads of their own; the last bin never changes."""
    generator = np.random.default_rng(seed)
    frames = np.concatenate(
        [generator.normal(generator.normal(0, 9, bins), generator.uniform(0.1, 5, bins), (n, bins)) for n in lengths]
    )
    frames[:, -1] = 0.1
    return PackedStore(
        frames.astype(dtype),
        np.concatenate([[0], np.cumsum(lengths)]),
        np.arange(len(lengths)) % 2,
        ("a", "b"),
        np.array([str(number) for number in range(len(lengths))], object),
        {},
    )


def slowly_normalised(store: PackedStore, name: str) -> list[np.ndarray]:
    """Utterance by utterance, in double precision, from the definition."""
    everything = store.frames.astype(np.float64)
    results = []
    for index in range(len(store.num_frames)):
        frames = store.get_utterance_frames(index).astype(np.float64)
        if name == "utterance_zero_one":
            results.append((frames - frames.min()) / (frames.max() - frames.min()))
            continue
        source = everything if name in GLOBAL_NORMALISATIONS else frames
        axis = 0 if name.endswith("bins") else None
        if name == "utterance_mean":
            results.append(frames - frames.mean(axis=0))
            continue
        mean, deviation = source.mean(axis=axis), np.asarray(source.std(axis=axis))
        results.append((frames - mean) / np.where(deviation < 1e-12, 1.0, deviation))
    return results


@pytest.mark.parametrize("chunk_frames", [1, 8, 45, 10_000])
def test_statistics_are_those_of_a_loop(chunk_frames: int) -> None:
    store = packed()
    statistics = compute_frame_statistics(store.frames, store.offsets, chunk_frames)
    for index in range(len(LENGTHS)):
        frames = store.get_utterance_frames(index).astype(np.float64)
        np.testing.assert_allclose(statistics.mean[index], frames.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(statistics.variance[index], frames.var(axis=0), rtol=1e-9, atol=1e-20)
        np.testing.assert_array_equal(statistics.lowest[index], frames.min(axis=0))
        np.testing.assert_array_equal(statistics.highest[index], frames.max(axis=0))


def test_pooled_statistics_are_scikit_learns() -> None:
    store = packed()
    mean, variance = pool_over_frames(compute_frame_statistics(store.frames, store.offsets, 8))
    scaler = StandardScaler().fit(store.frames.astype(np.float64))
    np.testing.assert_allclose(mean, scaler.mean_, rtol=1e-10)
    np.testing.assert_allclose(variance, scaler.var_, rtol=1e-10, atol=1e-20)
    together = pool_over_bins(mean, variance)
    values = store.frames.astype(np.float64)
    np.testing.assert_allclose(together, ([values.mean()], [values.var()]), rtol=1e-10)


def test_a_large_level_does_not_swallow_a_small_variance() -> None:
    frames = 1e6 + np.random.default_rng(0).integers(0, 2, (1000, 1)).astype(np.float64)
    statistics = compute_frame_statistics(frames, np.array([0, 300, 1000]))
    np.testing.assert_allclose(pool_over_frames(statistics)[1], frames.var(axis=0), rtol=1e-9)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
@pytest.mark.parametrize("name", NORMALISATIONS[1:])
def test_whole_utterances_are_those_of_a_loop(name: str, dtype: str) -> None:
    store = packed(dtype=dtype)
    normalisation = fit_normalisation(Normalisation(name), store)
    normalised = NormalisedStore(store, normalisation)
    for index, expected in enumerate(slowly_normalised(store, name)):
        (crop,) = normalised.read_crops(np.array([index]), np.array([0]), LENGTHS[index])
        assert crop.dtype == np.float32
        np.testing.assert_allclose(crop, expected, atol=2e-5)
        np.testing.assert_array_equal(normalisation.normalise(store.get_utterance_frames(index)), crop)


@pytest.mark.parametrize("name", NORMALISATIONS)
def test_a_crop_is_a_slice_of_the_normalised_utterance_repeated_where_that_is_short(name: str) -> None:
    store = packed()
    normalisation = fit_normalisation(Normalisation(name), store)
    utterances, starts, num_frames = np.array([2, 3, 4, 1, 2]), np.array([11, 2, 0, 0, 30]), 10
    crops = NormalisedStore(store, normalisation).read_crops(utterances, starts, num_frames)
    for crop, utterance, start in zip(crops, utterances, starts, strict=True):
        whole = normalisation.normalise(store.get_utterance_frames(int(utterance)))
        places = np.arange(start, start + num_frames) % len(whole)
        np.testing.assert_array_equal(crop, whole[places])


def test_none_leaves_the_frames_and_their_dtype_alone() -> None:
    store = packed(dtype="float16")
    crops = NormalisedStore(store, Normalisation()).read_crops(np.array([2]), np.array([0]), 5)
    assert crops.dtype == np.float16
    np.testing.assert_array_equal(crops[0], store.get_utterance_frames(2)[:5])


def test_the_normalised_training_split_has_mean_0_and_variance_1() -> None:
    store = packed(lengths=(50, 80, 31), bins=3)
    for name in GLOBAL_NORMALISATIONS:
        normalisation = fit_normalisation(Normalisation(name), store)
        frames = np.concatenate([normalisation.normalise(store.get_utterance_frames(index)) for index in range(3)])
        axis = 0 if name == "global_bins" else None
        np.testing.assert_allclose(frames.mean(axis=axis), 0.0, atol=1e-5)
        variance = frames.var(axis=axis)
        np.testing.assert_allclose(variance[:-1] if axis == 0 else variance, 1.0, rtol=1e-5)
    np.testing.assert_allclose(frames[:, -1], 0.0, atol=1e-6)  # the bin that never changes


@pytest.mark.parametrize("level", [0.0, 0.1, -100.0, 1e-6])
@pytest.mark.parametrize("name", NORMALISATIONS[1:])
def test_an_utterance_of_one_value_becomes_zeros(name: str, level: float) -> None:
    frames = np.full((20, 3), level, np.float32)
    training = compute_frame_statistics(frames, np.array([0, 20]))
    normalised = Normalisation(name).fit(training).normalise(frames)
    np.testing.assert_allclose(normalised, 0.0, atol=1e-5)


def test_the_scale_of_tiny_frames_does_not_matter() -> None:
    frames = np.random.default_rng(0).normal(size=(30, 3)).astype(np.float32)
    for name in NORMALISATIONS[1:4]:
        expected = Normalisation(name).normalise(frames)
        np.testing.assert_allclose(Normalisation(name).normalise(frames * 2.0**-40), expected, rtol=1e-5)


def test_it_travels_in_a_recipe_of_plain_values() -> None:
    store = packed()
    for name in NORMALISATIONS:
        normalisation = fit_normalisation(Normalisation(name), store)
        recipe = json.loads(json.dumps({"normalise": name} | normalisation.statistics))
        assert ("statistics" in recipe) == (name in GLOBAL_NORMALISATIONS)
        again = Normalisation.from_recipe(recipe)
        frames = store.get_utterance_frames(2)
        np.testing.assert_array_equal(again.normalise(frames), normalisation.normalise(frames))
    assert Normalisation.from_recipe({"_target_": "..."}).name == "none"


@pytest.mark.parametrize(
    ("recipe", "said"),
    [
        ({"normalise": "cmvn"}, "features.normalise=cmvn: expected one of none, utterance_zero_one, "),
        (
            {"normalise": "global_bins", "statistics": {"mean": [0.0]}},
            "statistics.deviation: expected a list of numbers",
        ),
        ({"normalise": "global_bins", "statistics": [1.0]}, "statistics.mean: expected a list of numbers"),
        ({"normalise": "global_bins"}, "carries no statistics of a training split; train with it"),
    ],
)
def test_refuses_what_it_cannot_do(recipe: dict[str, Any], said: str) -> None:
    with pytest.raises(SingerVerifyError, match=said):
        Normalisation.from_recipe(recipe).normalise(np.zeros((3, 2), np.float32))


def test_batches_and_windows_are_normalised() -> None:
    store = packed(lengths=(30, 40, 25, 50), bins=3)
    normalised = NormalisedStore(store, Normalisation("utterance_bins"))
    sampler = SingerSampler(store.singer_index, store.num_frames, 2, 2, 20, seed=0)
    batch, plan = SingerBatchDataset(normalised, sampler, 1)[0], sampler.plan_batch(0)
    expected = slowly_normalised(store, "utterance_bins")
    for row, utterance in enumerate(plan.utterances.ravel()):
        start = plan.starts.ravel()[row]
        crop = batch.features.flatten(0, 1)[row].numpy()
        np.testing.assert_allclose(crop, expected[utterance][start : start + 20], atol=2e-5)
    windows = WindowBatchDataset(normalised, build_window_groups(store.num_frames, 50, 8))
    for group in windows:
        for window, utterance in zip(group.features.numpy(), group.utterances.tolist(), strict=True):
            np.testing.assert_allclose(window, expected[utterance], atol=2e-5)


@pytest.mark.parametrize("name", ["utterance_bins", "global_bins"])
def test_a_file_is_embedded_as_in_validation(make_corpus: MakeCorpus, tmp_path: Path, name: str) -> None:
    settings = f"features.normalise={name}", "data.store_dtype=float32", f"hydra.run.dir={tmp_path}/run"
    root = make_corpus(utterances=2)
    embedder = load_model(train(root, *settings, "trainer.max_steps=2"))
    data = prepare(root, *settings)
    store = data.stores["val"]
    windows = WindowBatchDataset(data.normalised["val"], build_window_groups(store.num_frames, 30, 8))
    with torch.inference_mode():
        parts = [(embedder.encoder(batch.features), batch.utterances) for batch in windows]
    embeddings, utterances = (torch.cat(part) for part in zip(*parts, strict=True))
    expected = average_by_group(embeddings.numpy(), utterances.numpy())
    from_files = np.stack([embedder.embed(root / path) for path in store.paths])
    np.testing.assert_allclose(from_files, expected, atol=1e-5)


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_ready_corpus(tmp_path_factory.mktemp("data") / "corpus", 0)


@pytest.fixture(scope="module")
def base(corpus: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "base"
    return train(corpus, "features.normalise=global_bins", f"hydra.run.dir={folder}")


def write_ready_corpus(root: Path, seed: int) -> Path:
    generator = np.random.default_rng(seed)
    for split, singers in (("train", "abc"), ("val", "xy")):
        for singer in singers:
            folder = root / split / f"singer_{singer}"
            folder.mkdir(parents=True)
            for utterance in range(2):
                np.save(folder / f"{utterance}.npy", seed + 3 * generator.random((40 + utterance, 6)))
    (root / "feat_params.yaml").write_text("num_feats: 6\nsr: 16000\nhop_size: 160\n")
    return root


def card_recipe(run: Path) -> dict[str, Any]:
    recipe: dict[str, Any] = read_checkpoint(run / "checkpoints/best.ckpt")[METADATA_KEY]["recipe"]
    return recipe


def test_the_checkpoint_carries_the_statistics_of_the_training_split(base: Path, corpus: Path) -> None:
    frames = np.concatenate([np.load(path) for path in sorted((corpus / "train").rglob("*.npy"))])
    statistics = card_recipe(base)["statistics"]
    np.testing.assert_allclose(statistics["mean"], frames.astype(np.float16).mean(axis=0, dtype=np.float64), rtol=1e-9)
    deviation = frames.astype(np.float16).astype(np.float64).std(axis=0)
    np.testing.assert_allclose(statistics["deviation"], deviation, rtol=1e-9)
    written = yaml.safe_load((base / "config.yaml").read_text())["features"]
    assert written["normalise"] == "global_bins"
    assert "statistics" not in written


def test_all_normalisations_share_the_stored_frames(base: Path, corpus: Path, tmp_path: Path) -> None:
    before = sorted(path.name for path in (corpus.parent / "store").iterdir())
    train(corpus, "features.normalise=utterance_bins", f"hydra.run.dir={tmp_path}/run", "trainer.max_steps=1")
    assert sorted(path.name for path in (corpus.parent / "store").iterdir()) == before


def test_a_child_on_another_corpus_keeps_its_parents_statistics(
    base: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = write_ready_corpus(tmp_path / "other", 7)
    child = train(other, "features.normalise=global_bins", f"init_from={base}", "name=child")
    assert card_recipe(child) == card_recipe(base)
    said = " ".join((child / "train.log").read_text().split())
    assert "normalised by the statistics of its training corpus, which its weights were trained with." in said


def test_another_normalisation_than_the_parents_is_refused(base: Path, corpus: Path) -> None:
    with pytest.raises(SingerVerifyError, match=r"features.normalise is global_bins there, none here"):
        train(corpus, f"init_from={base}", "name=refused")


def test_a_continued_run_keeps_its_own_statistics(corpus: Path, tmp_path: Path) -> None:
    settings = "features.normalise=global_unit_variance", f"hydra.run.dir={tmp_path}/run"
    run = train(corpus, *settings, "trainer.max_steps=2")
    last = run / "checkpoints/last.ckpt"
    content = read_checkpoint(last)
    content[METADATA_KEY]["recipe"]["statistics"]["mean"][0] += 0.25  # to be recognised by
    torch.save(content, last)
    train(corpus, *settings, f"ckpt_path={last}", "trainer.max_steps=4")
    assert read_checkpoint(last)[METADATA_KEY]["recipe"] == content[METADATA_KEY]["recipe"]
    with pytest.raises(
        SingerVerifyError, match=r"features.normalise global_unit_variance → global_bins: cannot change"
    ):
        train(corpus, *settings[1:], "features.normalise=global_bins", f"ckpt_path={last}")


def test_imported_weights_need_their_statistics(base: Path, tmp_path: Path) -> None:
    embedder = load_model(base)
    torch.save({"model_state": embedder.encoder.state_dict()}, tmp_path / "weights.pt")
    with pytest.raises(SingerVerifyError, match="needs the statistics of its training corpus; add them to the recipe"):
        import_weights_as_run(
            tmp_path / "weights.pt", embedder.feature, 30, tmp_path / "x", Normalisation("global_bins")
        )
    import_weights_as_run(tmp_path / "weights.pt", embedder.feature, 30, tmp_path / "run", embedder.normalisation)
    assert card_recipe(tmp_path / "run") == card_recipe(base)


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("singer_verify").setLevel(logging.NOTSET)
