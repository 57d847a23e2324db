"""What several tests share; `typechecked` is the type checker of the whole suite (see pyproject.toml)."""

from beartype import BeartypeConf, beartype

typechecked = beartype(conf=BeartypeConf(is_pep484_tower=True))  # whole numbers pass as real numbers (PEP 484)
