"""Running mean of the weights over training steps."""

import pytorch_lightning as pl
from pytorch_lightning.callbacks import WeightAveraging
from torch.optim.swa_utils import get_ema_multi_avg_fn

from singer_verify.errors import require_between
from singer_verify.training.lightning_internals import copy_averaged_weights, move_averaged_weights

MAX_DECAY = 0.999999


class EMAWeights(WeightAveraging):
    """Validate and save the exponential moving average (EMA) of the weights, while the weights themselves are trained.

    The mean begins with the weights after the first step; then mean ← decay × mean + (1 - decay) × weights after each
    step, running statistics included. It is what validation judges and what `best.ckpt` and the `state_dict` of
    `last.ckpt` hold; `last.ckpt` has the weights beside it, so that a stopped training continues bit for bit.

    Lightning's own `EMAWeightAveraging` leaves the mean on the CPU while the weights are on a GPU, changes weights that
    never change by rounding, and ends the training with the mean in place of the weights before `last.ckpt` is written.

    Args:
        decay: weight of the past; the mean spans about 1 / (1 - decay) steps.
    """

    def __init__(self, decay: float = 0.999) -> None:
        require_between(0.0, MAX_DECAY, **{"callbacks.ema.decay": decay})
        super().__init__(multi_avg_fn=get_ema_multi_avg_fn(decay))

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        move_averaged_weights(self, pl_module.device)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        """Leave the weights in place: the last checkpoint, from which the training can continue, comes after this."""

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        copy_averaged_weights(self, pl_module)
