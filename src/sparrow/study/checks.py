"""What of a study has to fit together, beyond what each of its values has to be. Every check raises ValueError in one line."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any

from sparrow import catalogue, radius
from sparrow.errors import SparrowError
from sparrow.exchange import keymap, keymap_files
from sparrow.files.paths import parse
from sparrow.settings import pixels
from sparrow.study.own_names import OWN_NAMES

if TYPE_CHECKING:
    from sparrow.study.config import Study

STAGES = ("pretrain", "prune", "finetune")
DEPTH_OF_DENSE = 4
"""Slashes in the path of a dense network; those of pruned ones have more."""


def check(study: Study) -> None:
    """Everything. Raises ValueError for the first thing that does not fit."""
    if "dense" in study.methods:
        raise ValueError("methods.dense: 'dense' names the network before pruning; choose another label")
    if {"pruned", "finetuned"} & set(study.evaluate):
        _methods_prune(study)
    _analyses_fit(study)
    _radii_are_in_pixels(study)
    _models_fit(study)
    _labels_are_known(study)
    _evaluations_fit(study)
    _proofs_fit(study)
    _imports_fit(study)
    for objective in study.objectives:
        _radii_fit(study, objective)
        _batches_fit(study, objective)
        for stage in STAGES:
            schedule = study.schedule(objective, stage)
            reason = getattr(catalogue.load("objectives", study.objectives[objective].kind), "FLOAT32_ONLY", None)
            if reason and schedule.precision != "float32":
                raise ValueError(
                    f"objectives.{objective}: training.{stage}.precision is {schedule.precision}, but {reason}; valid: float32"
                )


def _analyses_fit(study: Study) -> None:
    """Every analysis has something to look at, and its tables and figure take nobody's name."""
    for label, entry in study.analyses.items():
        if label in OWN_NAMES:
            raise ValueError(f"analyses.{label}: {label} is the name of a table or figure of every study; choose another label")
        if entry.scope in ("pair", "family") and study.evaluate == ["dense"]:
            raise ValueError(
                f"analyses.{label}: compares networks with their dense one, and evaluate names no others; leave it out"
            )
        if entry.scope in ("pair", "family") and "dense" not in study.evaluate:
            raise ValueError(
                f"analyses.{label}: compares networks with their dense one, which evaluate leaves out; add 'dense'"
            )


def _radii_are_in_pixels(study: Study) -> None:
    """No l-inf radius or step is so large that it was meant for pixels of 0 to 255."""
    if study.threat.norm == "linf":
        _refuse_large("threat.eps", study.threat.eps)
    for objective, entry in study.objectives.items():
        if study.threat_of(objective).norm == "linf":
            if entry.threat is not None:
                _refuse_large(f"objectives.{objective}.threat.eps", entry.threat.eps)
            found = {f"objectives.{objective}": entry} | {f"methods.{label}": one for label, one in study.methods.items()}
            for room in ("attacks", "verifiers"):
                found |= {f"{room}.{label}": one for label, one in study.evaluations(room, objective).items()}
            for key, one in found.items():
                for name, values in pixels(one).items():
                    _refuse_large(f"{key}.{name}", *values)


def _refuse_large(key: str, *values: float) -> None:
    for value in values:
        if value >= 1:
            meant = f"{value:.0f}/{radius.LEVELS}" if value.is_integer() else f"{value / radius.LEVELS:.3g}"
            # What was written as a fraction is no level of grey.
            hint = f"; did you mean {meant}?" if value < radius.LEVELS and "/" not in radius.text(value) else ""
            raise ValueError(
                f"{key}: {radius.text(value)} is not valid: images lie in [0, 1], in l-inf it must be below 1{hint}"
            )


def _methods_prune(study: Study) -> None:
    """Where pruned networks are evaluated, there are some."""
    if not study.methods and not any(path.count("/") > DEPTH_OF_DENSE for path in study.imports):
        raise ValueError(f"methods: none, and evaluate is {study.evaluate}; give a method, or set evaluate to ['dense']")
    for label, method in study.methods.items():
        if not (method.ratios or study.ratios):
            raise ValueError(f"ratios: none, and methods.{label} has no `ratios` of its own; give at least one between 0 and 1")


def _models_fit(study: Study) -> None:
    """Every model takes the images of every data set."""
    for model_label, model in study.models.items():
        for data_label, dataset in study.datasets.items():
            shape = catalogue.load("datasets", dataset.kind).describe(dataset).shape
            try:
                catalogue.load("models", model.kind).check(model, shape)
            except ValueError as error:
                raise ValueError(f"models.{model_label}: does not fit datasets.{data_label}: {error}") from None


def _labels_are_known(study: Study) -> None:
    """What an entry says of others is there, and every model is trained."""
    for section, room in (("attacks", study.attacks), ("verifiers", study.verifiers)):
        for label, entry in room.items():
            _refuse_unknown(f"{section}.{label}.objectives", "objective", entry.objectives, study.objectives)
    for label, entry in study.objectives.items():
        _refuse_unknown(f"objectives.{label}.models", "model", entry.models, study.models)
    for model in study.models:
        if not any(entry.models is None or model in entry.models for entry in study.objectives.values()):
            raise ValueError(f"models.{model}: no objective trains it; add it to one's `models`")
    for label in study.published.datasets if study.published else ():
        if label not in study.datasets:
            raise ValueError(f"published.datasets.{label}: no data set of this study; valid: {', '.join(study.datasets)}")


def _evaluations_fit(study: Study) -> None:
    """Every attack and verifier knows the norms and numbers of classes that it meets."""
    for section, room in (("attacks", study.attacks), ("verifiers", study.verifiers)):
        for label, entry in room.items():
            norms = catalogue.load(section, entry.kind).NORMS
            for objective in entry.objectives or study.objectives:
                norm = study.threat_of(objective).norm
                if norm not in norms:
                    whose = f"objectives.{objective}.threat" if study.objectives[objective].threat else "threat"
                    known = ", ".join(norms)
                    raise ValueError(f"{section}.{label}: {whose}.norm is {norm!r}, {entry.kind} knows only {known}")
            needed = getattr(catalogue.load(section, entry.kind), "CLASSES_NEEDED", 2)
            for data_label, dataset in study.datasets.items():
                if needed > catalogue.load("datasets", dataset.kind).describe(dataset).classes:
                    raise ValueError(f"{section}.{label}: {entry.kind} needs {needed} classes; datasets.{data_label} has fewer")


def _batches_fit(study: Study, objective: str) -> None:
    """No network with batch norm trains on single images."""
    for label in study.objectives[objective].models or study.models:
        kind = study.models[label].kind
        for stage in STAGES if getattr(catalogue.load("models", kind), "BATCH_NORM", False) else ():
            if study.schedule(objective, stage).batch_size == 1:
                own = getattr(study.objectives[objective].training, stage).batch_size is not None
                where = f"objectives.{objective}.training" if own else "training"
                raise ValueError(
                    f"{where}.{stage}.batch_size: 1, but models.{label} has batch norm, which needs more than one image; "
                    "valid: 2 or more"
                )


def _radii_fit(study: Study, objective: str) -> None:
    """Every metric of an objective's networks has something to rest on, and a cascade its attacks."""
    attacks, threat = study.evaluations("attacks", objective), study.threat_of(objective)
    free = [label for label, entry in attacks.items() if catalogue.flag("attacks", entry.kind, "MINIMUM_NORM")]
    for label in free:
        if len(attacks[label].eps or ()) > 1:
            raise ValueError(f"attacks.{label}.eps: {attacks[label].kind} finds distances by itself; give one radius")
    own_threat = study.objectives[objective].threat is not None
    for section in ("attacks", "verifiers"):
        entries = study.evaluations(section, objective)
        own = {label: e for label, e in entries.items() if not catalogue.flag(section, e.kind, "SMOOTHED")}
        counted = {label: e for label, e in own.items() if getattr(e, "in_era", True)}
        if own and not counted:
            raise ValueError(f"{section}: in_era is false for {', '.join(own)}; valid: an attack that counts for era")
        radii = {eps for entry in counted.values() for eps in entry.eps or [threat.eps]}
        if own and threat.eps not in radii and not (section == "attacks" and counted.keys() & set(free)):
            found = ", ".join(map(radius.text, sorted(radii)))
            where = f"objectives.{objective}.threat.eps" if own_threat else "threat.eps"
            raise ValueError(f"{section}: eps {found}, but none at {where}, {radius.text(threat.eps)}; valid: one that has it")
    for label, entry in study.evaluations("verifiers", objective).items():
        for attack in getattr(entry, "attacks", ()):
            if attack not in attacks:
                whom = "" if attack not in study.attacks else f" for networks trained on {objective}"
                raise ValueError(
                    f"verifiers.{label}.attacks: unknown attack {attack!r}{whom}; valid: {', '.join(attacks) or 'none'}"
                )
            missing = set(entry.eps or [threat.eps]) - set(attacks[attack].eps or [threat.eps])
            if missing and attack not in free:
                radii = ", ".join(map(radius.text, sorted(missing)))
                raise ValueError(f"verifiers.{label}.attacks: {attack} does not attack at eps {radii}, which {label} verifies")


def _proofs_fit(study: Study) -> None:
    """Attacks leave out what verifiers prove of the network itself at their radius, and wait for none that waits for them."""
    waits = {f"attacks.{label}": _believed(study, label) for label in study.attacks}
    for label, entry in study.verifiers.items():
        waits[f"verifiers.{label}"] = [f"attacks.{one}" for one in getattr(entry, "attacks", ())]
    try:
        TopologicalSorter(waits).prepare()
    except CycleError as error:
        # Told from what is waited for to what waits.
        circle = " waits for ".join(reversed(error.args[1]))
        raise ValueError(f"attacks: {circle}; valid: a `skip_verified` or `attacks` without one of them") from None


def _believed(study: Study, label: str) -> list[str]:
    """The keys of the verifiers that an attack believes. Raises ValueError for one that says nothing of what is attacked."""
    attack, key = study.attacks[label], f"attacks.{label}.skip_verified"
    believed = getattr(attack, "skip_verified", [])
    _refuse_unknown(key, "verifier", believed, study.verifiers)
    for name in believed:
        verifier = study.verifiers[name]
        if catalogue.flag("verifiers", verifier.kind, "SMOOTHED"):
            raise ValueError(f"{key}: {name} verifies a smoothed classifier, not the network that {label} attacks")
        both = [one for one in study.objectives if {label} <= study.evaluations("attacks", one).keys()]
        both = [one for one in both if {name} <= study.evaluations("verifiers", one).keys()]
        radii = [({*(entry.eps or [study.threat_of(one).eps])} for entry in (attack, verifier)) for one in both]
        if not any(ours & theirs for ours, theirs in radii):
            raise ValueError(f"{key}: {name} verifies no network at a radius at which {label} attacks it")
    return [f"verifiers.{name}" for name in believed]


def _imports_fit(study: Study) -> None:
    """Every import takes the place of a checkpoint that somebody asks for."""
    for path, entry in study.imports.items():
        try:
            found = parse(path)
        except ValueError as error:
            raise ValueError(f"imports: {error}") from None
        for room in ("datasets", "models", "objectives"):
            label, valid = getattr(found.parent, room.removesuffix("s")), getattr(study, room)
            if label not in valid:
                raise ValueError(f"imports.{path}: {room} has no {label!r}; valid: {', '.join(valid)}")
        only = study.objectives[found.parent.objective].models
        if only is not None and found.parent.model not in only:
            raise ValueError(f"imports.{path}: objectives.{found.parent.objective}.models has no {found.parent.model!r}")
        if found.parent.seed not in study.seeds:
            raise ValueError(f"imports.{path}: seeds has no {found.parent.seed}; valid: {', '.join(map(str, study.seeds))}")
        if found.cell and not 0 < found.cell.ratio < 1:
            raise ValueError(f"imports.{path}: the ratio is {found.cell.ratio:g}, must lie between 0 and 1")
        if found.cell and found.cell.method == "dense":
            raise ValueError(f"imports.{path}: 'dense' names the network before pruning; choose another label")
        if found.stage == "finetuned" and "finetuned" not in study.evaluate:
            raise ValueError(f"imports.{path}: nothing evaluates it; add 'finetuned' to evaluate")
        if found.stage == "pruned" and not {"pruned", "finetuned"} & set(study.evaluate):
            raise ValueError(f"imports.{path}: nothing evaluates it; add 'pruned' or 'finetuned' to evaluate")
        try:
            covers = None if keymap_files.is_file(entry.map) else keymap.load(entry.map)
            if covers:
                keymap.require_model(covers, entry.map, study.models[found.parent.model].kind)
        except SparrowError as error:
            raise ValueError(f"imports.{path}.map: {error}") from None


def _refuse_unknown(key: str, what: str, labels: list[str] | None, known: dict[str, Any]) -> None:
    for label in labels or ():
        if label not in known:
            raise ValueError(f"{key}: unknown {what} {label!r}; valid: {', '.join(known)}")
