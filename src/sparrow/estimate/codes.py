"""Whether step times were measured with the code that entries have now. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from sparrow.catalogue import PACKAGES
from sparrow.estimate.rates import Row
from sparrow.estimate.unit import Unit
from sparrow.study.code_digest import entry_digest, is_own


class Outdated(NamedTuple):
    """A row that was measured with other code than there is."""

    row: Row
    entries: tuple[str, ...]
    """The entries whose code differs, or is unknown, such as `models.my-net`."""


def code_of(unit: Unit) -> str:
    """The digests of the code of a unit's entries, as a row has them. Raises ModuleNotFoundError if there is no such entry."""
    return " ".join(map(entry_digest, unit.modules))


def current(rows: Iterable[Row], units: Iterable[Unit]) -> tuple[list[Row], list[Outdated]]:
    """The rows about entries that some of `units` have, those whose code is as it was and the others.

    A row without digests counts as current unless one of its entries is one's own: those that come with Sparrow have none.
    """
    models, entries = ({getattr(unit, name) for unit in units} for name in ("model", "entry"))
    valid, outdated = [], []
    for row in rows:
        if row.model in models and row.entry in entries:
            if changed := _changed(row):
                outdated.append(Outdated(row, changed))
            else:
                valid.append(row)
    return valid, outdated


def _changed(row: Row) -> tuple[str, ...]:
    modules, known = row.unit.modules, row.code.split()
    if not known:
        return tuple(_name(module) for module in modules if is_own(module))
    if len(known) != len(modules):
        return tuple(map(_name, modules))
    return tuple(_name(module) for module, code in zip(modules, known, strict=True) if entry_digest(module) != code)


def _name(module: str) -> str:
    package, _, entry = module.rpartition(".")
    room = next(room for room, own in PACKAGES.items() if own == package)
    return f"{room}.{entry.replace('_', '-')}"
