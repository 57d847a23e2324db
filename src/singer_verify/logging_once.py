"""Messages that are logged once although their cause is met several times: a command reads its corpus repeatedly."""

import functools
import logging
from collections.abc import Iterator
from contextlib import contextmanager

MAX_REMEMBERED = 10_000  # messages; of those said before, the oldest may be said again


def warn_once(log: logging.Logger, message: str) -> None:
    """Log a warning, once in a process."""
    _log(log.name, logging.WARNING, message)


def log_once(log: logging.Logger, message: str) -> None:
    """Log a message of level INFO, once in a process."""
    _log(log.name, logging.INFO, message)


def forget_messages() -> None:
    """Forget which messages were logged, so that each is logged once more."""
    _log.cache_clear()


@contextmanager
def omit_repeated_messages(log: logging.Logger) -> Iterator[None]:
    """Within this context, let a logger pass each of its messages once."""

    @functools.lru_cache(MAX_REMEMBERED)
    def remember(message: str) -> Iterator[bool]:
        return iter([True])

    def is_new(record: logging.LogRecord) -> bool:
        return next(remember(record.getMessage()), False)  # the iterator of a known message is used up

    log.addFilter(is_new)
    try:
        yield
    finally:
        log.removeFilter(is_new)


@functools.lru_cache(MAX_REMEMBERED)
def _log(logger: str, level: int, message: str) -> None:
    logging.getLogger(logger).log(level, "%s", message)
