"""Whether recordings are those on which a model's best step was chosen: figures on them flatter it."""

from pathlib import Path

import yaml

from singer_verify.runs.checkpoints import checkpoint_of
from singer_verify.runs.folder import run_of

CHOOSING_SPLIT = "val"


def chose_model(model: Path, recording: Path, split: str) -> bool:
    """Whether a recording lies in the validation split that the run of a model was trained with.

    Links are followed, so that a corpus prepared of links to another is known as the same.

    Args:
        model: a run folder or a checkpoint; one that lies in no run says nothing, and nothing is claimed.
        recording: of the split.
        split: its name.
    """
    config = run_of(checkpoint_of(model)) / "config.yaml"
    if split != CHOOSING_SPLIT or not config.is_file():
        return False
    roots = (yaml.safe_load(config.read_text(encoding="utf-8")) or {}).get("data", {}).get("root", [])
    splits = [Path(root).resolve() / CHOOSING_SPLIT for root in ([roots] if isinstance(roots, str) else roots)]
    return any(place in recording.resolve().parents or place in recording.absolute().parents for place in splits)
