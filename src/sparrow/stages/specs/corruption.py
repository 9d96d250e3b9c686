"""What corrupting a data set's test images reads."""

from __future__ import annotations

from sparrow.files.specs import PlainValues, Spec


class Corrupted(PlainValues):
    """Which corrupted images there are of a data set."""

    kinds: list[str]
    severities: list[int]
    samples: int | None = None
    file: str | None = None
    """The archive that they are read from; they are made if there is none."""


class CorruptSpec(Spec):
    """Of one data set."""

    corruptions: Corrupted
