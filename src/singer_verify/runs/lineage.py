"""Trainings that begin with the weights of another run, and where their folders lie."""

import hashlib
import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from singer_verify.card import CARD_KEY
from singer_verify.errors import SingerVerifyError
from singer_verify.features.recipe import compared
from singer_verify.runs.checkpoints import checkpoint_of, encoder_state, loss_state, read_checkpoint
from singer_verify.runs.folder import run_around
from singer_verify.runs.heard import all_heard
from singer_verify.runs.optimizers import continued
from singer_verify.verifier import Verifier

log = logging.getLogger(__name__)

CHECKPOINTS = "checkpoints"
LONGEST_NAME = 200  # bytes; file systems allow 255
NOT_ARCHITECTURE = ("dropout", "initialisation")  # how weights come about, not what they are


def runs_folder(init_from: str | None, name: str) -> str:
    """The folder of a new run: inside its parent's, or inside `runs` where it has none.

    Raises:
        SingerVerifyError: a name that would lead out of that folder, or into one that a run keeps for itself.
    """
    parts = Path(name).parts
    if not parts or Path(name).is_absolute() or ".." in parts or CHECKPOINTS in parts:
        raise SingerVerifyError(
            f"name={name}: expected the name of a folder inside {_home_of(init_from)}, other than {CHECKPOINTS}."
        )
    return str(_home_of(init_from) / name)


def folder_name(overrides: str) -> str:
    """What was typed for one run of a sweep, as the name of one folder, without a way out of the sweep's.

    Where that is too long for a file system, its end is replaced by a checksum of the whole.
    """
    name = overrides.replace("/", "_")
    if len(name.encode()) <= LONGEST_NAME:
        return name
    checksum = hashlib.sha256(overrides.encode()).hexdigest()[:8]
    return name.encode()[: LONGEST_NAME - 9].decode(errors="ignore") + "~" + checksum


def _home_of(init_from: str | None) -> Path:
    """The parent's folder; `runs`, without a parent or where its checkpoint lies in no run."""
    if init_from is None:
        return Path("runs")
    return run_around(Path(init_from)) or Path("runs")


@dataclass(frozen=True)
class Parent:
    """A checkpoint whose weights a new training begins with.

    Attributes:
        path: of the checkpoint.
        content: of the checkpoint.
    """

    path: Path
    content: dict[str, Any]

    @classmethod
    def read(cls, init_from: str) -> "Parent":
        """
        Args:
            init_from: a run folder (its best checkpoint), a `.ckpt` or a `saved_model.pt`.

        Raises:
            SingerVerifyError: not a model of ours.
        """
        path = checkpoint_of(Path(init_from))
        return cls(path, read_checkpoint(path))

    @property
    def step(self) -> int:
        return int(self.content.get("global_step", self.content.get("step", 0)))

    def require_match(self, recipe: dict[str, Any], encoder: dict[str, Any]) -> None:
        """Refuse weights made for other frames or for another architecture.

        Raises:
            SingerVerifyError: naming every setting that differs, with both values.
        """
        card = self.content[CARD_KEY]
        differences = _differences("features", compared(card["recipe"]), compared(recipe))
        if not differences:  # other frames often mean other bins, which would be said twice
            differences = _differences("encoder", card["encoder"], encoder, but=NOT_ARCHITECTURE)
        if differences:
            raise SingerVerifyError(
                f"init_from={self.path}: does not fit this training: {'; '.join(differences)}; set them like the "
                f"parent's."
            )

    def give_weights(self, verifier: Verifier) -> dict[str, list[str]]:
        """Put the parent's weights into a verifier that matches; returns the parts that were `taken` and `dropped`.

        Where both losses have a term, its parameters are taken too; a classifier only if the training singers are the
        same ones.
        """
        self._load(verifier.encoder, encoder_state(self.content))
        taken, classifier = ["encoder"], self._classifier_remark(verifier)
        for name, term in verifier.loss.terms.items():
            prefix = f"terms.{name}."
            state = {key.removeprefix(prefix): value for key, value in self._loss.items() if key.startswith(prefix)}
            if state and not (hasattr(term, "class_layer") and not classifier.startswith("kept")):
                self._load(term, state)
                taken.append(name)
        verifier.card["earlier"] = all_heard(self.content[CARD_KEY])
        dropped = sorted({key.split(".")[1] for key in self._loss} - set(taken))
        log.info("%s, step %d: took %s; classifier %s.", self.path, self.step, ", ".join(taken), classifier)
        return {"taken": taken, "dropped": dropped}

    def give_optimizer_state(
        self, make_optimizer: Callable[[Iterable[dict[str, Any]]], Optimizer]
    ) -> Callable[[Iterable[dict[str, Any]]], Optimizer]:
        """Let an optimiser begin with the parent's moments instead of none, at its own settings."""
        states = self.content.get("optimizer_states") or [self.content.get("optimizer_state")]
        return continued(make_optimizer, states[0] or {}, self.path)

    def record(self, run: Path, parts: dict[str, list[str]]) -> dict[str, Any]:
        """What `run.json` says of the parent; its path is relative to the run."""
        return {
            "checkpoint": os.path.relpath(self.path, run),
            "sha256": sha256_of(self.path),
            "step": self.step,
            **parts,
        }

    def _load(self, part: nn.Module, state: dict[str, Any]) -> None:
        try:
            part.load_state_dict(state)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise SingerVerifyError(f"init_from={self.path}: its weights do not fit ({reason}).") from error

    @property
    def _loss(self) -> dict[str, Any]:
        return loss_state(self.content)

    def _classifier_remark(self, verifier: Verifier) -> str:
        theirs, ours = self.content[CARD_KEY]["train_singers"], verifier.card["train_singers"]
        if not any("class_layer" in key for key in self._loss):
            return "of the parent: none"
        if not any(hasattr(term, "class_layer") for term in verifier.loss.terms.values()):
            return "dropped: this loss has none"
        if theirs != ours:
            return f"dropped: other training singers ({len(theirs)} there, {len(ours)} here)"
        return f"kept: the same {len(ours)} training singers"


def sha256_of(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _differences(group: str, theirs: dict[str, Any], ours: dict[str, Any], but: tuple[str, ...] = ()) -> list[str]:
    found: list[str] = []
    for name in theirs | ours:
        there, here = theirs.get(name), ours.get(name)
        if isinstance(there, dict) and isinstance(here, dict):
            found += _differences(f"{group}.{name}", there, here)
        elif there != here and name not in but:
            found.append(f"{group}.{name} is {there} there, {here} here")
    return found
