"""Serves singer × utterance batches of a corpus to Lightning, and its validation utterances in windows."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from singer_verify.corpora.several import read_corpora
from singer_verify.data.augmentation.chain import NO_AUGMENTATION, Augmentation
from singer_verify.data.batches import SingerBatches, WindowBatches
from singer_verify.data.disjoint import require_other_recordings
from singer_verify.data.drawing import BatchShape, require_equal_parts, sampler_of
from singer_verify.data.on_the_fly import CropFrames
from singer_verify.data.sampler import SingerSampler
from singer_verify.data.split_stores import SplitStores
from singer_verify.data.steps import StepsFrom
from singer_verify.data.training_crops import DrawnBatch, TrainingCrops
from singer_verify.data.windows import crop_lengths, window_groups
from singer_verify.errors import require_at_least, require_one_of
from singer_verify.features import Feature
from singer_verify.features.normalisation import NOT_NORMALISED, Normalisation
from singer_verify.features.prepared import ready_instead
from singer_verify.features.recipe import compared
from singer_verify.store.normalised import NormalisedStore, fitted
from singer_verify.store.packed import DTYPES, PackedStore
from singer_verify.workers import leave_signals_to_the_training, num_cores, start_method

VALIDATION_SEED = 0  # the batches of the validation loss are the same in every run
SINGERS_FROM = ("one_corpus", "all")


class SingerDataModule(pl.LightningDataModule):
    """Training batches and validation windows of one corpus, or of several.

    Args:
        root: the folder of a corpus, or a list of them, whose singers are named `corpus/singer` then.
        feature: makes frames from audio; a corpus of ready features brings its own recipe instead.
        num_frames: length of a training crop.
        singers_per_batch: distinct singers in a training batch; fewer, if the corpus has fewer.
        utterances_per_singer: crops of each.
        num_workers: processes that assemble training batches; 0 does it in the training process.
        num_val_batches: batches on which the validation loss is measured.
        windows_per_batch: evaluation windows that are embedded at once.
        store_root: folder where computed frames are kept for later runs.
        store_dtype: float16 or float32, of the frames on disk.
        num_extraction_workers: processes that compute frames; None takes one per available core.
        seed: of the batches.
        normalisation: of the frames, as they are read; with figures of a training split, if it is to keep these.
        window_frames: length of an evaluation window; None takes that of a crop.
        singers_from: of several corpora, those of a batch: `one_corpus`, whose channel tells nothing, or `all`.
        on_the_fly: compute the frames of training crops in the training, from packed samples.
        samples_dtype: int16 or float32, of the samples on disk.
        augmentation: of training crops.
        crop_seconds: length of a crop instead of `num_frames`, and of a window that is as long, whatever the hop.

    Raises:
        SingerVerifyError: a setting out of range, or a corpus that cannot be used.
    """

    def __init__(
        self,
        root: str | Sequence[str],
        feature: Feature,
        num_frames: int,
        singers_per_batch: int,
        utterances_per_singer: int,
        num_workers: int,
        num_val_batches: int,
        windows_per_batch: int,
        store_root: str,
        store_dtype: str,
        num_extraction_workers: int | None,
        seed: int,
        normalisation: Normalisation = NOT_NORMALISED,
        window_frames: int | None = None,
        singers_from: str = "one_corpus",
        on_the_fly: bool = False,
        samples_dtype: str = "int16",
        augmentation: Augmentation = NO_AUGMENTATION,
        crop_seconds: float | None = None,
    ) -> None:
        super().__init__()
        require_at_least(1, **{"data.num_frames": num_frames, "data.utterances_per_singer": utterances_per_singer})
        require_at_least(2, **{"data.singers_per_batch": singers_per_batch})
        require_at_least(0, **{"data.num_workers": num_workers, "seed": seed})
        require_at_least(1, **{"data.num_val_batches": num_val_batches, "data.windows_per_batch": windows_per_batch})
        require_one_of(DTYPES, **{"data.store_dtype": store_dtype})
        if num_extraction_workers is not None:
            require_at_least(0, **{"data.num_extraction_workers": num_extraction_workers})
        require_one_of(SINGERS_FROM, **{"data.singers_from": singers_from})
        self.corpus = read_corpora([Path(each) for each in ([root] if isinstance(root, str) else root)])
        self.feature = ready_instead(feature, self.corpus.root) if self.corpus.is_ready else feature
        self.num_frames, self.window_frames = crop_lengths(num_frames, window_frames, crop_seconds, self.feature.hop_ms)
        self.normalisation, self.seed, self.singers_from = normalisation, seed, singers_from
        crop_frames = CropFrames(self.feature, self.num_frames, samples_dtype, normalisation) if on_the_fly else None
        self.crop_frames, self.training_crops = crop_frames, TrainingCrops(crop_frames, augmentation, seed)
        self.singers_per_batch, self.utterances_per_singer = singers_per_batch, utterances_per_singer
        self.num_workers, self.num_val_batches, self.windows_per_batch = num_workers, num_val_batches, windows_per_batch
        num_extraction_workers = num_cores() if num_extraction_workers is None else num_extraction_workers
        self.split_stores = SplitStores(self.corpus, Path(store_root), store_dtype, num_extraction_workers)
        self.stores: dict[str, PackedStore] = {}  # train, then val
        self.normalised: dict[str, NormalisedStore] = {}
        self.train_sampler: SingerSampler

    @property
    def train_singers(self) -> tuple[str, ...]:
        return self.corpus.splits["train"].singers

    @property
    def recipe(self) -> dict[str, Any]:
        """The whole recipe of the frames, with the figures of the training split once they are known."""
        normalise = {"normalise": self.normalisation.name}
        return compared(self.feature.recipe | normalise) | self.normalisation.statistics

    def prepare_data(self) -> None:
        """Compute the frames of both splits, or find them computed; Lightning calls this in one process per machine."""
        if self.stores:
            return
        self.split_stores.log_contents()
        for split in ("train", "val"):
            self._store_of(split)

    def setup(self, stage: str | None = None) -> None:
        """Map the frames, gather the statistics that normalise them, and lay out the batches.

        Raises:
            SingerVerifyError: fewer than two singers in a split, a recording in both, or batches that cannot be divided
                among the devices.
        """
        if self.stores:
            require_equal_parts(self.train_sampler, self.trainer.world_size if self.trainer else 1)
            return
        self.stores = {split: self._store_of(split) for split in ("train", "val")}
        require_other_recordings(self.corpus.root, *self.stores.values())
        of_frames = {split: store for split, store in self.stores.items() if split == "val" or not self.crop_frames}
        if self.normalisation.needs_training_split:
            training = of_frames.get("train") or self.split_stores.of("train", self.feature)
            self.normalisation = fitted(self.normalisation, training)
        if self.crop_frames is not None:
            self.crop_frames.normalisation = self.normalisation
        self.normalised = {split: NormalisedStore(store, self.normalisation) for split, store in of_frames.items()}
        self.train_sampler = self._sampler("train", self.utterances_per_singer, self.seed)
        self.val_sampler = self._sampler("val", max(self.utterances_per_singer, 2), VALIDATION_SEED)

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        num_batches = self.trainer.max_steps * self.trainer.accumulate_grad_batches
        ranks = self.trainer.global_rank, self.trainer.world_size
        source = self.normalised.get("train") or self.stores["train"]
        dataset = self.training_crops.batches(source, self.train_sampler, num_batches, *ranks)
        first = self.trainer.fit_loop.epoch_loop.batch_progress.total.ready
        return DataLoader(
            dataset,
            batch_size=None,
            sampler=StepsFrom(first, num_batches),
            num_workers=self.num_workers,
            multiprocessing_context=start_method(self.num_workers),
            worker_init_fn=leave_signals_to_the_training,
            pin_memory=torch.cuda.is_available(),
        )

    def on_after_batch_transfer(self, batch: Any, dataloader_idx: int) -> Any:
        return self.training_crops.finished(batch) if isinstance(batch, DrawnBatch) else batch

    def val_dataloader(self) -> list[DataLoader[Any]]:
        """Two loaders: the fixed batches of the validation loss, and all utterances in windows.

        The few batches are the same on every rank; the windows are dealt out, group by group.
        """
        assert self.trainer is not None
        frames = self.normalised["val"]
        batches = SingerBatches(frames, self.val_sampler, self.num_val_batches)
        groups = window_groups(self.stores["val"].num_frames, self.window_frames, self.windows_per_batch)
        windows = WindowBatches(frames, groups[self.trainer.global_rank :: self.trainer.world_size])
        return [DataLoader(batches, batch_size=None), DataLoader(windows, batch_size=None)]

    def contents(self) -> dict[str, str]:
        """What each split holds: numbers of singers and utterances, and a checksum of the frames."""
        return {split: store.summary() for split, store in self.stores.items()}

    def utterances_of_batch(self, step: int) -> list[str]:
        """Paths of the utterances of training batch `step`, singer by singer."""
        return [str(path) for path in self.stores["train"].paths[self.train_sampler.batch(step).utterances.ravel()]]

    def _store_of(self, split: str) -> PackedStore:
        """Frames; of the training split, where frames are computed on the fly, samples."""
        on_the_fly = self.crop_frames if split == "train" else None
        return self.split_stores.of(split, on_the_fly.stored if on_the_fly else self.feature)

    def _sampler(self, split: str, utterances_per_singer: int, seed: int) -> SingerSampler:
        store = self.stores[split]
        num_frames_of = store.num_frames
        if split == "train" and self.crop_frames is not None:
            num_frames_of = self.crop_frames.num_frames_of(num_frames_of)
        shape = BatchShape(self.singers_per_batch, utterances_per_singer, self.num_frames)
        where, one_corpus = self.corpus.root / split, self.singers_from == "one_corpus"
        return sampler_of(store, where, num_frames_of, shape, seed, one_corpus)
