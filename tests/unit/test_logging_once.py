"""A message is logged once, in a process or in a context, and what was logged takes little memory."""

import logging

import pytest

from singer_verify.logging_once import MAX_REMEMBERED, forget_messages, log_once, omit_repeated_messages, warn_once

log = logging.getLogger("singer_verify.some.module")


@pytest.fixture(autouse=True)
def _log_messages_again() -> None:
    forget_messages()


def test_a_message_is_logged_once_with_its_level_and_logger(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, log.name):
        for _ in range(3):
            warn_once(log, "100 % of it")
            log_once(log, "another")
    assert caplog.record_tuples == [(log.name, logging.WARNING, "100 % of it"), (log.name, logging.INFO, "another")]
    forget_messages()
    warn_once(log, "100 % of it")
    assert len(caplog.records) == 3


@pytest.mark.slow
def test_what_was_logged_long_ago_is_forgotten(caplog: pytest.LogCaptureFixture) -> None:
    for message in ("first", *map(str, range(MAX_REMEMBERED)), "first"):
        warn_once(log, message)
    assert caplog.messages.count("first") == 2


def test_repetitions_are_omitted_within_the_context(caplog: pytest.LogCaptureFixture) -> None:
    for _ in range(2):
        with omit_repeated_messages(log):
            for number in (1, 2, 1, 1):
                log.warning("number %d", number)
    log.warning("number %d", 1)
    assert caplog.messages == [*["number 1", "number 2"] * 2, "number 1"]
