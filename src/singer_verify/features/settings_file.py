"""Settings in a yaml file."""

from pathlib import Path
from typing import Any

import yaml

from singer_verify.errors import SingerVerifyError


def read_settings(path: Path) -> Any:
    """What a yaml file holds, in plain values.

    Raises:
        SingerVerifyError: it is not yaml.
    """
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SingerVerifyError(f"{path}: is not readable yaml ({str(error).splitlines()[0]}).") from error
