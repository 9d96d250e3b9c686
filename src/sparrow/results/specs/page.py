"""What the page of a study reads besides its tables and figures."""

from __future__ import annotations

from typing import Any

from sparrow.files.specs import PlainValues, Spec
from sparrow.settings import Threat


class Entry(PlainValues):
    """Something that a study names, in words."""

    label: str
    kind: str
    says: str
    """What it is, in a sentence."""
    options: str
    """Those that the study has set, such as `steps 20, samples 150`; empty if it left all as they are."""


class ShownFigure(PlainValues):
    """A figure, what to say of it, and the tables behind it."""

    dataset: str
    model: str
    name: str
    caption: str
    path: str
    """Without suffix."""
    tables: list[str]
    """Names of files; none, where it is drawn from the files of single runs."""


class PageSpec(Spec):
    """The study in words, its figures, and what to cite."""

    name: str
    results: str
    stage: str
    """At which pruned networks are shown."""
    seeds: list[int]
    ratios: list[float]
    threats: dict[str, Threat]
    """By objective."""
    entries: dict[str, list[Entry]]
    """By room, in the order of the study."""
    training: dict[str, Any]
    """The schedules, as the study gives them."""
    figures: list[ShownFigure]
    bibtex: str
    templates: str
    """Digest of the page's layout, which no code says."""
