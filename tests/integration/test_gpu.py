"""On a GPU: embeddings stay there and are those of the processor, and a training stops and continues."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate
from pytorch_lightning.utilities import move_data_to_device
from support.audio import SAMPLE_RATE, sing
from support.tiny_run import make_corpus, run, tiny
from support.train_process import PROJECT
from support.untrained_model import make_run

from singer_verify import load_model
from singer_verify.data.batches import PackedDraws, PendingBatch, SingerBatch, TrainingBatchPipeline
from singer_verify.data.on_the_fly import (
    CropFeatureExtractor,
    ResidentSamples,
    SampleBatch,
    read_reflected_segments,
)
from singer_verify.features.mel import MelSpectrogram
from singer_verify.features.normalisation import Normalisation
from singer_verify.store.packed import PackedStore

pytestmark = pytest.mark.gpu


def test_samples_on_the_gpu_are_embedded_there(tmp_path: Path) -> None:
    folder = make_run(tmp_path / "run")
    samples = torch.from_numpy(np.stack([sing(seed, 2.0) for seed in range(3)]))
    there = load_model(folder, device="cuda").embed(samples.cuda())
    assert there.device.type == "cuda"
    assert torch.allclose(there.cpu(), load_model(folder, device="cpu").embed(samples), atol=1e-3)
    recording = sing(0, 2.0)
    here = load_model(folder, device="cuda").embed(recording, SAMPLE_RATE)
    np.testing.assert_allclose(here, load_model(folder, device="cpu").embed(recording, SAMPLE_RATE), atol=1e-3)


def test_gradients_reach_samples_on_the_gpu(tmp_path: Path) -> None:
    module = load_model(make_run(tmp_path / "run"), device="cuda").torch_module()
    samples = torch.from_numpy(sing(0, 2.0))[None].cuda().requires_grad_()
    module(samples).sum().backward()
    assert samples.grad is not None
    assert samples.grad.isfinite().all()


def test_a_training_on_the_gpu_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    corpus = make_corpus(tmp_path / "corpus")
    settings = [*tiny(corpus), "trainer.accelerator=gpu", "trainer.devices=1"]
    folder = run(monkeypatch, *settings, "trainer.max_steps=5", folder=tmp_path / "run")
    run(monkeypatch, *settings, "trainer.max_steps=9", f"resume={folder}", folder=folder)
    assert torch.load(folder / "checkpoints/last.ckpt", weights_only=True)["global_step"] == 9
    assert load_model(folder).device.type == "cuda"


def test_augmentation_on_the_gpu_is_that_of_the_processor_and_lets_the_host_go_on() -> None:
    """Frames and augmentation of a batch; a first batch builds what depends on sizes only."""
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        chain = instantiate(compose("augmentation/strong").augmentation)
    extractor = CropFeatureExtractor(MelSpectrogram(40), 100, "int16", Normalisation("utterance_mean"))
    extractor.scaling = torch.zeros(8, 40), torch.ones(8, 40)
    pipeline = TrainingBatchPipeline(extractor, chain, 1)
    width = extractor.num_samples + 2 * chain.compute_margin_samples(extractor.num_samples)
    voices = np.stack([sing(seed, width / SAMPLE_RATE)[:width] for seed in range(40)])
    samples = SampleBatch(
        torch.from_numpy((voices * 32_000).astype(np.int16)).view(4, 10, -1),
        torch.zeros(4, 10, dtype=torch.int64),
        torch.arange(100).expand(4, 10, 100),
        torch.arange(40).view(4, 10) % 8,
        torch.arange(4),
    )
    pending = [PendingBatch(samples, PackedDraws.pack(chain.draw(1, step, range(40)))) for step in range(3)]
    expected = [pipeline.apply_augmentation(batch).features for batch in pending]
    there = move_data_to_device(pending, torch.device("cuda"))
    torch.cuda.synchronize()
    pipeline.apply_augmentation(there[0])
    torch.cuda.set_sync_debug_mode("error")
    try:
        found = [pipeline.apply_augmentation(batch).features for batch in there]
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for one, other in zip(found, expected, strict=True):
        assert (one.cpu() - other).norm() < 1e-4 * other.norm()
        # A level is logarithmic: in a band next to silence it tells rounding errors apart.
        assert torch.allclose(one.cpu(), other, atol=1e-2, rtol=0)
    assert samples.samples is not None
    augmented = [
        chain.augment_samples(samples.samples.flatten(0, 1).to(device) / 2**15, batch.draws.unpack(), 16_000, 16_000)
        for device, batch in (("cpu", pending[1]), ("cuda", there[1]))
    ]
    errors = (augmented[1].cpu() - augmented[0]).norm(dim=1) / augmented[0].norm(dim=1)
    assert errors.max() < 1e-4


def test_a_batch_is_completed_beside_the_training() -> None:
    """What the training's stream still works on does not delay it, and is not mixed up with it."""
    with initialize_config_dir(str(PROJECT / "conf"), version_base="1.3"):
        chain = instantiate(compose("augmentation/spec_augment").augmentation)
    pipeline, device = TrainingBatchPipeline(None, chain, 1), torch.device("cuda", torch.cuda.current_device())
    frames = [torch.rand(8, 10, 160, 40, generator=torch.Generator().manual_seed(step)) for step in range(30)]
    pending = [
        PendingBatch(SingerBatch(part, torch.arange(8)), PackedDraws.pack(chain.draw(1, step, range(80))))
        for step, part in enumerate(frames)
    ]
    sums = []
    for batch in pending:
        torch.cuda._sleep(1_000_000)
        features = pipeline.complete_batch(batch, device).features
        sums.append(features.double().sum())
        del features  # its memory may be taken by the next batch, but not before it was read
    expected = [pipeline.apply_augmentation(batch).features.double().sum() for batch in pending]
    assert torch.allclose(torch.stack(sums).cpu(), torch.stack(expected), rtol=1e-6)


def test_samples_that_the_gpu_keeps_are_those_of_the_store() -> None:
    generator = np.random.default_rng(0)
    samples = generator.integers(-9000, 9000, 9001).astype(np.int16)[:, None]
    offsets = np.array([0, 4001, 9001])
    store = PackedStore(samples, offsets, np.zeros(2, np.int64), ("a",), np.array(["a", "b"]), {})
    utterances, first = generator.integers(0, 2, 30), generator.integers(-5000, 9000, 30)
    device = torch.device("cuda")
    assert ResidentSamples.fits(store, device)
    found = ResidentSamples(store, device).read_reflected_segments(
        torch.from_numpy(utterances).to(device), torch.from_numpy(first).to(device), 3000
    )
    np.testing.assert_array_equal(found.cpu().numpy(), read_reflected_segments(store, utterances, first, 3000))
