"""The input of an analysis of scope `tables`: all outcome tables of a study."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sparrow.files.headers import read_header
from sparrow.files.paths import DENSE, SCOPE_COLUMNS, identity_of
from sparrow.results.outcomes import Outcomes, read_outcomes
from sparrow.results.specs.outcomes import OutcomeTables


@dataclass(frozen=True)
class Evaluated:
    """A checkpoint's identity (data set to stage, as in summary.csv), its outcome tables, and the shape of its images."""

    identity: dict[str, Any]
    outcomes: Outcomes
    shape: tuple[int, ...]
    """Channels, height and width."""

    @property
    def family(self) -> tuple[Any, ...]:
        """Data set, model, objective and seed, which a pruned network and its dense parent share."""
        return tuple(self.identity[key] for key in SCOPE_COLUMNS["family"])


@dataclass(frozen=True)
class Tables:
    """All evaluated networks, sorted by identity."""

    networks: tuple[Evaluated, ...]
    generator: torch.Generator
    """On the CPU; seeded, as the global ones are, by the name of the analysis."""

    def dense_of(self, one: Evaluated) -> Evaluated | None:
        """The dense network that `one` was pruned from, if it was evaluated."""
        found = (other for other in self.networks if other.identity["stage"] == DENSE and other.family == one.family)
        return next(found, None)


def evaluated(networks: list[Path], objectives: dict[str, OutcomeTables]) -> tuple[Evaluated, ...]:
    """The `networks` with the tables that their objective has, as `aggregate` reads them."""
    found = []
    for path in networks:
        header = read_header(path)
        outcomes = read_outcomes(path.with_suffix(""), objectives[header["cell"]["objective"]])
        found.append(Evaluated(identity_of(header), outcomes, tuple(header["shape"])))
    return tuple(sorted(found, key=lambda one: tuple(one.identity.values())))
