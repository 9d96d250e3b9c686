"""What timing networks reads."""

from __future__ import annotations

from typing import Any

from sparrow.stages.specs.base import Entry, Spec


class LatencySpec(Spec):
    """An architecture, and how it is timed: `study.sections.Latency` as plain values."""

    model: Entry
    latency: dict[str, Any]
