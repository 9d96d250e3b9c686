"""The input of an analysis of scope `tables`: all outcome tables of a study, and the tables of analyses that it reads."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from sparrow.errors import NetworkError
from sparrow.files import outputs as outputs_file
from sparrow.files.headers import read_header
from sparrow.files.paths import DENSE, NETWORK, SCOPE_COLUMNS, identity_of
from sparrow.results import analyses
from sparrow.results.outcomes import Outcomes, read_outcomes
from sparrow.results.specs.analyses import AnalysisTables
from sparrow.results.specs.outcomes import OutcomeTables


@dataclass(frozen=True)
class Evaluated:
    """A checkpoint's identity (data set to stage, as in summary.csv), its outcome tables, and the shape of its images."""

    identity: dict[str, Any]
    outcomes: Outcomes
    shape: tuple[int, ...]
    """Channels, height and width; empty if it failed."""
    given_outputs: dict[str, Any] | None = None
    """How its logits were written down, if they were."""

    @cached_property
    def outputs(self) -> outputs_file.Outputs | None:
        """Its logits on test images; None if the network failed. Raises LookupError unless `needs` names them."""
        if self.given_outputs is None:
            raise LookupError("outputs are given to an analysis whose Params say needs = ('outputs',)")
        try:
            return outputs_file.of_network(self.outcomes.path.with_suffix(NETWORK), self.given_outputs)
        except NetworkError:
            return None

    @property
    def family(self) -> tuple[Any, ...]:
        """Data set, model, objective and seed, which a pruned network and its dense parent share."""
        return tuple(self.identity[key] for key in SCOPE_COLUMNS["family"])


@dataclass(frozen=True)
class Analysed:
    """The tables of another analysis over all of its jobs, by name, as in the results folder: who each row is about in front.

    A job that failed has no rows.
    """

    label: str
    kind: str
    tables: dict[str, pd.DataFrame]


@dataclass(frozen=True)
class Tables:
    """All evaluated networks, sorted by identity."""

    networks: tuple[Evaluated, ...]
    generator: torch.Generator
    """On the CPU; seeded, as the global ones are, by the name of the analysis."""
    analysed: tuple[Analysed, ...] = ()
    """The analyses of the kinds that `Params.reads` names, in the order of the study; those alone that the study has."""

    def dense_of(self, one: Evaluated) -> Evaluated | None:
        """The dense network that `one` was pruned from, if it was evaluated."""
        found = (other for other in self.networks if other.identity["stage"] == DENSE and other.family == one.family)
        return next(found, None)


def tables_of(paths: list[Path], configured: Mapping[str, AnalysisTables]) -> tuple[Analysed, ...]:
    """The tables of the analyses `configured`, by label, from the files of all of their jobs."""
    done = [analyses.read(path, dict(configured)) for path in paths]
    found = []
    for label, own in configured.items():
        collected = analyses.collect(done, {label: own}).values()
        found.append(Analysed(label, own.kind, dict(zip(own.tables, collected, strict=True))))
    return tuple(found)


def evaluated(
    networks: list[Path], objectives: dict[str, OutcomeTables], given_outputs: dict[str, Any] | None = None
) -> tuple[Evaluated, ...]:
    """The `networks` with the tables that their objective has, as `aggregate` reads them; `given_outputs` is that of each."""
    found = []
    for path in networks:
        header = read_header(path)
        outcomes = read_outcomes(path.with_suffix(""), objectives[header["cell"]["objective"]])
        found.append(Evaluated(identity_of(header), outcomes, tuple(header.get("shape", ())), given_outputs))
    return tuple(sorted(found, key=lambda one: tuple(one.identity.values())))
