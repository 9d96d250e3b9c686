"""What the tables that set a study beside published results read."""

from __future__ import annotations

from typing import Literal

from sparrow.files.specs import PlainValues, Spec


class MethodKind(PlainValues):
    """What a method is known by elsewhere: its kind, what it prunes, and in words what it is set to besides."""

    kind: str
    granularity: str
    """`weight`, `filter`, or a pattern such as `2:4`; empty for a dense network."""
    settings: str


class Kinds(PlainValues):
    """Of what kind each of a study's labels is."""

    datasets: dict[str, str]
    """The kind that a data set stands in for, if it does."""
    stand_ins: list[str]
    """Labels of data sets that are not of the kind that `datasets` has."""
    models: dict[str, str]
    objectives: dict[str, str]
    methods: dict[str, MethodKind]
    stage: Literal["pruned", "finetuned", "grafted"]
    """At which pruned networks are compared."""


class HeadlineSpec(Kinds, Spec):
    """The sources of published averages that the study is set beside."""

    sources: list[str]


class PublishedSpec(Kinds, Spec):
    """The sources of published figures that the study is set beside, and how its own figures came about."""

    sources: list[str]
    ratios: list[float]
    attacks: dict[str, dict[str, str]]
    """Kinds by label, of each objective's networks."""
    verifiers: dict[str, dict[str, str]]
    """Kinds by label, of each objective's networks."""
    nonstandard: dict[str, str]
    """Settings, in words, of attacks that are not the standard version that is meant elsewhere."""
    not_in_era: list[str]
    epochs: dict[str, dict[str, str]]
    """Epochs in words by objective and method, such as `100 + 20 + 100`."""

    def kinds_of(self, role: Literal["attack", "verifier"]) -> dict[str, dict[str, str]]:
        """The `attacks` or the `verifiers`."""
        return self.attacks if role == "attack" else self.verifiers
