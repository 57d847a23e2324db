"""The command `singer-verify`, called in this process."""

import pytest
from typer.testing import CliRunner

from singer_verify.cli import app
from singer_verify.errors import SingerVerifyError


def call(*arguments: object) -> str:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.stdout


def refusal(*arguments: object) -> str:
    with pytest.raises(SingerVerifyError) as caught:
        CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
    return str(caught.value)
