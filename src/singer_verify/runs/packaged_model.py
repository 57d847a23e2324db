"""The model that comes with the package: where its files lie, and what its card says of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from singer_verify.errors import SingerVerifyError

# Holds `<name>.pt`, its card `<name>.md` and, where it is calibrated, `<name>.scoring.npz`; `singer-verify export --pt`
# writes all three.
MODELS_FOLDER = Path(__file__).parents[1] / "models"
CARD_SUFFIX = ".md"


@dataclass(frozen=True)
class PackagedModel:
    """A model file of the package.

    Attributes:
        path: path of the file.
        card: path of its model card.
        name: name of the model.
        version: version of the model; empty where its card names none.
        licence: licence of the weights; empty where its card names none.
    """

    path: Path
    card: Path
    name: str
    version: str
    licence: str

    @property
    def title(self) -> str:
        """Name and version."""
        return f"{self.name} {self.version}".rstrip()


def find_packaged_model() -> PackagedModel | None:
    """Find the model that comes with the package; None where this installation has none."""
    path = next(iter(sorted(MODELS_FOLDER.glob("*.pt"))), None)
    if path is None:
        return None
    card = path.with_suffix(CARD_SUFFIX)
    facts = _read_front_matter(card)
    return PackagedModel(path, card, path.stem, str(facts.get("version", "")), str(facts.get("license", "")))


def require_packaged_model() -> PackagedModel:
    """Find the model that comes with the package.

    Raises:
        SingerVerifyError: this installation has none.
    """
    model = find_packaged_model()
    if model is None:
        raise SingerVerifyError(
            "no model comes with this installation; name one: a run folder, a .ckpt or a saved_model.pt. "
            "`singer-verify models` lists weights that can be imported."
        )
    return model


def _read_front_matter(card: Path) -> dict[str, Any]:
    """Read the yaml between the first two lines of dashes of a model card."""
    try:
        _, front_matter, _ = card.read_text(encoding="utf-8").split("---\n", 2)
        facts = yaml.safe_load(front_matter)
    except (OSError, ValueError, yaml.YAMLError):
        return {}
    return facts if isinstance(facts, dict) else {}
