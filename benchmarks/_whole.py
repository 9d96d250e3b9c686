"""Networks as attacks and bounds saw them before there were views: with all units that cannot matter."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from unittest import mock

VIEWED = (
    "sparrow.adversary.search",
    "sparrow.verification.bounds",
    "sparrow.verification.crown",
    "sparrow.verification.splitting",
)
"""Modules that look at a view of a network."""


@contextmanager
def networks_whole() -> Iterator[None]:
    """While the context is active, what looks at a network sees all of it."""
    with ExitStack() as patches:
        for module in VIEWED:
            patches.enter_context(mock.patch(f"{module}.live_view", lambda model, shape: model))
        yield
