"""From a study to its cells, its files and the slice of the configuration that each job reads. Imports no torch.

A slice holds what the job reads and nothing more, plus a digest of the code that it runs, so that a change re-runs what
it touches and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from math import prod
from typing import Any, Literal, NamedTuple

from sparrow import catalogue, radius
from sparrow.catalogue import Room
from sparrow.data import extra
from sparrow.errors import SparrowError
from sparrow.exchange import keymap_files
from sparrow.files.paths import DENSE, Cell, Checkpoint, Parent, parse
from sparrow.settings import Settings
from sparrow.study import sources
from sparrow.study.code_digest import code_digest
from sparrow.study.config import Study
from sparrow.study.sections import Import


class Table(NamedTuple):
    """An outcome table: an attack or verifier at one radius."""

    room: Literal["attacks", "verifiers"]
    entry: str
    eps: float
    swept: bool

    @property
    def name(self) -> str:
        """The entry's label, and the radius where it is not the threat's."""
        return f"{self.entry}-eps{radius.label(self.eps)}" if self.swept else self.entry

    @property
    def path(self) -> str:
        """Where it lies in the folder of a checkpoint's evaluations, without its suffix."""
        return f"{self.room}/{self.name}"


def tables(study: Study, room: Literal["attacks", "verifiers"], objective: str | None = None) -> dict[str, Table]:
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


def table(study: Study, room: Literal["attacks", "verifiers"], objective: str, name: str) -> Table:
    """The outcome table of that name. Raises SparrowError if networks trained on `objective` have none such."""
    found = tables(study, room, objective)
    if name not in found:
        raise SparrowError(f"{room}: networks trained on {objective} have no {name}; valid: {', '.join(found) or 'none'}")
    return found[name]


def kept(study: Study) -> set[str]:
    """Names of the attacks' tables whose adversarial examples are kept: as configured, or since a cascade asks for them."""
    return {
        table.name
        for objective in study.objectives
        for table in tables(study, "attacks", objective).values()
        if getattr(study.attacks[table.entry], "keep_examples", False)
        or any(table in rechecked(study, one, objective) for one in tables(study, "verifiers", objective).values())
    }


def rechecked(study: Study, verifier: Table, objective: str) -> list[Table]:
    """The attacks' tables whose adversarial examples a verifier looks at: at its radius, or of any distance."""
    labels = getattr(study.verifiers[verifier.entry], "attacks", ())
    return [
        table
        for table in tables(study, "attacks", objective).values()
        if table.entry in labels and (table.eps == verifier.eps or _minimum_norm(study, table))
    ]


def believed(study: Study, attack: Table, objective: str) -> list[Table]:
    """The verifiers' tables whose verified images an attack leaves out: those at its radius."""
    labels = getattr(study.attacks[attack.entry], "skip_verified", ())
    found = tables(study, "verifiers", objective).values()
    return [table for table in found if table.entry in labels and table.eps == attack.eps]


def _minimum_norm(study: Study, table: Table) -> bool:
    return study.attacks[table.entry].minimum_norm


def _smoothed(study: Study, table: Table) -> bool:
    return study.verifiers[table.entry].smoothed


def measured(study: Study, objective: str) -> list[str]:
    """Which of `era` and `vra` an objective's networks have if nothing fails."""
    attacks, verifiers = (tables(study, room, objective).values() for room in ("attacks", "verifiers"))
    found = {"era": bool(attacks), "vra": not all(_smoothed(study, table) for table in verifiers)}
    return [name for name, there in found.items() if there]


def curved(study: Study) -> bool:
    """Whether there is accuracy at more than one radius."""
    rooms = ("attacks", "verifiers")
    found = [table for one in study.objectives for room in rooms for table in tables(study, room, one).values()]
    return any(table.swept or (table.room == "attacks" and _minimum_norm(study, table)) for table in found)


def parents(study: Study) -> list[Parent]:
    """The dense networks of a study."""
    found = [Parent(*labels) for labels in product(study.datasets, study.models, study.objectives, study.seeds)]
    return [parent for parent in found if trained(study, parent.model, parent.objective)]


def trained(study: Study, model: str, objective: str) -> bool:
    """Whether `model` is trained on `objective`."""
    only = study.objectives[objective].models
    return only is None or model in only


def prunes(study: Study) -> bool:
    """Whether any pruned network is evaluated."""
    return bool({"pruned", "finetuned"} & set(study.evaluate))


def cells(study: Study) -> list[Cell]:
    """The pruned networks of a study: its own, then those that are there because they are imported."""
    if not prunes(study):
        return []
    methods = [(label, ratio) for label, method in study.methods.items() for ratio in method.ratios or study.ratios]
    own = [Cell(parent, *method) for parent, method in product(parents(study), methods)]
    return list(dict.fromkeys([*own, *(found.cell for found in map(parse, study.imports) if found.cell)]))


def checkpoints(study: Study) -> Iterator[Checkpoint]:
    """All checkpoints of a study, whoever made them."""
    for parent in parents(study):
        yield Checkpoint(parent, None, DENSE)
    for cell in cells(study):
        for stage in ("pruned", "finetuned"):
            found = Checkpoint(cell.parent, cell, stage)
            # Without a method of the study's, only what was imported is there, and what can be fine-tuned.
            if _is_own(study, cell) or {found.path, f"{cell.path}/pruned"} & study.imports.keys():
                yield found


def trainings(study: Study) -> Iterator[Checkpoint]:
    """The checkpoints that the study makes itself: all but the imported ones and those that only led to them."""
    if not study.imports:
        yield from checkpoints(study)
        return
    made = [found for found in checkpoints(study) if found.path not in study.imports]
    goals = {found for found in made if found.stage == "finetuned" or found.stage in study.evaluate}
    pruned = {found.cell for found in goals if found.stage == "finetuned"} | {f.cell for f in goals if f.stage == "pruned"}
    dense = {found.parent for found in made if found.stage == "pruned" and found.cell in pruned}
    for found in made:
        needed = found.cell in pruned if found.stage == "pruned" else found.stage == DENSE and found.parent in dense
        if needed or found in goals:
            yield found


def evaluated(study: Study) -> Iterator[Checkpoint]:
    """The checkpoints that are attacked and verified."""
    return (checkpoint for checkpoint in checkpoints(study) if checkpoint.stage in study.evaluate)


def compacted(study: Study) -> Iterator[Checkpoint]:
    """The evaluated checkpoints that lost whole filters, which are cut out of a copy."""
    for checkpoint in evaluated(study):
        if checkpoint.cell and _granularity(study, checkpoint) == "filter":
            yield checkpoint


def _is_own(study: Study, cell: Cell) -> bool:
    """Whether the study can prune this cell by itself."""
    return cell.method in study.methods and cell.ratio in (study.methods[cell.method].ratios or study.ratios)


def _granularity(study: Study, checkpoint: Checkpoint) -> str:
    """What the network lost: `weight` or `filter`."""
    imported = study.imports.get(checkpoint.path) or study.imports.get(f"{checkpoint.cell.path}/pruned")
    entry = imported or study.methods[checkpoint.cell.method]
    return getattr(entry, "granularity", "weight")


APART = {
    "training",
    "threat",
    "models",
    "ratios",
    "objectives",
    "eps",
    "in_era",
    "keep_examples",
    "skip_verified",
    "augmentation",
}


def spec(study: Study, room: Room, label: str) -> dict[str, Any]:
    """An entry's parameters with its kind, as plain values, but for those that are passed on on their own."""
    return getattr(study, room)[label].model_dump(exclude=APART)


def data_slice(study: Study, dataset: str) -> dict[str, Any]:
    """What preparing a data set reads, but for single files, which are the rule's input."""
    entry, folders = spec(study, "datasets", dataset), sources.folders(study.datasets[dataset])
    code = code_digest("sparrow.stages.data", catalogue.module_name("datasets", entry["kind"]))
    return {"dataset": entry, "code": code} | ({"folders": folders} if folders else {})


def data_memory(study: Study, dataset: str) -> int:
    """MiB to ask for to prepare a data set, as far as it is known beforehand how many images it has."""
    params = study.datasets[dataset]
    entry = catalogue.load("datasets", params.kind)
    own = sum(filter(None, params.images or ()))
    # As read, as they were packed, and divided; the extra ones are in memory once.
    return 2000 + 4 * own * prod(entry.describe(params).shape) // 2**20 + extra_memory(study, dataset)


def extra_memory(study: Study, dataset: str) -> int:
    """MiB of the images that a data set is given besides; 0 if they cannot be read, which the job says."""
    params = study.datasets[dataset]
    try:
        images = extra.count(params)
    except SparrowError:
        return 0
    return images * prod(catalogue.load("datasets", params.kind).describe(params).shape) // 2**20


def pretrain_slice(study: Study, parent: Parent) -> dict[str, Any]:
    """What pre-training reads."""
    return _training_slice(study, parent, "pretrain", parent._asdict())


def prune_slice(study: Study, cell: Cell) -> dict[str, Any]:
    """What pruning reads; the objective and the schedule only for a method that trains."""
    method, settings = spec(study, "methods", cell.method), study.methods[cell.method]
    own = {"method": method, "ratio": cell.ratio} | _threat(study, cell.parent.objective, settings, "method_threat")
    names = ("sparrow.stages.prune", catalogue.module_name("methods", method["kind"]))
    if settings.needs != "nothing":
        own["schedule"] = study.pruning_schedule(cell.parent.objective, cell.method).model_dump()
        return _training_slice(study, cell.parent, "prune", _identity(cell), names) | own
    model = spec(study, "models", cell.parent.model)
    code = code_digest(*names, catalogue.module_name("models", model["kind"]))
    return {"cell": _identity(cell), "model": model, "code": code} | own


def finetune_slice(study: Study, cell: Cell) -> dict[str, Any]:
    """What fine-tuning reads: nothing of the method, which is in the weights and masks that it starts from."""
    return _training_slice(study, cell.parent, "finetune", _identity(cell))


def import_slice(study: Study, path: str) -> dict[str, Any]:
    """What taking over a third party's network as the checkpoint `path` reads, besides the file (and a map of the user's)."""
    checkpoint, entry = parse(path), study.imports[path]
    cell = _identity(checkpoint.cell) if checkpoint.cell else checkpoint.parent._asdict()
    architecture = spec(study, "models", checkpoint.parent.model)
    return {
        "cell": cell,
        "stage": checkpoint.stage,
        "model": architecture,
        # A map of the user's is a file that the job reads.
        "imported": entry.model_dump() | {"map_sha256": keymap_files.digest(entry.map)},
        "code": code_digest("sparrow.stages.imported", catalogue.module_name("models", architecture["kind"])),
    }


def import_files(entry: Import) -> list[str]:
    """The files that an import reads: the network's, and the map's if it is one of the user's."""
    return [entry.file, *([entry.map] if keymap_files.is_file(entry.map) else [])]


def attack_slice(study: Study, parent: Parent, attack: str) -> dict[str, Any]:
    """What an attack on a network of `parent`'s family reads; `attack` is the name of its table."""
    return _evaluation_slice(study, parent, "attack", table(study, "attacks", parent.objective, attack))


def verify_slice(study: Study, parent: Parent, verifier: str) -> dict[str, Any]:
    """What a verifier of a network of `parent`'s family reads; `verifier` is the name of its table."""
    return _evaluation_slice(study, parent, "verifier", table(study, "verifiers", parent.objective, verifier))


def aggregate_slice(study: Study) -> dict[str, Any]:
    """What aggregation reads: of all tables the names, and by objective which there are."""
    return {
        "attacks": list(tables(study, "attacks")),
        "verifiers": list(tables(study, "verifiers")),
        "objectives": {objective: _evaluated_by(study, objective) for objective in study.objectives},
        "code": code_digest("sparrow.results.aggregate"),
    }


def _evaluated_by(study: Study, objective: str) -> dict[str, Any]:
    attacks, verifiers = (tables(study, room, objective) for room in ("attacks", "verifiers"))
    return {
        "attacks": list(attacks),
        "not_in_era": [name for name, table in attacks.items() if not study.attacks[table.entry].in_era],
        "minimum_norm": [name for name, table in attacks.items() if _minimum_norm(study, table)],
        "verifiers": list(verifiers),
        "smoothed": [name for name, table in verifiers.items() if _smoothed(study, table)],
        "threat": study.threat_of(objective).model_dump(),
    }


def stability_slice(study: Study, parent: Parent) -> dict[str, Any]:
    """What counting stable ReLUs of a network of `parent`'s family reads."""
    architecture = spec(study, "models", parent.model)
    return {
        "seed": parent.seed,
        "model": architecture,
        "stability": study.stability.model_dump(),
        "threat": study.threat_of(parent.objective).model_dump(),
        "code": code_digest("sparrow.stages.stability", catalogue.module_name("models", architecture["kind"])),
    }


def latency_slice(study: Study, model: str) -> dict[str, Any]:
    """What timing the networks of one architecture reads."""
    architecture = spec(study, "models", model)
    code = code_digest("sparrow.stages.latency", catalogue.module_name("models", architecture["kind"]))
    return {"model": architecture, "latency": study.latency.model_dump(), "code": code}


def compact_slice(study: Study, model: str) -> dict[str, Any]:
    """What cutting pruned filters out reads."""
    architecture = spec(study, "models", model)
    code = code_digest("sparrow.stages.compact", catalogue.module_name("models", architecture["kind"]))
    return {"model": architecture, "code": code}


def _identity(cell: Cell) -> dict[str, Any]:
    return {**cell.parent._asdict(), "method": cell.method, "ratio": cell.ratio}


def _training_slice(
    study: Study, parent: Parent, stage: str, cell: dict[str, Any], modules: tuple[str, ...] | None = None
) -> dict[str, Any]:
    model, objective = spec(study, "models", parent.model), spec(study, "objectives", parent.objective)
    names = (catalogue.module_name("models", model["kind"]), catalogue.module_name("objectives", objective["kind"]))
    result = {
        "cell": cell,
        "model": model,
        "objective": objective,
        "schedule": study.schedule(parent.objective, stage).model_dump(),
        "augmentation": study.datasets[parent.dataset].augmentation.model_dump(),
        "code": code_digest(*(modules or (f"sparrow.stages.{stage}",)), *names),
    }
    return result | _threat(study, parent.objective, study.objectives[parent.objective], "threat")


def _threat(study: Study, objective: str, settings: Settings, key: str) -> dict[str, Any]:
    """The threat that an entry trains against, if it has an `eps`: its own, or that of the objective's networks."""
    if not hasattr(settings, "eps"):
        return {}
    threat = study.threat_of(objective)
    return {key: {"norm": threat.norm, "eps": threat.eps if settings.eps is None else settings.eps}}


def _evaluation_slice(study: Study, parent: Parent, role: str, table: Table) -> dict[str, Any]:
    architecture, entry = spec(study, "models", parent.model), spec(study, table.room, table.entry)
    stage = {"attack": "attack", "verifier": "verify"}[role]
    modules = catalogue.module_name(table.room, entry["kind"]), catalogue.module_name("models", architecture["kind"])
    return {
        "seed": parent.seed,
        "model": architecture,
        role: entry,
        "threat": {"norm": study.threat_of(parent.objective).norm, "eps": table.eps},
        "code": code_digest(f"sparrow.stages.{stage}", *modules),
    }
