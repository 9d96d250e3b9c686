"""What writing down a network's logits reads."""

from __future__ import annotations

from sparrow.files.specs import Entry, Spec


class OutputsSpec(Spec):
    """On how many test images, and at which radii of noise, drawn how often."""

    model: Entry
    noise: list[float] | None = None
    draws: int
    samples: int | None = None
    batch_size: int
