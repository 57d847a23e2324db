"""The LightningModule: trains an encoder with a loss, and validates it on unseen singers."""

import logging
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytorch_lightning as pl
import torch
from jaxtyping import Float, Int
from pytorch_lightning.utilities.types import LRSchedulerConfigType, OptimizerLRSchedulerConfig
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Adam, Optimizer
from torch.optim.lr_scheduler import ConstantLR, LRScheduler, ReduceLROnPlateau
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from singer_verify.corpora.corpus import Corpus, compute_corpus_indices
from singer_verify.corpora.labels import read_utterance_labels
from singer_verify.data.batches import SingerBatch, WindowBatch
from singer_verify.data.datamodule import SingerDataModule
from singer_verify.data.split_stores import collect_recording_ids
from singer_verify.encoders.encoder import group_parameters_by_rate
from singer_verify.errors import SingerVerifyError
from singer_verify.evaluation.averaging import average_by_group
from singer_verify.evaluation.metrics.registry import EER, METRICS
from singer_verify.evaluation.metrics.verification import THRESHOLD, verify_all_pairs
from singer_verify.inference.split import embed_windows
from singer_verify.losses.ge2e import GE2ELoss
from singer_verify.losses.weighted import WeightedLoss
from singer_verify.runs.checkpoints import VALIDATION_KEY
from singer_verify.runs.model_metadata import METADATA_KEY, ModelMetadata
from singer_verify.runs.settings import SETTINGS_KEY
from singer_verify.store.packed import PackedStore
from singer_verify.training.cuda_graph import GraphedEncoder
from singer_verify.training.lightning_internals import get_attached_trainer

log = logging.getLogger(__name__)
DEFAULT_OPTIMIZER = partial(Adam, lr=5e-4)
DEFAULT_SCHEDULER = partial(ConstantLR, factor=1.0)


class ValidationSet(NamedTuple):
    """The utterances of an evaluation split.

    Attributes:
        singer_index: (utterances,), each utterance's singer as an index into `singers`.
        singers: names of the singers.
        paths: (utterances,), paths relative to the corpus.
        labels: values of each label, (utterances,).
    """

    singer_index: np.ndarray
    singers: tuple[str, ...]
    paths: np.ndarray
    labels: dict[str, np.ndarray]

    @classmethod
    def from_store(cls, store: PackedStore, corpus: Corpus) -> "ValidationSet":
        """Collect the utterances of a store, with the labels of the corpus.

        Raises:
            SingerVerifyError: see `read_utterance_labels`.
        """
        paths = store.paths.tolist()
        splits = [[utterance.path for utterance in split.utterances] for split in corpus.splits.values()]
        same_split = [path for split in splits if not set(paths).isdisjoint(split) for path in split]
        labels = read_utterance_labels(paths, corpus.root, corpus.part_roots, others=same_split)
        return cls(store.singer_index, store.singers, store.paths, labels)

    @property
    def corpus_index(self) -> np.ndarray:
        """Return each utterance's corpus, numbered from 0: (utterances,)."""
        return compute_corpus_indices(self.singers)[self.singer_index]


class WindowEmbeddings(Metric):
    """Embeddings of the validation windows of all ranks, averaged for each utterance.

    Groups of windows are dealt out to the ranks; their numbers restore the order of a single process, so that sums are
    equal to the last bit however many there are.
    """

    full_state_update = False
    windows: list[Tensor]
    utterances: list[Tensor]
    groups: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("windows", "utterances", "groups"):
            self.add_state(name, [], dist_reduce_fx="cat")

    def update(self, windows: Float[Tensor, "n embedding"], utterances: Int[Tensor, " n"], group: int) -> None:
        """Add the windows of a group."""
        self.windows.append(windows)
        self.utterances.append(utterances)
        self.groups.append(torch.full_like(utterances, group))

    def compute_gathered(self, embedding_size: int) -> Float[Tensor, "utterances embedding"]:
        """Return `compute()`, also on a rank without any group: gathering needs a tensor from every rank."""
        if not self.update_called:
            nothing = torch.zeros(0, embedding_size, device=self.device)
            self.update(nothing, torch.zeros(0, dtype=torch.int64, device=self.device), 0)
        embeddings: Tensor = self.compute()
        return embeddings

    def compute(self) -> Float[Tensor, "utterances embedding"]:
        """Return the embeddings of all utterances, on the CPU."""
        windows, utterances, groups = (
            dim_zero_cat(state).cpu() for state in (self.windows, self.utterances, self.groups)
        )
        order = torch.argsort(groups, stable=True)
        return torch.from_numpy(average_by_group(windows[order].numpy(), utterances[order].numpy()))


class Verifier(pl.LightningModule):
    """Train an encoder with a loss, and validate it on unseen singers; it defines neither.

    Training logs each term of the loss; validation logs the metrics of `evaluation.metrics.registry` (`val/eer`,
    `val/min_dcf_0.01`, ...) over all pairs of whole utterances of unseen singers, the cosine `val/threshold` at the
    equal error rate, and on fixed batches of them each term of the loss that is not specific to the training singers
    (`val/ge2e`). Where all terms are, it is GE2E with its initial scale and offset. No classifier ever sees validation
    singers. `trainer.test` logs the same of the `test` split, as `test/eer` and so on.

    Args:
        encoder: (batch, frames, bins) → (batch, embedding), with its `settings` as plain values.
        loss: (singers, utterances, embedding), (singers,) → named scalars; None takes GE2E.
        optimizer: factory of the optimiser from groups of parameters.
        scheduler: factory of the learning rate schedule; a plateau schedule follows `monitor` at each validation.
        monitor: metric that a plateau schedule follows.
        metadata: content of a checkpoint besides weights, so that it alone can embed audio; None takes it from the
            data module.
        settings: configuration of the run as plain values, for checkpoints and loggers.
        layer_decay: multiplier of the learning rate from each part of the encoder to the one before it.
        lr_multipliers: multipliers of parts of the encoder by name, instead of that.
        cuda_graph: whether training steps of the encoder run as CUDA graphs, see `training.cuda_graph`.
    """

    def __init__(
        self,
        encoder: nn.Module,
        loss: WeightedLoss | None = None,
        optimizer: Callable[[Iterable[dict[str, Any]]], Optimizer] = DEFAULT_OPTIMIZER,
        scheduler: Callable[[Optimizer], LRScheduler | ReduceLROnPlateau] = DEFAULT_SCHEDULER,
        monitor: str = "val/eer",
        metadata: ModelMetadata | None = None,
        settings: dict[str, Any] | None = None,
        layer_decay: float = 1.0,
        lr_multipliers: Mapping[str, float] | None = None,
        cuda_graph: str | bool = "auto",
    ) -> None:
        super().__init__()
        self.encoder, self.graphed_encoder = encoder, GraphedEncoder(encoder, cuda_graph)
        self.loss = WeightedLoss({"ge2e": GE2ELoss()}, {"ge2e": 1.0}) if loss is None else loss
        self.make_optimizer, self.make_scheduler, self.monitor = optimizer, scheduler, monitor
        self.metadata, self.settings = metadata, settings or {}
        self.layer_decay, self.lr_multipliers = layer_decay, dict(lr_multipliers or {})
        self.validation_terms = [entry for entry in self.loss.iterate_terms() if not entry[1].singer_specific]
        # In a list, so that the optimiser does not see its parameters.
        self.validation_terms = self.validation_terms or [("ge2e", GE2ELoss())]
        self.last_validation: dict[str, float] | None = None
        self.validation_set: ValidationSet | None = None
        self.test_set: ValidationSet | None = None
        self.validation_embeddings: Float[Tensor, "utterances embedding"] | None = None
        self.gradient_norm: Tensor | None = None
        self.training_outputs: dict[str, Tensor] = {}
        self.window_embeddings = WindowEmbeddings()

    @property
    def validation_metrics(self) -> tuple[str, ...]:
        """Return the names of all that a validation logs."""
        names = (*METRICS, THRESHOLD, *(name for name, _ in self.validation_terms))
        return tuple(f"val/{name}" for name in names)

    def setup(self, stage: str) -> None:
        data = getattr(self.trainer, "datamodule", None)
        if not isinstance(data, SingerDataModule):  # loaders alone can train, but neither validate nor save
            return
        self.metadata = self.metadata or build_metadata(data, self.encoder)
        self.validation_set = self.validation_set or ValidationSet.from_store(data.stores["val"], data.corpus)
        if data.test_store is not None:
            self.test_set = ValidationSet.from_store(data.test_store, data.corpus)

    def teardown(self, stage: str) -> None:
        self.graphed_encoder.release()

    def embed_crops(
        self, features: Float[Tensor, "singers utterances frames bins"]
    ) -> Float[Tensor, "singers utterances embedding"]:
        # copy: torch aligns its own memory, and products of equally aligned matrices are equal to the bit
        frames = features.flatten(0, 1).to(torch.float32, copy=True)
        encode = self.graphed_encoder if self.training and torch.is_grad_enabled() else self.encoder
        return encode(frames).unflatten(0, features.shape[:2])

    def compute_loss(self, batch: SingerBatch) -> dict[str, Float[Tensor, ""]]:
        """Compute the loss and its terms, with `loss.gather` over the singers of all ranks.

        The gradient of a rank's embeddings is then that of a single process times the number of ranks, which
        DistributedDataParallel undoes by averaging over ranks.
        """
        embeddings, singers = self.embed_crops(batch.features).float(), batch.singers
        if self.loss.gather and self.trainer.world_size > 1:
            embeddings = self.all_gather(embeddings, sync_grads=True).flatten(0, 1)  # type: ignore[union-attr]
            singers = self.all_gather(singers).flatten(0, 1)  # type: ignore[union-attr]
        outputs: dict[str, Tensor] = self.loss(embeddings, singers)
        return outputs

    def training_step(self, batch: SingerBatch, batch_idx: int) -> Tensor:
        self.loss.set_step(self.global_step)
        outputs = self.compute_loss(batch)
        self.training_outputs = {f"train/{name}": value.detach() for name, value in outputs.items()}
        if self._should_log():
            self.log_dict(self.training_outputs)  # on its progress bar, Lightning would read them at every step
            for term, module in self.loss.terms.items():
                scalars = {name: value for name, value in module.named_parameters() if value.ndim == 0}
                self.log_dict({f"{term}/{name}": value for name, value in scalars.items()})
            self.log("step", float(self.global_step + 1))  # Lightning's own count is one less
        return outputs["loss"]

    def on_after_backward(self) -> None:
        """Average the encoder's running statistics over all ranks, so that these agree.

        BatchNorm normalises a training batch by the statistics of each rank's part of it, and evaluation by their
        running average: the average over ranks is the one that belongs to what all ranks did.
        """
        if self.trainer.world_size > 1:
            following = (module for module in self.encoder.modules() if module.training)  # the others are frozen
            for buffer in (buffer for module in following for buffer in module.buffers(recurse=False)):
                if buffer.is_floating_point():
                    buffer.copy_(self.trainer.strategy.reduce(buffer, reduce_op="mean"))

    def on_train_batch_end(self, *_: Any) -> None:
        if self.global_step >= self.trainer.max_steps:
            self.trainer.should_stop = True  # so that the last step is validated, wherever the interval falls

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        """Clip the norm of all gradients together, and keep the norm they had before.

        Lightning's `grad_norm` would compute it a second time, waiting for the device at each parameter.
        """
        max_norm = float("inf") if gradient_clip_val is None else gradient_clip_val
        self.gradient_norm = clip_grad_norm_(self.parameters(), max_norm)
        if self._should_log():
            self.log("gradient_norm", self.gradient_norm)

    def validation_step(self, batch: SingerBatch | WindowBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._embed_evaluation_batch("val", batch, batch_idx)

    def test_step(self, batch: SingerBatch | WindowBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        self._embed_evaluation_batch("test", batch, batch_idx)

    def _embed_evaluation_batch(self, split: str, batch: SingerBatch | WindowBatch, batch_idx: int) -> None:
        if isinstance(batch, SingerBatch):
            embeddings = self.embed_crops(batch.features).float()
            for name, term in self.validation_terms:
                assert isinstance(term, torch.nn.Module)
                with torch.autocast(self.device.type, enabled=False):  # as in training
                    value = term.to(self.device)(embeddings, batch.singers)[name]
                self.log(f"{split}/{name}", value, add_dataloader_idx=False, batch_size=1, sync_dist=True)
        else:
            group = batch_idx * self.trainer.world_size + self.global_rank
            self.window_embeddings.update(embed_windows(self.encoder, batch.features), batch.utterances, group)

    def on_validation_epoch_start(self) -> None:
        self.window_embeddings.reset()

    def on_validation_epoch_end(self) -> None:
        assert self.validation_set is not None
        self.validation_embeddings, values = self._evaluate_epoch("val", self.validation_set)
        num_singers = len(self.validation_set.singers)
        self.last_validation = {"step": self.global_step, "num_singers": num_singers, **values}

    def on_test_epoch_start(self) -> None:
        self.window_embeddings.reset()

    def on_test_epoch_end(self) -> None:
        assert self.test_set is not None
        self._evaluate_epoch("test", self.test_set)

    def _evaluate_epoch(
        self, split: str, utterances: ValidationSet
    ) -> tuple[Float[Tensor, "utterances embedding"], dict[str, float]]:
        """Return the embeddings of a split's utterances, and its metrics, which are logged."""
        embedding_size = int(self.encoder.embedding_size)  # type: ignore[arg-type]
        embeddings = self.window_embeddings.compute_gathered(embedding_size)
        self.window_embeddings.reset()
        result = verify_all_pairs(embeddings.numpy(), utterances.singer_index, utterances.corpus_index)
        values = {name: float(estimate.value) for name, estimate in result.metrics.items()}
        for name, value in values.items():
            exact = torch.tensor(value, dtype=torch.float64)  # a float would be rounded to single precision
            self.log(f"{split}/{name}", exact, prog_bar=name == EER)
        self.log("step", float(self.global_step))
        return embeddings, values

    def configure_optimizers(self) -> OptimizerLRSchedulerConfig:
        groups = self._group_encoder_parameters()
        groups += [
            {"params": parameters, "lr_multiplier": factor}
            for factor, parameters in self.loss.parameter_groups()
            if parameters
        ]
        try:
            optimizer = self.make_optimizer(groups)
        except (TypeError, ValueError) as error:
            raise SingerVerifyError(f"optimizer: {error}; see conf/optimizer.") from error
        for group in optimizer.param_groups:
            group["lr"] *= group.pop("lr_multiplier")
            if all(parameter.is_cuda for parameter in group["params"]) and has_no_implementation(group):
                group["fused"] = True  # one kernel for all parameters
        try:
            scheduler = self.make_scheduler(optimizer)
        except (TypeError, ValueError) as error:
            raise SingerVerifyError(f"scheduler: {error}; see conf/scheduler.") from error
        plan: LRSchedulerConfigType = {"scheduler": scheduler, "interval": "step"}
        if isinstance(scheduler, ReduceLROnPlateau):
            plan |= {"monitor": self.monitor, "frequency": self._get_validation_interval(), "strict": False}
        return {"optimizer": optimizer, "lr_scheduler": plan}

    def _group_encoder_parameters(self) -> list[dict[str, Any]]:
        """Return one group where all of the encoder learns at one rate, otherwise a named group for each rate."""
        by_rate = group_parameters_by_rate(self.encoder, self.layer_decay, self.lr_multipliers)
        if all(multiplier == 1.0 for multiplier, _ in by_rate.values()):
            learning = [parameter for parameter in self.encoder.parameters() if parameter.requires_grad]
            return [{"params": learning, "lr_multiplier": 1.0}]
        return [
            {"params": parameters, "lr_multiplier": multiplier, "name": name}
            for name, (multiplier, parameters) in by_rate.items()
        ]

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        assert self.metadata is not None
        checkpoint[METADATA_KEY], checkpoint[SETTINGS_KEY] = self.metadata.to_dict(), self.settings
        checkpoint[VALIDATION_KEY] = self.last_validation

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        assert self.metadata is not None
        self.last_validation = checkpoint[VALIDATION_KEY]
        stored = ModelMetadata.from_dict(checkpoint[METADATA_KEY])
        self.metadata = self.metadata.with_recorded_pretraining(stored)  # the parent is not read again

    def _get_validation_interval(self) -> int:
        """Return the steps from one validation to the next; 1 where no trainer is attached."""
        trainer = get_attached_trainer(self)
        return 1 if trainer is None else max(int(trainer.val_check_interval), 1)

    def _should_log(self) -> bool:
        return (self.global_step + 1) % self.trainer.log_every_n_steps == 0 or self.global_step == 0  # type: ignore[attr-defined]


def has_no_implementation(group: Mapping[str, Any]) -> bool:
    """Whether an optimiser of torch that could run fused leaves it to torch how it runs a group of parameters."""
    other_ways = (group.get(name) for name in ("foreach", "differentiable", "capturable"))
    return group.get("fused", False) is None and not any(other_ways)


def build_metadata(data: SingerDataModule, encoder: nn.Module) -> ModelMetadata:
    """Collect what checkpoints carry besides weights; the data are set up."""
    return ModelMetadata(
        data.recipe,
        encoder.settings,  # type: ignore[arg-type]
        data.window_frames,
        data.seen_singers,
        data.stores["val"].singers,
        collect_recording_ids(data.stores),
        data.split_stores.dtype,
    )
