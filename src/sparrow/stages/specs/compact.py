"""What cutting pruned filters out reads."""

from __future__ import annotations

from sparrow.files.specs import Entry, Spec


class CompactSpec(Spec):
    """The network's architecture."""

    model: Entry
