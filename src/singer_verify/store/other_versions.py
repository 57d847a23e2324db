"""Stores that another version of this program has written: they are not read, and take space."""

import json
import logging
from pathlib import Path

from singer_verify.store.packed import FORMAT_VERSION, MANIFEST_NAME

log = logging.getLogger(__name__)


def log_other_versions(store_root: Path, beginning: str) -> None:
    """Say which stores of a split are of another version, so that its frames are computed again.

    Args:
        store_root: folder of all stores.
        beginning: of the names of the split's stores.
    """
    for manifest in sorted(store_root.glob(f"*/{MANIFEST_NAME}")):
        if not manifest.parent.name.startswith(beginning):
            continue
        version = _version(manifest)
        if version is not None and version != FORMAT_VERSION:
            log.warning(
                "%s: was written by another version (format %s, this one reads %s); its frames are computed again, "
                "and it can be deleted.",
                *(manifest.parent, version, FORMAT_VERSION),
            )


def _version(manifest: Path) -> object:
    try:
        return json.loads(manifest.read_text(encoding="utf-8"))["version"]
    except (OSError, ValueError, LookupError, TypeError):
        return None  # damaged: said where it is opened
