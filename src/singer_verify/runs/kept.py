"""What a run keeps of the frames of another: the statistics that its weights know."""

import logging
from pathlib import Path
from typing import Any

from singer_verify.card import CARD_KEY
from singer_verify.features.normalisation import Normalisation
from singer_verify.runs.checkpoints import checkpoint_of, read_checkpoint

log = logging.getLogger(__name__)


def kept_statistics(ckpt_path: str | None, init_from: str | None) -> dict[str, Any]:
    """Of a recipe, the figures of the training split that the weights were trained with; nothing where there are none.

    A run that is continued has its own, to the bit. A run that begins with another's weights keeps that one's, on
    whatever corpus: the weights expect frames on that scale, frozen parts for good.

    Args:
        ckpt_path: checkpoint to continue from.
        init_from: a run folder or a checkpoint to begin with; not used by a run that is continued.

    Raises:
        SingerVerifyError: not a model of ours.
    """
    if ckpt_path is None and init_from is None:
        return {}
    path = Path(ckpt_path) if ckpt_path else checkpoint_of(Path(str(init_from)))
    statistics = Normalisation.from_recipe(read_checkpoint(path)[CARD_KEY]["recipe"]).statistics
    if statistics and not ckpt_path:
        log.info("%s: frames are normalised by the statistics of its training corpus, which its weights know.", path)
    return dict(statistics)
