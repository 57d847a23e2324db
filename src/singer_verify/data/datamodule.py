"""The data of a training: singer × utterance batches of a corpus, and its evaluation utterances in windows."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float, Int
from lightning_utilities.core.rank_zero import rank_zero_only
from torch import Tensor
from torch.utils.data import DataLoader, Sampler

from singer_verify.corpora.corpus import Corpus, compute_corpus_indices, read_corpora
from singer_verify.corpora.folds import divide_into_folds
from singer_verify.corpora.labels import read_utterance_labels
from singer_verify.corpora.names import find_typed_path
from singer_verify.corpora.subsets import limit_singers, require_positive_minutes
from singer_verify.data.augmentation.augmentation import NO_AUGMENTATION, AugmentationChain
from singer_verify.data.batches import PendingBatch, SingerBatchDataset, TrainingBatchPipeline, WindowBatchDataset
from singer_verify.data.on_the_fly import CropFeatureExtractor
from singer_verify.data.sampler import BatchShape, SingerSampler, build_sampler, require_divisible_batches
from singer_verify.data.scales import warn_of_unequal_scales
from singer_verify.data.split_stores import SplitStores, limit_minutes, require_disjoint_recordings
from singer_verify.data.windows import build_window_groups, require_crop_range, resolve_crop_lengths
from singer_verify.errors import SingerVerifyError, require_at_least, require_choice
from singer_verify.features.feature import Feature
from singer_verify.features.normalisation import NO_NORMALISATION, Normalisation
from singer_verify.features.recipe import canonical_recipe
from singer_verify.features.trimming import substitute_precomputed_feature
from singer_verify.store.packed import STORE_DTYPES, NormalisedStore, PackedStore, fit_normalisation
from singer_verify.worker_processes import choose_start_method, count_available_cores, prepare_worker
from singer_verify.worker_sockets import require_short_socket_paths

MS_PER_MINUTE = 60_000
VALIDATION_SEED = 0  # the batches of the validation loss are the same in every run
SINGERS_FROM_CHOICES = ("one_corpus", "all")
log = logging.getLogger(__name__)


class SingerDataModule(pl.LightningDataModule):
    """Training batches and evaluation windows of one corpus, or of several.

    Args:
        root: folder of a corpus, or a list of them, whose singers are then named `corpus/singer`.
        feature: feature that computes frames from audio; a corpus of precomputed features has its own recipe instead.
        num_frames: length of a training crop.
        singers_per_batch: number of distinct singers in a training batch; fewer if the corpus has fewer.
        utterances_per_singer: number of crops of each.
        num_workers: number of processes that assemble training batches; 0 does it in the training process.
        num_val_batches: number of batches on which the validation loss is measured.
        store_root: folder where computed frames are kept for later runs.
        store_dtype: float16 or float32, data type of the frames on disk.
        num_extraction_workers: number of processes that compute frames; None takes one per available core.
        seed: seed of the batches.
        normalisation: normalisation of the frames as they are read; statistics that it has already are kept.
        window_frames: length of an evaluation window; None takes that of a crop.
        singers_from: which singers may share a batch when several corpora are given: `one_corpus` (so that the
            recording channel carries no information) or `all`.
        on_the_fly: whether frames of training crops are computed during training, from packed samples.
        samples_dtype: int16 or float32, data type of the samples on disk.
        augmentation: augmentation of training crops.
        crop_seconds: length of a crop instead of `num_frames`, and of a window that is as long, whatever the hop.
        min_frames: length of the shortest training crop: each batch draws one length between this and that of a crop.
            None makes all crops equally long.
        folds: number of folds that the singers of all splits are divided into; None takes the splits as they are.
        fold: number of the fold that is judged, from 0, see `corpora.folds`.
        max_singers: largest number of singers to learn from, see `corpora.subsets`; None takes all.
        max_minutes: largest number of minutes of each singer to learn from, as they are after pauses are left out; None
            takes all.

    Raises:
        SingerVerifyError: a setting out of range, or a corpus that cannot be used.
    """

    def __init__(
        self,
        root: str | Sequence[str],
        feature: Feature,
        num_frames: int = 50,
        singers_per_batch: int = 8,
        utterances_per_singer: int = 4,
        num_workers: int = 0,
        num_val_batches: int = 10,
        store_root: str = "store",
        store_dtype: str = "float16",
        num_extraction_workers: int | None = None,
        seed: int = 1,
        normalisation: Normalisation = NO_NORMALISATION,
        window_frames: int | None = None,
        singers_from: str = "one_corpus",
        on_the_fly: bool = False,
        samples_dtype: str = "int16",
        augmentation: AugmentationChain = NO_AUGMENTATION,
        crop_seconds: float | None = None,
        min_frames: int | None = None,
        folds: int | None = None,
        fold: int = 0,
        max_singers: int | None = None,
        max_minutes: float | None = None,
    ) -> None:
        super().__init__()
        self.allow_zero_length_dataloader_with_multiple_devices = True  # few windows, more ranks than groups of them
        require_at_least(1, **{"data.num_frames": num_frames, "data.utterances_per_singer": utterances_per_singer})
        require_at_least(2, **{"data.singers_per_batch": singers_per_batch})
        require_at_least(0, **{"data.num_workers": num_workers, "seed": seed})
        require_at_least(1, **{"data.num_val_batches": num_val_batches})
        require_choice(STORE_DTYPES, **{"data.store_dtype": store_dtype})
        if num_workers > 0:
            require_short_socket_paths()
        if num_extraction_workers is not None:
            require_at_least(0, **{"data.num_extraction_workers": num_extraction_workers})
        require_choice(SINGERS_FROM_CHOICES, **{"data.singers_from": singers_from})
        require_positive_minutes(max_minutes)
        self.folds, self.fold, self.seed = folds, fold, seed
        self.max_singers, self.max_minutes = max_singers, max_minutes
        roots = [Path(folder) for folder in ([root] if isinstance(root, str) else root)]
        if missing := [folder for folder in roots if not find_typed_path(folder).is_dir()]:
            raise SingerVerifyError(
                f"data.root={missing[0]}: no such folder; expected <root>/{{train,val}}/<singer>/<utterance>."
            )
        self.corpus = self.read_corpus(roots)
        require_readable_labels(self.corpus)
        self.feature = (
            substitute_precomputed_feature(feature, self.corpus.root)
            if self.corpus.has_precomputed_features
            else feature
        )
        self.num_frames, self.window_frames = resolve_crop_lengths(
            num_frames, window_frames, crop_seconds, self.feature.hop_ms
        )
        if min_frames is not None:
            require_crop_range(min_frames, self.num_frames, on_the_fly)
        self.min_frames = min_frames
        self.normalisation, self.singers_from = normalisation, singers_from
        crop_frames = (
            CropFeatureExtractor(self.feature, self.num_frames, samples_dtype, normalisation) if on_the_fly else None
        )
        self.crop_extractor, self.training_batches = crop_frames, TrainingBatchPipeline(crop_frames, augmentation, seed)
        self.singers_per_batch, self.utterances_per_singer = singers_per_batch, utterances_per_singer
        self.num_workers, self.num_val_batches = num_workers, num_val_batches
        num_extraction_workers = count_available_cores() if num_extraction_workers is None else num_extraction_workers
        self.split_stores = SplitStores(self.corpus, Path(store_root), store_dtype, num_extraction_workers)
        self.prepared: dict[str, PackedStore] = {}  # in the process that computes the frames
        self.stores: dict[str, PackedStore] = {}  # train, then val
        self.test_store: PackedStore | None = None
        self.normalised: dict[str, NormalisedStore] = {}
        self.train_sampler: SingerSampler

    def read_corpus(self, roots: list[Path]) -> Corpus:
        """List the utterances of a corpus, or of several."""
        if self.folds is None:
            corpus = read_corpora(roots)
        else:
            corpus = divide_into_folds(read_corpora(roots, required=()), self.folds, self.fold)
        return limit_singers(corpus, self.max_singers, self.seed)

    @property
    def train_singers(self) -> tuple[str, ...]:
        """Names of the singers that batches number, in the order of their numbers."""
        return self.corpus.splits["train"].singers

    @property
    def seen_singers(self) -> tuple[str, ...]:
        """Names of the training singers as a checkpoint records them."""
        return self.train_singers

    @property
    def targets(self) -> Float[Tensor, "singers target"] | None:
        """Return what a loss term that takes `targets` is given: a row for each training singer; None without any."""
        return None

    @property
    def train_minutes(self) -> float:
        """Minutes that are learned from, of all singers together, as they are after pauses are left out."""
        return float(self._compute_minutes(self.stores["train"]).sum())

    @property
    def recipe(self) -> dict[str, Any]:
        """Return the complete recipe of the frames, with the statistics of the training split once they are known."""
        normalise = {"normalise": self.normalisation.name}
        return canonical_recipe(self.feature.recipe | normalise) | self.normalisation.statistics

    def require_divisible_batches(self, num_ranks: int) -> None:
        """Refuse batches that cannot be divided among the devices, as far as that is known before frames are computed.

        Batches are smaller where there are too few singers, which the sampler knows.

        Raises:
            SingerVerifyError: see `sampler.require_divisible_batches`.
        """
        singers = self.train_singers
        corpora = compute_corpus_indices(singers) if self.singers_from == "one_corpus" else np.zeros(len(singers), int)
        if np.bincount(corpora).max() >= self.singers_per_batch:
            require_divisible_batches([self.singers_per_batch], num_ranks)

    def prepare_data(self) -> None:
        """Compute the frames of both splits unless they are stored; Lightning calls this in one process per machine."""
        if self.stores:
            return
        self.split_stores.log_contents()
        self.prepared = {split: self._open_store(split) for split in ("train", "val")}

    def setup(self, stage: str | None = None) -> None:
        """Map the frames, compute the statistics that normalise them, and plan the batches.

        Raises:
            SingerVerifyError: fewer than two singers in a split, a recording in both, or batches that cannot be divided
                among the devices; or no test split for `trainer.test`.
        """
        if self.stores:
            require_divisible_batches(self.train_sampler.batch_sizes, self.trainer.world_size if self.trainer else 1)
        else:
            self._set_up_training()
        if stage == "test" and self.test_store is None:
            if "test" not in self.corpus.splits:
                raise SingerVerifyError(f"{self.corpus.root}: has no split to test on; expected a folder named test.")
            self.test_store = self._open_store("test")
            require_disjoint_recordings(self.corpus.root, self.stores["train"], self.test_store)

    def _set_up_training(self) -> None:
        self.stores = self.prepared or {split: self._open_store(split) for split in ("train", "val")}
        require_disjoint_recordings(self.corpus.root, *self.stores.values())
        of_frames = {split: store for split, store in self.stores.items() if split == "val" or not self.crop_extractor}
        training = of_frames.get("train")
        if self.crop_extractor is not None and self.crop_extractor.needs_stored_frames:
            training = self.split_stores.open_split("train", self.feature)
            if self.max_minutes is not None:
                training = training.select(set(self.stores["train"].paths.tolist()))
        if self.normalisation.needs_training_split:
            assert training is not None
            self.normalisation = fit_normalisation(self.normalisation, training)
        if self.crop_extractor is not None:
            self.crop_extractor.prepare_normalisation(self.normalisation, self.stores["train"], training)
        self.normalised = {split: NormalisedStore(store, self.normalisation) for split, store in of_frames.items()}
        warn_of_unequal_scales(self.feature, self.normalisation, of_frames.get("train", of_frames["val"]))
        self.train_sampler = self._build_sampler("train", self.utterances_per_singer, self.seed)
        self.val_sampler = self._build_sampler("val", max(self.utterances_per_singer, 2), VALIDATION_SEED)

    def train_dataloader(self) -> DataLoader[Any]:
        assert self.trainer is not None
        require_at_least(1, **{"trainer.max_steps": self.trainer.max_steps})
        num_batches = self.trainer.max_steps * self.trainer.accumulate_grad_batches
        ranks = self.trainer.global_rank, self.trainer.world_size
        source = self.normalised.get("train") or self.stores["train"]
        device = self.trainer.strategy.root_device
        dataset = self.training_batches.batches(source, self.train_sampler, num_batches, *ranks, device)
        first = self.trainer.fit_loop.epoch_loop.batch_progress.total.ready
        return DataLoader(
            dataset,
            batch_size=None,
            sampler=ResumableStepSampler(first, num_batches),
            num_workers=self.num_workers,
            multiprocessing_context=choose_start_method(self.num_workers),
            worker_init_fn=prepare_worker,
            pin_memory=torch.cuda.is_available(),
        )

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        if isinstance(batch, PendingBatch):
            return self.training_batches.complete_batch(batch, device)
        return super().transfer_batch_to_device(batch, device, dataloader_idx)

    def teardown(self, stage: str) -> None:
        self.training_batches.resident_samples = None

    def val_dataloader(self) -> list[DataLoader[Any]]:
        """Return two loaders: the fixed batches of the validation loss, and all utterances in windows.

        The few batches are the same on every rank; the windows are dealt out, group by group.
        """
        return self._build_evaluation_loaders(self.normalised["val"], self.stores["val"], self.val_sampler)

    def test_dataloader(self) -> list[DataLoader[Any]]:
        """Serve the `test` split as validation serves `val`."""
        assert self.test_store is not None
        sampler = self._build_sampler("test", max(self.utterances_per_singer, 2), VALIDATION_SEED)
        frames = NormalisedStore(self.test_store, self.normalisation)
        return self._build_evaluation_loaders(frames, self.test_store, sampler)

    def _build_evaluation_loaders(
        self, frames: NormalisedStore, store: PackedStore, sampler: SingerSampler
    ) -> list[DataLoader[Any]]:
        assert self.trainer is not None
        batches = SingerBatchDataset(frames, sampler, self.num_val_batches)
        groups = build_window_groups(store.num_frames, self.window_frames)
        windows = WindowBatchDataset(frames, groups[self.trainer.global_rank :: self.trainer.world_size])
        return [DataLoader(batches, batch_size=None), DataLoader(windows, batch_size=None)]

    def describe_contents(self) -> dict[str, str]:
        """Summarise each split: numbers of singers and utterances, and a checksum of the frames."""
        return {split: store.format_summary() for split, store in self.stores.items()}

    def describe_shapes(self) -> dict[str, Any]:
        """Return what the corpus decides of a training's settings: recipe and bins of its frames, lengths, singers."""
        return {
            "features": canonical_recipe(self.recipe),
            "num_bins": self.feature.num_bins,
            "num_frames": self.num_frames,
            "window_frames": self.window_frames,
            "num_singers": len(self.train_singers),
        }

    def list_batch_utterances(self, step: int) -> list[str]:
        """List the paths of the utterances of training batch `step`, singer by singer."""
        return [
            str(path) for path in self.stores["train"].paths[self.train_sampler.plan_batch(step).utterances.ravel()]
        ]

    def _open_store(self, split: str) -> PackedStore:
        """Open the frames of a split; of the training split, if frames are computed on the fly, its samples."""
        if split != "train":
            return self.split_stores.open_split(split, self.feature)
        of_samples = self.crop_extractor.stored_samples if self.crop_extractor else self.feature
        return self._limit_minutes(self.split_stores.open_split(split, of_samples))

    def _compute_minutes(self, training: PackedStore) -> Float[np.ndarray, " utterances"]:
        frame_ms = 1000.0 / self.feature.sample_rate if self.crop_extractor else self.feature.hop_ms
        minutes: np.ndarray = training.num_frames * frame_ms / MS_PER_MINUTE
        return minutes

    def _limit_minutes(self, training: PackedStore) -> PackedStore:
        """Leave out utterances of the training split that are more than `max_minutes` of their singer."""
        if self.max_minutes is None:
            return training
        return limit_minutes(training, self._compute_minutes(training), self.corpus, self.max_minutes, self.seed)

    def _build_sampler(self, split: str, utterances_per_singer: int, seed: int) -> SingerSampler:
        store = self.test_store if split == "test" else self.stores[split]
        assert store is not None
        utterance_lengths = store.num_frames
        if split == "train" and self.crop_extractor is not None:
            utterance_lengths = self.crop_extractor.count_frames(utterance_lengths)
        if split == "train":
            warn_of_short_utterances(utterance_lengths, self.num_frames)
        min_frames = self.min_frames if split == "train" else None
        shape = BatchShape(self.singers_per_batch, utterances_per_singer, self.num_frames, min_frames)
        where, one_corpus = self.corpus.root / split, self.singers_from == "one_corpus"
        return build_sampler(store, where, utterance_lengths, shape, seed, one_corpus)


class ResumableStepSampler(Sampler[int]):
    """Number the steps of a training from the one where it starts or continues; its length counts all of them."""

    def __init__(self, first: int, num_steps: int) -> None:
        self.first, self.num_steps = first, num_steps

    def __len__(self) -> int:
        return self.num_steps

    def __iter__(self) -> Iterator[int]:
        return iter(range(self.first, self.num_steps))


def require_readable_labels(corpus: Corpus) -> None:
    """Check that the tables of labels, if there are any, can be read and have rows for the corpus.

    Raises:
        SingerVerifyError: see `read_utterance_labels`.
    """
    paths = [utterance.path for split in corpus.splits.values() for utterance in split.utterances]
    read_utterance_labels(paths, corpus.root, corpus.part_roots, report=False)


@rank_zero_only
def warn_of_short_utterances(utterance_lengths: Int[np.ndarray, " utterances"], num_frames: int) -> None:
    """Warn of the share of training utterances that are shorter than a crop, and so are repeated to fill it."""
    if num_short := int((utterance_lengths < num_frames).sum()):
        log.warning(
            "%.3g %% of the training utterances (%d of %d) are shorter than a crop of %d frames and are repeated to "
            "fill it; half of them have %d frames or fewer: shorten crops by data.num_frames or data.crop_seconds.",
            100 * num_short / len(utterance_lengths),
            num_short,
            len(utterance_lengths),
            num_frames,
            int(np.median(utterance_lengths)),
        )
