"""Trainings that begin with the weights of another run, and where their folders lie."""

import copy
import json
import logging
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from torch import nn

from singer_verify.corpora.names import normalise_name
from singer_verify.errors import SingerVerifyError
from singer_verify.features.normalisation import Normalisation
from singer_verify.features.recipe import canonical_recipe
from singer_verify.runs.checkpoints import extract_encoder_state, extract_loss_state, find_checkpoint, read_checkpoint
from singer_verify.runs.model_metadata import METADATA_KEY, NON_ARCHITECTURE_SETTINGS, ModelMetadata
from singer_verify.runs.provenance import compute_file_sha256
from singer_verify.runs.settings import SETTINGS_KEY
from singer_verify.safe_loading import refuse_untrusted_targets
from singer_verify.training.module import Verifier
from singer_verify.training.overrides import INHERITED_GROUPS, format_overrides

log = logging.getLogger(__name__)
CORPUS_SETTINGS = "features.params."  # of precomputed features, in the corpus's feat_params.yaml
ABSENT = object()
WINDOW_SETTINGS = ("data.window_frames", "data.crop_seconds")  # each of them sets the evaluation window


@dataclass(frozen=True)
class ParentCheckpoint:
    """A checkpoint whose weights a new training begins with.

    Attributes:
        path: path of the checkpoint.
        content: content of the checkpoint.
    """

    path: Path
    content: dict[str, Any]

    @classmethod
    def read(cls, init_from: str) -> "ParentCheckpoint":
        """Read the checkpoint that a new training begins with.

        Args:
            init_from: a run folder (its best checkpoint), a `.ckpt` or a `saved_model.pt`.

        Raises:
            SingerVerifyError: not a model of singer_verify.
        """
        path = find_checkpoint(Path(init_from))
        return cls(path, read_checkpoint(path))

    @property
    def step(self) -> int:
        return int(self.content.get("global_step", self.content.get("step", 0)))

    def require_match(self, recipe: dict[str, Any], encoder: dict[str, Any]) -> None:
        """Refuse weights made for other frames or for another architecture.

        Raises:
            SingerVerifyError: naming every setting that differs, with both values.
        """
        card = self.content[METADATA_KEY]
        differences = _find_mismatches("features", canonical_recipe(card["recipe"]), canonical_recipe(recipe))
        if not differences:  # different frames often mean different bins, which would be reported twice
            differences = _find_mismatches("encoder", card["encoder"], encoder, but=NON_ARCHITECTURE_SETTINGS)
        if differences:
            overrides = [name for name in differences if not name.lstrip("+~").startswith(CORPUS_SETTINGS)]
            raise SingerVerifyError(
                f"init_from={self.path}: does not fit this training: {'; '.join(differences.values())}; set them like "
                f"the parent's{': ' if overrides else ''}{' '.join(overrides)}."
            )

    def transfer_weights(self, verifier: Verifier) -> dict[str, list[str]]:
        """Copy the parent's weights into a matching verifier; return the parts that were `taken` and `dropped`.

        Where both losses have a term, its parameters are taken too; those of a singer-specific term only if the
        training singers are the same.
        """
        self._load_state(verifier.encoder, extract_encoder_state(self.content))
        assert verifier.metadata is not None
        parent_singers = [normalise_name(singer) for singer in self.content[METADATA_KEY]["train_singers"]]
        own_singers = list(verifier.metadata.train_singers)
        states: dict[str, dict[str, Any]] = {}  # of the parent's terms that have parameters
        for key, value in extract_loss_state(self.content).items():
            _, name, parameter = key.split(".", 2)
            states.setdefault(name, {})[parameter] = value
        taken, dropped = ["encoder"], dict.fromkeys(states, "not a term of this loss")
        for name, term in verifier.loss.iterate_terms():
            if name not in states:
                continue
            if term.singer_specific and parent_singers != own_singers:
                dropped[name] = (
                    f"specific to other training singers: {len(parent_singers)} there, {len(own_singers)} here"
                )
                continue
            self._load_state(verifier.loss.terms[name], states[name])
            taken.append(name)
            del dropped[name]
        verifier.metadata = verifier.metadata.with_pretraining(ModelMetadata.from_dict(self.content[METADATA_KEY]))
        reasons = ", ".join(f"{name} ({reason})" for name, reason in sorted(dropped.items())) or "nothing"
        log.info("%s, step %d: took %s; dropped %s.", self.path, self.step, ", ".join(taken), reasons)
        return {"taken": taken, "dropped": sorted(dropped)}

    def record(self, run: Path, parts: dict[str, list[str]]) -> dict[str, Any]:
        """Return the entry of `run.json` about the parent, with its path relative to the run."""
        return {
            "checkpoint": os.path.relpath(self.path, run),
            "sha256": compute_file_sha256(self.path),
            "step": self.step,
            **parts,
        }

    def _load_state(self, part: nn.Module, state: dict[str, Any]) -> None:
        try:
            part.load_state_dict(state)
        except RuntimeError as error:
            reason = " ".join(str(error).split())
            raise SingerVerifyError(f"init_from={self.path}: its weights do not fit ({reason}).") from error


def _find_mismatches(
    group: str, parent_settings: dict[str, Any], own_settings: dict[str, Any], but: tuple[str, ...] = ()
) -> dict[str, str]:
    """Return a description of each setting that differs, by the override that sets it like the parent's."""
    mismatches: dict[str, str] = {}
    for name in parent_settings | own_settings:
        there, here = parent_settings.get(name), own_settings.get(name)
        if isinstance(there, dict) and isinstance(here, dict):
            mismatches |= _find_mismatches(f"{group}.{name}", there, here)
        elif there != here and name not in but:
            (override,) = format_overrides({name: there}, f"{group}.")
            if name not in own_settings:
                override = f"+{override}"
            elif name not in parent_settings:
                override = f"~{group}.{name}"
            mismatches[override] = f"{group}.{name} is {there} there, {here} here"
    return mismatches


def inherited_normalisation(ckpt_path: str | None, init_from: str | None) -> dict[str, Any]:
    """Return the normalisation statistics that a checkpoint's weights were trained with; empty without any.

    A resumed run keeps its own, to the bit. A run that begins with another's weights keeps those of that run, whatever
    its corpus: the weights expect frames on that scale, and frozen parts cannot adapt to another.

    Args:
        ckpt_path: checkpoint to continue from.
        init_from: a run folder or a checkpoint to begin with; not used by a run that is continued.

    Raises:
        SingerVerifyError: not a model of singer_verify.
    """
    if ckpt_path is None and init_from is None:
        return {}
    path = Path(ckpt_path) if ckpt_path else find_checkpoint(Path(str(init_from)))
    statistics = Normalisation.from_recipe(read_checkpoint(path)[METADATA_KEY]["recipe"]).statistics
    if statistics and not ckpt_path:
        log.info(
            "%s: frames are normalised by the statistics of its training corpus, which its weights were trained with.",
            path,
        )
    return dict(statistics)


def inherit_settings(config: DictConfig, overrides: Sequence[str], ckpt_path: str | None = None) -> DictConfig:
    """Return the settings of a training that begins with another run's weights: recipe and encoder are the parent's.

    What was typed stays: another `features` or `encoder` as a whole, and single settings such as `encoder.dropout=0.2`.
    The evaluation window is the parent's too, whatever the length of a crop, so that validation compares. A resumed
    training has what its checkpoint records: the parent is not read again.

    Args:
        config: settings of the run.
        overrides: what was typed.
        ckpt_path: checkpoint that the run continues from.

    Raises:
        SingerVerifyError: not a model of singer_verify, or one whose classes are not trusted.
    """
    if config.get("init_from") is None:
        return config
    inherited = _read_recorded_settings(Path(ckpt_path)) if ckpt_path else read_parent_settings(str(config.init_from))
    refuse_untrusted_targets(inherited)
    merged = copy.deepcopy(config)
    OmegaConf.set_readonly(merged, False)
    typed = [override.partition("=")[0].lstrip("+~") for override in overrides]
    for group in INHERITED_GROUPS:
        is_precomputed = str(inherited[group].get("_target_")).endswith(".PrecomputedFeature")  # the corpus decides
        if group in typed or is_precomputed or not inherited[group]:
            continue
        settings = OmegaConf.create(inherited[group])
        for name in typed:
            if name.startswith(f"{group}.") and OmegaConf.select(config, name, default=ABSENT) is not ABSENT:
                OmegaConf.update(settings, name.partition(".")[2], OmegaConf.select(config, name), force_add=True)
        merged[group] = settings
    if not set(typed) & set(WINDOW_SETTINGS) and "window_frames" in merged.data:
        merged.data.window_frames = inherited["window_frames"]
    return merged


def read_parent_settings(init_from: str) -> dict[str, Any]:
    """Return recipe, encoder and window of a model, as settings of a training; `num_bins` follows from the recipe.

    Raises:
        SingerVerifyError: not a model of singer_verify, or a setting that would be computed instead of read.
    """
    path = find_checkpoint(Path(init_from))
    metadata = read_checkpoint(path)[METADATA_KEY]
    encoder = {name: value for name, value in metadata["encoder"].items() if name != "num_bins"}
    settings = {"features": canonical_recipe(metadata["recipe"]), "encoder": encoder}
    if "${" in json.dumps(settings):
        raise SingerVerifyError(f"{path}: a setting of its recipe or encoder contains ${{; expected plain values.")
    return settings | {"window_frames": metadata["window_frames"]}


def _read_recorded_settings(ckpt_path: Path) -> dict[str, Any]:
    """Return the same three as the checkpoint of a training records them."""
    settings = read_checkpoint(ckpt_path).get(SETTINGS_KEY) or {}
    if "${" in json.dumps(settings):
        raise SingerVerifyError(f"{ckpt_path}: a setting contains ${{; expected plain values.")
    groups = {group: settings.get(group) or {} for group in ("features", "encoder")}
    return groups | {"window_frames": (settings.get("data") or {}).get("window_frames")}
