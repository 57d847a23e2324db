"""WORLD, a vocoder's analysis (Morise, Yokomori, Ozawa 2016), as the package pyworld compiles it."""

import importlib.util
from functools import cache
from importlib.machinery import PathFinder
from types import ModuleType

from singer_verify.errors import SingerVerifyError


@cache
def world_library() -> ModuleType:
    """The functions of pyworld.

    Only its compiled module is loaded: the first lines of the package itself (0.3.5) import `pkg_resources`, which
    setuptools has no longer.

    Raises:
        SingerVerifyError: pyworld is not installed.
    """
    package = importlib.util.find_spec("pyworld")
    locations = package.submodule_search_locations if package else None
    compiled = PathFinder.find_spec("pyworld.pyworld", locations) if locations else None
    if compiled is None or compiled.loader is None:
        raise SingerVerifyError("this recipe needs the package pyworld, which is not installed; pip install pyworld.")
    module = importlib.util.module_from_spec(compiled)
    compiled.loader.exec_module(module)
    return module
