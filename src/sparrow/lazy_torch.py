"""torch, imported at first use.

A method's file holds its parameters *and* its algorithm, and the workflow reads the parameters of every method each
time it builds the DAG. Importing torch takes longer than all the rest of that, so such files write
`from sparrow.lazy_torch import torch` and use it inside functions only.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any


class _Lazy:
    """A module that is imported when one of its attributes is first read."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        return getattr(importlib.import_module(self._name), attribute)


if TYPE_CHECKING:
    import torch
else:
    torch = _Lazy("torch")
