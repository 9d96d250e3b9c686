"""What attacking and verifying a network read."""

from __future__ import annotations

from sparrow.files.specs import Entry, Spec
from sparrow.settings import Threat


class EvaluationSpec(Spec):
    """A network that is evaluated against a threat."""

    seed: int
    model: Entry
    threat: Threat


class AttackSpec(EvaluationSpec):
    """An attack on it."""

    attack: Entry


class VerifySpec(EvaluationSpec):
    """A verifier of it."""

    verifier: Entry
