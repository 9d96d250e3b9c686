"""torchattacks, imported without the half second that it spends on scipy.stats for an attack we do not use."""

from __future__ import annotations

import importlib.util
import sys
import types
from functools import cache


@cache
def torchattacks() -> types.ModuleType:
    """The torchattacks module."""
    if "scipy.stats" not in sys.modules:
        # The standard library's way to put an import off until an attribute of the module is asked for.
        spec = importlib.util.find_spec("scipy.stats")
        spec.loader = importlib.util.LazyLoader(spec.loader)
        module = importlib.util.module_from_spec(spec)
        sys.modules["scipy.stats"] = module
        spec.loader.exec_module(module)
    return importlib.import_module("torchattacks")
