"""What losses that compare utterances need of a batch."""

from jaxtyping import Float
from torch import Tensor

from singer_verify.errors import SingerVerifyError


def require_comparable_utterances(loss: str, embeddings: Float[Tensor, "singers utterances embedding"]) -> None:
    """Check that each utterance can be compared with its singer's others and with other singers.

    Args:
        loss: name of the loss, for the message.
        embeddings: embeddings of a batch.

    Raises:
        SingerVerifyError: fewer than two singers, or fewer than two utterances of each.
    """
    if min(embeddings.shape[:2]) < 2:
        raise SingerVerifyError(
            f"{loss} got {embeddings.shape[0]} singers × {embeddings.shape[1]} utterances; it needs at least 2 × 2: "
            f"an utterance is compared with its singer's others and with other singers."
        )
