"""The type checker of the tests: beartype, with whole numbers welcome where real numbers are expected (PEP 484)."""

from beartype import BeartypeConf, beartype

typechecked = beartype(conf=BeartypeConf(is_pep484_tower=True))
