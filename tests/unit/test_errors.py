"""Refusals name the setting, its value and what is allowed; entries end with that sentence."""

import pytest
from hydra.errors import InstantiationException

from singer_verify.cli.console import format_user_error, report_user_errors
from singer_verify.errors import SingerVerifyError, require_at_least, require_between, require_choice


@pytest.mark.parametrize("value", [0, -3, 2.5, "many", None, True])
def test_whole_numbers(value: object) -> None:
    with pytest.raises(SingerVerifyError, match=f"data.size={value}: expected an integer of at least 1"):
        require_at_least(1, **{"data.size": value})
    require_at_least(1, **{"data.size": 1})


@pytest.mark.parametrize("value", [-0.1, 1.1, float("nan"), "half", True])
def test_ranges(value: object) -> None:
    with pytest.raises(SingerVerifyError, match="expected a number between 0 and 1"):
        require_between(0.0, 1.0, dropout=value)
    require_between(0.0, 1.0, dropout=1)


def test_choices() -> None:
    with pytest.raises(SingerVerifyError, match="pooling=first: expected one of last, mean"):
        require_choice(("last", "mean"), pooling="first")


def test_our_sentence_is_found_under_what_a_library_wraps_around_it() -> None:
    wrapped = InstantiationException("Error in call to target 'x'")
    wrapped.__cause__ = SingerVerifyError("num_bins=0: too few.")
    assert format_user_error(wrapped) == "num_bins=0: too few."


def test_a_mistake_ends_with_its_sentence_and_status_1(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended, report_user_errors():
        raise SingerVerifyError("no such folder.")
    assert ended.value.code == 1
    assert capsys.readouterr().err == "error: no such folder.\n"


def test_other_errors_keep_their_traceback() -> None:
    with pytest.raises(ZeroDivisionError), report_user_errors():
        print(1 / 0)
