"""The specs of a study's jobs: of the configuration exactly what each job reads, and a digest of the code that it runs.

So a change of either runs those jobs anew that it touches, and no others. Imports no torch.
"""

from __future__ import annotations

from math import prod
from typing import Any

from sparrow import catalogue
from sparrow.catalogue import Room
from sparrow.data import extra
from sparrow.data.corruptions.choice import chosen
from sparrow.data.split import sizes
from sparrow.errors import SparrowError
from sparrow.exchange import keymap_files
from sparrow.files.paths import GRAFTED, INITIAL, Cell, Checkpoint, Parent, parse, variant_of
from sparrow.files.specs import Entry
from sparrow.pruning.params import Method
from sparrow.results.specs.aggregate import AggregateSpec, MethodFacts
from sparrow.results.specs.outcomes import OutcomeTables
from sparrow.settings import Settings, Threat
from sparrow.stages.specs.base import CheckpointSpec, Labels
from sparrow.stages.specs.corruption import Corrupted, CorruptSpec
from sparrow.stages.specs.data import DataSpec
from sparrow.stages.specs.evaluation import AttackSpec, VerifySpec
from sparrow.stages.specs.graft import GraftSpec
from sparrow.stages.specs.imported import ImportedFile, ImportSpec
from sparrow.stages.specs.initial import InitialSpec
from sparrow.stages.specs.outputs import OutputsSpec
from sparrow.stages.specs.pruning import PruneSpec
from sparrow.stages.specs.quantise import QuantiseSpec
from sparrow.stages.specs.training import TrainingSpec
from sparrow.study import analysis_tables, cells, sources
from sparrow.study.code_digest import code_digest
from sparrow.study.config import Study
from sparrow.study.sections import Import, TrainingStage

PASSED_SEPARATELY = {
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
    "corruptions",
    "nrs",
}
"""Parameters of entries that are no part of what an entry is: specs have them elsewhere, or the rules alone heed them."""

MANY_IMAGES = 10_000
"""As many test images as a data set is taken to have that does not say how many."""


def entry_spec(study: Study, room: Room, label: str) -> dict[str, Any]:
    """An entry's kind and parameters as plain values, without those of PASSED_SEPARATELY."""
    return getattr(study, room)[label].model_dump(exclude=PASSED_SEPARATELY)


def data_spec(study: Study, dataset: str) -> DataSpec:
    """What preparing a data set reads, but for single files, which are the rule's input."""
    entry, folders = entry_spec(study, "datasets", dataset), sources.folders(study.datasets[dataset])
    code = code_digest("sparrow.stages.data", catalogue.module_name("datasets", entry["kind"]))
    return DataSpec(code=code, dataset=entry, folders=folders or None)


def data_memory(study: Study, dataset: str) -> int:
    """Memory in MiB that preparing a data set needs, as far as it is known beforehand how many images it has."""
    params = study.datasets[dataset]
    entry = catalogue.load("datasets", params.kind)
    own = sum(filter(None, params.images or ()))
    # As read, as they were packed, and divided; the extra ones are in memory once.
    return 2000 + 4 * own * prod(entry.describe(params).shape) // 2**20 + extra_memory(study, dataset)


def corrupted_images(study: Study, dataset: str) -> Corrupted:
    """Which corrupted images there are of a data set, if an analysis asks for any."""
    params = study.datasets[dataset]
    shape = catalogue.load("datasets", params.kind).describe(params).shape
    own = params.corruptions
    return Corrupted(kinds=chosen(own, shape), severities=own.severities, samples=own.samples, file=own.file)


def corrupt_spec(study: Study, dataset: str) -> CorruptSpec:
    """What corrupting a data set's test images reads."""
    return CorruptSpec(code=code_digest("sparrow.stages.corrupt"), corruptions=corrupted_images(study, dataset))


def corrupt_memory(study: Study, dataset: str) -> int:
    """Memory in MiB that corrupting a data set's test images needs, as far as it is known beforehand how many these are."""
    params, asked = study.datasets[dataset], corrupted_images(study, dataset)
    known = sizes(params)
    samples = min(asked.samples or MANY_IMAGES, known[2] if known else MANY_IMAGES)
    shape = catalogue.load("datasets", params.kind).describe(params).shape
    # The images, and as many in a resume point that is written; an archive's, of which each array has all five severities.
    return 2000 + 2 * samples * len(asked.kinds) * len(asked.severities) * prod(shape) // 2**20


def extra_memory(study: Study, dataset: str) -> int:
    """Memory in MiB of a data set's extra images; 0 if these cannot be read, which the job will report."""
    params = study.datasets[dataset]
    try:
        images = extra.count(params)
    except SparrowError:
        return 0
    return images * prod(catalogue.load("datasets", params.kind).describe(params).shape) // 2**20


def checkpoint_spec(study: Study, one: Checkpoint) -> CheckpointSpec:
    """What making a checkpoint reads, whichever stage makes it, or the import that takes its place."""
    if one.path in study.imports:
        return import_spec(study, one.path)
    if variant_of(one.stage):
        return quantise_spec(study, one)
    if one.cell is None:
        return (initial_spec if one.stage == INITIAL else pretrain_spec)(study, one.parent)
    make = {"pruned": prune_spec, "finetuned": finetune_spec, GRAFTED: graft_spec}
    return make[one.stage](study, one.cell)


def initial_spec(study: Study, parent: Parent) -> InitialSpec:
    """What drawing initial weights reads."""
    model, images = entry_spec(study, "models", parent.model), study.datasets[parent.dataset]
    shape, classes = catalogue.load("datasets", images.kind).describe(images)
    modules = ["sparrow.stages.initial", catalogue.module_name("models", model["kind"])]
    initialisation = _initialisation(study, parent.objective)
    if initialisation:
        modules.append(catalogue.module_name("objectives", initialisation["kind"]))
    return InitialSpec(
        code=code_digest(*modules),
        cell=_labels(parent),
        model=model,
        shape=shape,
        classes=classes,
        initialisation=initialisation,
    )


def _initialisation(study: Study, objective: str) -> Entry | None:
    """An objective that draws weights itself, with what it reads: its `initialisation`, or all if it has none such."""
    settings = study.objectives[objective]
    if not hasattr(catalogue.load("objectives", settings.kind), "initialise"):
        return None
    fields = type(settings).model_fields
    everything = entry_spec(study, "objectives", objective)
    if "initialisation" not in fields:
        return everything
    return {key: value for key, value in everything.items() if key in ("kind", "initialisation") or fields[key].is_required()}


def pretrain_spec(study: Study, parent: Parent) -> TrainingSpec:
    """What pre-training reads."""
    return TrainingSpec(cell=_labels(parent), **_trained_on(study, parent, "pretrain"))


def finetune_spec(study: Study, cell: Cell) -> TrainingSpec:
    """What fine-tuning reads: of the method, which is in the weights and masks that it starts from, only when it prunes."""
    distillation = study.distillation(cell.parent.objective)
    modules = ("sparrow.stages.finetune", *([distillation.module] if distillation else []))
    own = {
        "cell": _labels(cell.parent, cell),
        "schedule": study.schedule(cell.parent.objective, cells.pipeline_of(study, cell).afterwards, cell.method),
        "distillation": distillation,
    }
    return TrainingSpec(**_trained_on(study, cell.parent, "finetune", modules) | own)


def graft_spec(study: Study, cell: Cell) -> GraftSpec:
    """What grafting reads: nothing of the method. The study has a section `grafting`."""
    grafting = study.grafting
    assert grafting is not None, "nothing is grafted in a study without it"
    shared = _trained_on(study, cell.parent, "finetune", ("sparrow.stages.graft",))
    own = grafting.model_dump(include=GraftSpec.model_fields.keys() & type(grafting).model_fields.keys())
    own |= {"schedule": grafting.schedule, "bounded": study.threat_of(cell.parent.objective)}
    return GraftSpec(cell=_labels(cell.parent, cell), **shared | own)


def quantise_spec(study: Study, one: Checkpoint) -> QuantiseSpec:
    """What rounding a network's weights reads: of the objective and of schedules nothing, where it does not train on."""
    variant = study.variants[variant_of(one.stage)]
    own = {"cell": _labels(one.parent, one.cell), "stage": one.stage, "mixed_precision": variant.mixed_precision}
    schedule = variant.schedule(study.schedule(one.parent.objective, "finetune", one.cell and one.cell.method))
    modules: tuple[str, ...] = ("sparrow.stages.quantise",)
    if variant.mixed_precision:
        modules += (catalogue.module_name("verifiers", "smoothing"),)
    else:
        own["bits"] = variant.bits
    if schedule:
        return QuantiseSpec(**_trained_on(study, one.parent, "finetune", modules) | own | {"schedule": schedule})
    model = entry_spec(study, "models", one.parent.model)
    return QuantiseSpec(code=code_digest(*modules, catalogue.module_name("models", model["kind"])), model=model, **own)


def prune_spec(study: Study, cell: Cell) -> PruneSpec:
    """What pruning reads; the objective and the schedule only for a method that trains."""
    method, settings = entry_spec(study, "methods", cell.method), study.methods[cell.method]
    own = {
        "cell": _labels(cell.parent, cell),
        "method": method,
        "ratio": cell.ratio,
        "method_threat": _threat(study, cell.parent.objective, settings),
    }
    modules = ("sparrow.stages.prune", catalogue.module_name("methods", method["kind"]))
    if settings.needs != "nothing":
        schedule = study.pruning_schedule(cell.parent.objective, cell.method, cell.ratio)
        return PruneSpec(**_trained_on(study, cell.parent, "prune", modules) | own | {"schedule": schedule})
    model = entry_spec(study, "models", cell.parent.model)
    return PruneSpec(code=code_digest(*modules, catalogue.module_name("models", model["kind"])), model=model, **own)


def import_spec(study: Study, path: str) -> ImportSpec:
    """What taking over a third party's network as the checkpoint `path` reads, besides the file (and a map of the user's)."""
    checkpoint, entry = parse(path), study.imports[path]
    model = entry_spec(study, "models", checkpoint.parent.model)
    return ImportSpec(
        code=code_digest("sparrow.stages.imported", catalogue.module_name("models", model["kind"])),
        cell=_labels(checkpoint.parent, checkpoint.cell),
        stage=checkpoint.stage,
        model=model,
        # A map of the user's is a file that the job reads.
        imported=ImportedFile(**entry.model_dump(), map_sha256=keymap_files.digest(entry.map)),
    )


def import_files(entry: Import) -> list[str]:
    """The files that an import reads: the network's, and the map's if it is one of the user's."""
    return [entry.file, *([entry.map] if keymap_files.is_file(entry.map) else [])]


def attack_spec(study: Study, parent: Parent, attack: str) -> AttackSpec:
    """What an attack on a network of `parent`'s family reads; `attack` is the name of its table."""
    entry, shared = _evaluation(study, parent, "attack", cells.table(study, "attacks", parent.objective, attack))
    return AttackSpec(attack=entry, **shared)


def verify_spec(study: Study, parent: Parent, verifier: str) -> VerifySpec:
    """What a verifier of a network of `parent`'s family reads; `verifier` is the name of its table."""
    entry, shared = _evaluation(study, parent, "verify", cells.table(study, "verifiers", parent.objective, verifier))
    return VerifySpec(verifier=entry, **shared)


def outputs_spec(study: Study, model: str) -> OutputsSpec:
    """What writing down the logits of networks of that model reads. The study asks for them."""
    asked, entry = study.recorded_outputs, entry_spec(study, "models", model)
    assert asked is not None, "no logits are written down in a study that does not ask for them"
    code = code_digest("sparrow.stages.outputs", catalogue.module_name("models", entry["kind"]))
    return OutputsSpec(code=code, model=entry, **asked.model_dump())


def aggregate_spec(study: Study) -> AggregateSpec:
    """What aggregation reads: the names of all outcome tables, and by objective those that its networks have."""
    return AggregateSpec(
        attacks=list(cells.tables(study, "attacks")),
        verifiers=list(cells.tables(study, "verifiers")),
        objectives=outcome_tables(study),
        analyses=analysis_tables.collect_spec(study, timed=False),
        methods={label: method_facts(method) for label, method in study.methods.items()},
        lost_filters=[one.path for one in cells.without_filters(study)],
        patterns=cells.patterns(study),
        code=code_digest("sparrow.results.aggregate"),
    )


def method_facts(method: Method) -> MethodFacts:
    """What a method is, by its own words."""
    return MethodFacts(**{name: getattr(method, name) for name in MethodFacts.model_fields})


def outcome_tables(study: Study) -> dict[str, OutcomeTables]:
    """Those that the networks of each objective have."""
    return {objective: _evaluated_by(study, objective) for objective in study.objectives}


def _evaluated_by(study: Study, objective: str) -> OutcomeTables:
    """Names of the outcome tables of an objective's networks, of which sort each is, and the threat."""
    attacks, verifiers = (cells.tables(study, room, objective) for room in ("attacks", "verifiers"))
    return OutcomeTables(
        attacks=list(attacks),
        not_in_era=[name for name, table in attacks.items() if not study.attacks[table.entry].in_era],
        transferred=[name for name, table in attacks.items() if study.attacks[table.entry].transfers],
        minimum_norm=[name for name, table in attacks.items() if cells.is_minimum_norm(study, table)],
        verifiers=list(verifiers),
        smoothed=[name for name, table in verifiers.items() if cells.is_smoothed(study, table)],
        threat=study.threat_of(objective),
    )


def _labels(parent: Parent, cell: Cell | None = None) -> Labels:
    """The labels of a dense network, or of one of its pruned ones."""
    own = {} if cell is None else {"method": cell.method, "ratio": cell.ratio}
    return Labels(**parent._asdict(), **own)


def _trained_on(study: Study, parent: Parent, stage: TrainingStage, modules: tuple[str, ...] = ()) -> dict[str, Any]:
    """What all that train read but for whose network it is; `modules` run besides those of model and objective."""
    model, objective = entry_spec(study, "models", parent.model), entry_spec(study, "objectives", parent.objective)
    names = [catalogue.module_name("models", model["kind"]), catalogue.module_name("objectives", objective["kind"])]
    nrs = study.objectives[parent.objective].nrs
    names += [nrs.module] if nrs else []
    return {
        "code": code_digest(*(modules or (f"sparrow.stages.{stage}",)), *names),
        "model": model,
        "objective": objective,
        "schedule": study.schedule(parent.objective, stage),
        "augmentation": study.datasets[parent.dataset].augmentation,
        "threat": _threat(study, parent.objective, study.objectives[parent.objective]),
        "nrs": nrs,
    }


def _threat(study: Study, objective: str, settings: Settings) -> Threat | None:
    """The threat that an entry trains against, if it has an `eps`: its own, or that of the objective's networks."""
    if not hasattr(settings, "eps"):
        return None
    threat = study.threat_of(objective)
    return threat if settings.eps is None else Threat(norm=threat.norm, eps=settings.eps)


def _evaluation(study: Study, parent: Parent, stage: str, table: cells.Table) -> tuple[Entry, dict[str, Any]]:
    """The attack or verifier of a table, and what both read besides."""
    model, entry = entry_spec(study, "models", parent.model), entry_spec(study, table.room, table.entry)
    modules = catalogue.module_name(table.room, entry["kind"]), catalogue.module_name("models", model["kind"])
    return entry, {
        "code": code_digest(f"sparrow.stages.{stage}", *modules),
        "seed": parent.seed,
        "model": model,
        "threat": Threat(norm=study.threat_of(parent.objective).norm, eps=table.eps),
    }
