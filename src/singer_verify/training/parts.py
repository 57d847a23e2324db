"""Refuse, before a training begins, parts that it could not use or that loading its model would refuse."""

from torch import nn

from singer_verify.errors import SingerVerifyError, require_attributes
from singer_verify.losses.weighted import WeightedLoss

ENCODER_ATTRIBUTES = {
    "settings": "what rebuilds the encoder, a dict of plain values with _target_",
    "embedding_size": "the size of its embeddings, an int",
}


def check_encoder(encoder: object) -> None:
    """Refuse an encoder that lacks what `encoders.encoder.Encoder` asks for.

    Raises:
        SingerVerifyError: naming what is missing.
    """
    if not isinstance(encoder, nn.Module):
        raise SingerVerifyError(f"encoder: is a {type(encoder).__name__}; expected an nn.Module.")
    require_attributes("encoder", encoder, ENCODER_ATTRIBUTES)


def check_loss(loss: WeightedLoss, encoder: nn.Module) -> None:
    """Refuse a loss whose terms do not fit the encoder or the contract of `losses.weighted.LossTerm`.

    Raises:
        SingerVerifyError: naming the term.
    """
    loss.require_named_outputs(int(encoder.embedding_size))  # type: ignore[arg-type]
    if not any(True for _ in encoder.parameters()):
        for name, term in loss.iterate_terms():
            if term.singer_specific:
                raise SingerVerifyError(
                    f"loss: its term {name} trains a classifier together with the encoder, and "
                    f"{type(encoder).__name__} is not trained; take loss=ge2e, which does nothing there, or another "
                    f"encoder."
                )
