"""What cutting pruned filters out reads."""

from __future__ import annotations

from sparrow.stages.specs.base import Entry, Spec


class CompactSpec(Spec):
    """The network's architecture."""

    model: Entry
