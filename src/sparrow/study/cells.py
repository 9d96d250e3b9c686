"""What a study consists of: its networks, their checkpoints, and the outcome tables of each. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Literal, NamedTuple

from sparrow import radius
from sparrow.catalogue import EVALUATED_ROOMS, EvaluatedRoom
from sparrow.errors import SparrowError
from sparrow.files.paths import (
    DENSE,
    GRAFTED,
    INITIAL,
    Cell,
    Checkpoint,
    Parent,
    base_of,
    outcome_job,
    parse,
    variant_name,
    variant_of,
)
from sparrow.study.config import Study
from sparrow.study.pipelines import PIPELINES, Stages


class Table(NamedTuple):
    """An outcome table: of an attack or verifier at one radius."""

    room: EvaluatedRoom
    entry: str
    """Label of the attack or verifier."""
    eps: float
    swept: bool
    """Whether `eps` is another radius than the threat's."""

    @property
    def name(self) -> str:
        """The entry's label, with the radius behind it where that is not the threat's: `pgd`, `pgd-eps0.05`."""
        return f"{self.entry}-eps{radius.label(self.eps)}" if self.swept else self.entry

    @property
    def path(self) -> str:
        """Its file in the folder of a checkpoint's evaluations, without the suffix: `attacks/pgd`."""
        return outcome_job(self.room, self.name)


def tables(study: Study, room: EvaluatedRoom, objective: str | None = None) -> dict[str, Table]:
    """The outcome tables of each checkpoint trained on `objective` by name, in the order of the config.

    Without `objective`, those of all: one name may stand for another radius where the threat is another.
    """
    if objective is None:
        found = [table for one in reversed(study.objectives) for table in tables(study, room, one).values()]
        order = list(getattr(study, room))
        return {table.name: table for table in sorted(found, key=lambda table: order.index(table.entry))}
    own = study.threat_of(objective).eps
    found = [
        Table(room, label, eps, eps != own)
        for label, entry in study.evaluations(room, objective).items()
        for eps in entry.eps or [own]
    ]
    return {table.name: table for table in found}


def table(study: Study, room: EvaluatedRoom, objective: str, name: str) -> Table:
    """The outcome table of that name. Raises SparrowError if networks trained on `objective` have none such."""
    found = tables(study, room, objective)
    if name not in found:
        raise SparrowError(f"{room}: networks trained on {objective} have no {name}; valid: {', '.join(found) or 'none'}")
    return found[name]


def attacks_with_examples(study: Study) -> set[str]:
    """Names of the attacks' tables whose adversarial examples are kept: as configured, or since a cascade or an analysis asks
    for them."""
    asking = [getattr(entry, "attacks", None) for entry in study.analyses.values() if "examples" in entry.needs]
    return {
        table.name
        for objective in study.objectives
        for table in tables(study, "attacks", objective).values()
        if getattr(study.attacks[table.entry], "keep_examples", False)
        or any(table in attacks_rechecked_by(study, one, objective) for one in tables(study, "verifiers", objective).values())
        or any(table in attacks_to_try(study, named, objective) for named in asking)
    }


def attacks_with_examples_of_dense(study: Study) -> set[str]:
    """Names of the attacks' tables whose adversarial examples of dense networks are kept: those of all networks, and those that
    are tried on others."""
    return attacks_with_examples(study) | {
        source.name
        for objective in study.objectives
        for table in tables(study, "attacks", objective).values()
        for source in attacks_transferred_by(study, table, objective)
    }


def attacks_transferred_by(study: Study, attack: Table, objective: str) -> list[Table]:
    """The attacks' tables whose adversarial examples of the dense network an attack tries; none if it searches by itself."""
    entry = study.attacks[attack.entry]
    return attacks_to_try(study, getattr(entry, "attacks", None), objective, attack.eps) if entry.transfers else []


def attacks_to_try(study: Study, named: list[str] | None, objective: str, eps: float | None = None) -> list[Table]:
    """The attacks' tables whose adversarial examples may be tried on other networks at `eps` (the threat's, if None): of the
    attacks `named` (of all that search, if None) those at that radius or of any distance."""
    eps = study.threat_of(objective).eps if eps is None else eps
    return [
        table
        for table in tables(study, "attacks", objective).values()
        if not study.attacks[table.entry].transfers
        and (named is None or table.entry in named)
        and (table.eps == eps or is_minimum_norm(study, table))
    ]


def attacks_rechecked_by(study: Study, verifier: Table, objective: str) -> list[Table]:
    """The attacks' tables whose adversarial examples a verifier classifies again: those at its radius or of any distance."""
    labels = getattr(study.verifiers[verifier.entry], "attacks", ())
    return [
        table
        for table in tables(study, "attacks", objective).values()
        if table.entry in labels and (table.eps == verifier.eps or is_minimum_norm(study, table))
    ]


def verifiers_trusted_by(study: Study, attack: Table, objective: str) -> list[Table]:
    """The verifiers' tables whose verified images an attack leaves out: those at its radius."""
    labels = getattr(study.attacks[attack.entry], "skip_verified", ())
    found = tables(study, "verifiers", objective).values()
    return [table for table in found if table.entry in labels and table.eps == attack.eps]


def is_minimum_norm(study: Study, table: Table) -> bool:
    """Whether an attack's table is of one that searches the nearest adversarial image, whatever its distance."""
    return study.attacks[table.entry].minimum_norm


def is_smoothed(study: Study, table: Table) -> bool:
    """Whether a verifier's table is of one that certifies a smoothed classifier in place of the network."""
    return study.verifiers[table.entry].smoothed


def metrics_of(study: Study, objective: str) -> list[str]:
    """The metrics, of `era` and `vra`, that an objective's networks have if nothing fails."""
    attacks, verifiers = (tables(study, room, objective).values() for room in ("attacks", "verifiers"))
    found = {"era": bool(attacks), "vra": not all(is_smoothed(study, table) for table in verifiers)}
    return [name for name, there in found.items() if there]


def has_security_curve(study: Study) -> bool:
    """Whether accuracy is known at more than one radius."""
    found = [table for one in study.objectives for room in EVALUATED_ROOMS for table in tables(study, room, one).values()]
    return any(table.swept or (table.room == "attacks" and is_minimum_norm(study, table)) for table in found)


def parents(study: Study) -> list[Parent]:
    """The dense networks of a study."""
    found = [Parent(*labels) for labels in product(study.datasets, study.models, study.objectives, study.seeds)]
    return [parent for parent in found if is_trained_on(study, parent.model, parent.objective)]


def is_trained_on(study: Study, model: str, objective: str) -> bool:
    """Whether `model` is trained on `objective`."""
    only = study.objectives[objective].models
    return only is None or model in only


def prunes(study: Study) -> bool:
    """Whether any pruned network is evaluated."""
    return bool({"pruned", "finetuned", GRAFTED} & set(study.evaluate))


def shown_stage(study: Study) -> Literal["pruned", "finetuned", "grafted"]:
    """The stage of pruned networks that figures and comparisons with published results show, of those that are evaluated."""
    if "finetuned" in study.evaluate:
        return "finetuned"
    return "grafted" if GRAFTED in study.evaluate else "pruned"


def cells(study: Study) -> list[Cell]:
    """The pruned networks of a study: its own, then those that are there because they are imported."""
    if not prunes(study):
        return []
    methods = [(label, ratio) for label, method in study.methods.items() for ratio in method.ratios or study.ratios]
    own = [Cell(parent, *method) for parent, method in product(parents(study), methods)]
    return list(dict.fromkeys([*own, *(found.cell for found in map(parse, study.imports) if found.cell)]))


def pipeline_of(study: Study, cell: Cell) -> Stages:
    """Where a pruned network comes from and how it trains; of a method that only an import has, as of one that prunes after."""
    method = study.methods.get(cell.method)
    return PIPELINES[method.pipeline if method else "after"]


def parent_of(study: Study, one: Checkpoint) -> Checkpoint | None:
    """The checkpoint that the study makes another one from; None for an initial network."""
    if variant_of(one.stage):
        return one._replace(stage=base_of(one.stage))
    if one.cell is None:
        return None if one.stage == INITIAL else Checkpoint(one.parent, None, INITIAL)
    before = {"finetuned": "pruned", GRAFTED: "finetuned"}.get(one.stage)
    if before:
        return Checkpoint(one.parent, one.cell, before)
    return Checkpoint(one.parent, None, pipeline_of(study, one.cell).parent)


def teacher_of(study: Study, one: Checkpoint) -> Checkpoint | None:
    """The checkpoint that the study has another one learn from when it is made; None if it learns from none."""
    taught = one.stage == "finetuned" and study.distillation(one.parent.objective)
    return Checkpoint(one.parent, None, taught.teacher) if taught else None


def read_by(study: Study, one: Checkpoint) -> list[Checkpoint]:
    """The checkpoints that making another one takes: its parent and its teacher."""
    return [found for found in (parent_of(study, one), teacher_of(study, one)) if found is not None]


def checkpoints(study: Study) -> Iterator[Checkpoint]:
    """All checkpoints that a study could evaluate, whoever made them."""
    for parent in parents(study):
        yield from _with_variants(study, Checkpoint(parent, None, DENSE))
    for cell in cells(study):
        own = _is_own(study, cell)
        for stage in ("pruned", "finetuned", *([GRAFTED] if study.grafting else [])):
            found = Checkpoint(cell.parent, cell, stage)
            # Without a method of the study's, only what was imported is there, and what can be fine-tuned and grafted.
            own = own or found.path in study.imports
            if own:
                yield from _with_variants(study, found)


def _with_variants(study: Study, one: Checkpoint) -> Iterator[Checkpoint]:
    """A checkpoint, and what the study could evaluate of its variants."""
    yield one
    yield from (one._replace(stage=variant_name(one.stage, label)) for label in study.variants)


def made(study: Study) -> Iterator[Checkpoint]:
    """The checkpoints that the study makes itself: what it evaluates or fine-tunes, and what that is made from.

    Imported ones are there already, and what would only have led to them is not made.
    """
    needed: set[Checkpoint] = set()
    goals = [one for one in checkpoints(study) if one.stage == "finetuned" or one.stage in study.evaluate]
    while goals:
        one = goals.pop()
        if one not in needed and one.path not in study.imports:
            needed.add(one)
            goals += read_by(study, one)
    initial = (Checkpoint(parent, None, INITIAL) for parent in parents(study))
    yield from (one for one in (*initial, *checkpoints(study)) if one in needed)


def trainings(study: Study) -> Iterator[Checkpoint]:
    """Those of them that have a learning curve: all but initial networks."""
    return (one for one in made(study) if one.stage != INITIAL)


def evaluated(study: Study) -> Iterator[Checkpoint]:
    """The checkpoints that are attacked and verified."""
    return (checkpoint for checkpoint in checkpoints(study) if checkpoint.stage in study.evaluate)


def without_filters(study: Study) -> Iterator[Checkpoint]:
    """The evaluated checkpoints whose method removes whole filters, of which they are smaller."""
    for checkpoint in evaluated(study):
        if filters_gone(study, checkpoint):
            yield checkpoint


def filters_gone(study: Study, checkpoint: Checkpoint) -> float:
    """The share of its filters that a checkpoint's network is without: its ratio, if whole filters have been pruned, else 0."""
    path = checkpoint._replace(stage=base_of(checkpoint.stage)).path
    by_filter = checkpoint.cell and _granularity(study, path, checkpoint.cell) == "filter"
    return checkpoint.cell.ratio if checkpoint.cell and by_filter else 0.0


def patterns(study: Study) -> dict[str, str]:
    """The evaluated checkpoints, by path, of which N of every M weights stay: `2:4`, with the layers that are spared."""
    found = {}
    for one in evaluated(study):
        base = one._replace(stage=base_of(one.stage)).path
        kept = _granularity(study, base, one.cell) if one.cell else ""
        if one.cell and ":" in kept:
            spared = " ".join(getattr(study.methods[one.cell.method], "dense_layers", ()))
            found[one.path] = f"{kept}, dense {spared}" if spared else kept
    return found


def _is_own(study: Study, cell: Cell) -> bool:
    """Whether the study can prune this cell by itself."""
    return cell.method in study.methods and cell.ratio in (study.methods[cell.method].ratios or study.ratios)


def _granularity(study: Study, path: str, cell: Cell) -> str:
    """What the checkpoint `path` of a pruned network lost: `weight`, `filter`, or all but a pattern such as `2:4`."""
    imported = study.imports.get(path) or study.imports.get(f"{cell.path}/pruned")
    entry = imported or study.methods[cell.method]
    return getattr(entry, "granularity", "weight")
