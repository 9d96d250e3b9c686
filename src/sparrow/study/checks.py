"""What of a study has to fit together, beyond what each of its values has to be.

A check yields one line for each mistake: key, value, what is valid. It leaves out what rests on another mistake, such as the
radii of an attack that the study does not have; that mistake has a line of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from graphlib import CycleError, TopologicalSorter
from itertools import product
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from sparrow import catalogue, radius
from sparrow.catalogue import EVALUATED_ROOMS
from sparrow.data import extra
from sparrow.data.corruptions.choice import misfit
from sparrow.data.split import sizes
from sparrow.errors import SparrowError
from sparrow.exchange import keymap, keymap_files
from sparrow.files.paths import DENSE, GRAFTED, INITIAL, UNPRUNED, Checkpoint, base_of, parse, variant_name, variant_of
from sparrow.pruning.params import Method
from sparrow.pruning.ratio import prunes_alike, shortage_of_each
from sparrow.settings import Settings, distances_in_pixels
from sparrow.study import figures
from sparrow.study.analysis_contract import SUMMARISED
from sparrow.study.analysis_tables import OWN_TABLES
from sparrow.study.cells import attacks_to_try
from sparrow.study.descriptions import described
from sparrow.study.pipelines import PIPELINES
from sparrow.study.sections import TRAINING_STAGES, TrainingStage

if TYPE_CHECKING:
    from sparrow.data.source import Description
    from sparrow.study.config import Study
    from sparrow.training.schedule import Schedule


Check = Callable[["Study"], Iterable[str]]


def mistakes(study: Study, checks: Iterable[Check] | None = None) -> list[str]:
    """One line for each mistake that `checks` (all of this file, if None) find.

    Of a study without some of its sections, what can be told without them.
    """
    found: list[str] = []
    for check in CHECKS if checks is None else checks:
        with suppress(MissingSection):
            found += check(study)
    return list(dict.fromkeys(found))


class MissingSection(AttributeError):
    """A check has asked for a section that the study lacks, because its values are not valid."""


def _stages(study: Study) -> set[str]:
    """The stages of the networks that are evaluated, or that have a variant which is."""
    return set(map(base_of, study.evaluate))


def _labels_are_free(study: Study) -> Iterator[str]:
    """No method has the label of networks that are not pruned, and no data set that of a folder beside it."""
    if "analyses" in study.datasets:
        yield "datasets.analyses: 'analyses' names the folder of what is about the whole study; choose another label"
    for label, before in UNPRUNED.items():
        if label in study.methods:
            yield f"methods.{label}: {label!r} names the network before {before}; choose another label"


def _methods_prune(study: Study) -> Iterator[str]:
    """Where pruned networks are evaluated, there are some."""
    if _stages(study) == {DENSE}:
        return
    if not study.methods and all(path.endswith(f"/{DENSE}") for path in study.imports):
        yield f"methods: none, and evaluate is {study.evaluate}; give a method, or set evaluate to ['dense']"
    for label, method in study.methods.items():
        if not (method.ratios or study.ratios):
            yield f"ratios: none, and methods.{label} has no `ratios` of its own; give at least one between 0 and 1"


def _analyses_fit(study: Study) -> Iterator[str]:
    """Every analysis has data or networks to measure, and its tables and figure take nobody's name."""
    for label, entry in study.analyses.items():
        if label in {*OWN_TABLES, *figures.known()}:
            yield f"analyses.{label}: {label} is the name of a table or figure of every study; choose another label"
        if label in SUMMARISED and hasattr(catalogue.load("analyses", entry.kind), "summary"):
            yield f"analyses.{label}: columns of every study's summary.csv begin with {label}_; choose another label"
        if "distances" in entry.requires and not _without_radius(study.attacks):
            known = [kind for kind in catalogue.kinds("attacks") if catalogue.load("attacks", kind).Params.minimum_norm]
            yield f"analyses.{label}: reads distances of the nearest adversarial images; valid: with {' or '.join(known)}"
        if len(study.seeds) < entry.seeds_needed:
            yield f"seeds: {study.seeds}, and analyses.{label} needs {entry.seeds_needed} or more; add some, or leave it out"
        if "smoothed" in entry.requires and not any(verifier.smoothed for verifier in study.verifiers.values()):
            known = [kind for kind in catalogue.kinds("verifiers") if catalogue.load("verifiers", kind).Params.smoothed]
            yield f"analyses.{label}: reads verifiers of smoothed classifiers; valid: with {' or '.join(known)}"
        if entry.scope in ("pair", "family") or "dense" in entry.requires:
            against = f"analyses.{label}: compares networks with their dense one"
            if _stages(study) == {DENSE}:
                yield f"{against}, and evaluate names none that are pruned; leave it out"
            elif "dense" not in study.evaluate:
                yield f"{against}, which evaluate leaves out; add 'dense'"


def _threats_are_in_pixels(study: Study) -> Iterator[str]:
    """No l-inf radius or step of a threat or an objective is so large that it was meant for pixels of 0 to 255."""
    if study.threat.norm == "linf":
        yield from _too_large("threat.eps", study.threat.eps)
    for objective in _objectives_in_linf(study):
        entry = study.objectives[objective]
        if entry.threat is not None:
            yield from _too_large(f"objectives.{objective}.threat.eps", entry.threat.eps)
        yield from _settings_too_large(f"objectives.{objective}", entry)


def _noise_is_in_pixels(study: Study) -> Iterator[str]:
    """No radius of noise was meant for pixels of 0 to 255, whatever the norm of the threat."""
    if study.outputs:
        yield from _settings_too_large("outputs", study.outputs)


def _methods_are_in_pixels(study: Study) -> Iterator[str]:
    """No l-inf radius or step of a method was meant for pixels of 0 to 255, either."""
    for label, entry in study.methods.items() if _objectives_in_linf(study) else ():
        yield from _settings_too_large(f"methods.{label}", entry)


def _evaluations_are_in_pixels(study: Study) -> Iterator[str]:
    """No l-inf radius or step of an attack or a verifier was meant for pixels of 0 to 255, either."""
    for objective in _objectives_in_linf(study):
        for room in EVALUATED_ROOMS:
            for label, entry in study.evaluations(room, objective).items():
                yield from _settings_too_large(f"{room}.{label}", entry)


def _objectives_in_linf(study: Study) -> list[str]:
    """Labels of the objectives whose networks are evaluated in the l-inf norm."""
    return [objective for objective in study.objectives if study.threat_of(objective).norm == "linf"]


def _settings_too_large(key: str, entry: Settings) -> Iterator[str]:
    for name, values in distances_in_pixels(entry).items():
        yield from _too_large(f"{key}.{name}", *values)


def _too_large(key: str, *values: float) -> Iterator[str]:
    for value in values:
        if value >= 1:
            meant = f"{value:.0f}/{radius.LEVELS}" if value.is_integer() else f"{value / radius.LEVELS:.3g}"
            # What was written as a fraction is no level of grey.
            hint = f"; did you mean {meant}?" if value < radius.LEVELS and "/" not in radius.text(value) else ""
            yield f"{key}: {radius.text(value)} is not valid: images lie in [0, 1], in l-inf it must be below 1{hint}"


def _data_sets_describe_themselves(study: Study) -> Iterator[str]:
    """Every data set says what shape its images have, and how many classes."""
    for label, dataset in study.datasets.items():
        try:
            described(label, dataset)
        except SparrowError as error:
            yield str(error)


def _descriptions(study: Study) -> Iterator[tuple[str, Description]]:
    """The labels of the data sets, and what they say of their images; without those that say nothing valid."""
    for label, dataset in study.datasets.items():
        with suppress(SparrowError):
            yield label, described(label, dataset)


def _corruptions_fit(study: Study) -> Iterator[str]:
    """Kinds of corruptions are for images of the sizes that there are, and somebody asks for what is said of them."""
    asked = any("corrupted" in entry.needs for entry in study.analyses.values())
    for label, about in _descriptions(study):
        own = study.datasets[label]
        if not asked and "corruptions" in own.model_fields_set:
            yield f"datasets.{label}.corruptions: no analysis asks for corrupted images; add one, or leave it out"
        if asked and (line := misfit(own.corruptions, about.shape)):
            yield f"datasets.{label}.corruptions.kinds: {line}"


def _models_fit(study: Study) -> Iterator[str]:
    """Every model takes the images of every data set."""
    for model_label, model in study.models.items():
        for data_label, about in _descriptions(study):
            try:
                catalogue.load("models", model.kind).check(model, about.shape)
            except ValueError as error:
                yield f"models.{model_label}: does not fit datasets.{data_label}: {error}"


def _objectives_are_known(study: Study) -> Iterator[str]:
    """The objectives that attacks and verifiers name are of this study."""
    for section in EVALUATED_ROOMS:
        for label, entry in getattr(study, section).items():
            yield from _unknown(f"{section}.{label}.objectives", "objective", entry.objectives, study.objectives)


def _models_are_trained(study: Study) -> Iterator[str]:
    """The models that objectives name are of this study, and every model is trained on one."""
    unknown = [
        line
        for label, entry in study.objectives.items()
        for line in _unknown(f"objectives.{label}.models", "model", entry.models, study.models)
    ]
    yield from unknown
    for model in study.models if not unknown else ():
        if not any(entry.models is None or model in entry.models for entry in study.objectives.values()):
            yield f"models.{model}: no objective trains it; add it to one's `models`"


def _stand_ins_are_known(study: Study) -> Iterator[str]:
    """Data sets that stand in for published ones are of this study."""
    for label in study.published.datasets if study.published else ():
        if label not in study.datasets:
            yield f"published.datasets.{label}: no data set of this study; valid: {', '.join(study.datasets)}"


def _norms_fit(study: Study) -> Iterator[str]:
    """Every attack and verifier works in the norms of the threats that it is used against."""
    for section in EVALUATED_ROOMS:
        for label, entry in getattr(study, section).items():
            for objective in _known(entry.objectives, study.objectives):
                norm = study.threat_of(objective).norm
                if norm not in entry.norms:
                    whose = f"objectives.{objective}.threat" if study.objectives[objective].threat else "threat"
                    known = ", ".join(entry.norms)
                    yield f"{section}.{label}: {whose}.norm is {norm!r}, {entry.kind} knows only {known}"


def _classes_fit(study: Study) -> Iterator[str]:
    """Every data set has the classes that attacks and verifiers need."""
    for section in EVALUATED_ROOMS:
        for label, entry in getattr(study, section).items():
            needed = entry.classes_needed if section == "attacks" else 2
            for data_label, about in _descriptions(study):
                if needed > about.classes:
                    others = [kind for kind in catalogue.kinds("attacks") if _classes_needed(kind) <= about.classes]
                    valid = f"; valid: {', '.join(others)}" if section == "attacks" and others else ""
                    has = f"datasets.{data_label} has {about.classes}"
                    yield f"{section}.{label}: {entry.kind} needs {needed} classes; {has}{valid}"


def _classes_needed(attack: str) -> int:
    """The fewest classes that an attack of this kind can do with."""
    return int(catalogue.load("attacks", attack).Params.classes_needed)


def _schedules_fit(study: Study) -> Iterator[str]:
    """What objectives change of the study's schedules makes valid ones."""
    for objective in study.objectives:
        for stage in TRAINING_STAGES:
            try:
                study.schedule(objective, stage)
            except ValueError as error:
                yield str(error)


def _schedules_of_methods_fit(study: Study) -> Iterator[str]:
    """What methods make of the study's schedules are valid ones, at every ratio."""
    for objective in study.objectives:
        if len(list(_schedules(study, objective))) < len(TRAINING_STAGES):
            continue
        for label, method in study.methods.items():
            wrong = list(_own_schedules_wrong(study, objective, label))
            yield from wrong
            for ratio in () if wrong else method.ratios or study.ratios or ():
                try:
                    study.pruning_schedule(objective, label, ratio)
                except ValidationError as error:
                    yield f"methods.{label}: {error.errors()[0]['msg'].removeprefix('Value error, ')}"
                except ValueError as error:
                    yield f"methods.{label}: {error}"


def _methods_change_what_they_read(study: Study) -> Iterator[str]:
    """Methods change no schedule that their networks are not trained under."""
    for label, method in study.methods.items():
        pipeline = PIPELINES[method.pipeline]
        read = ([pipeline.search] if method.needs != "nothing" else []) + [pipeline.afterwards]
        for stage in TRAINING_STAGES:
            if stage not in read and getattr(method.training, stage).model_fields_set:
                yield (
                    f"methods.{label}.training.{stage}: {method.kind} prunes {method.pipeline} training, and no network of it "
                    f"is trained under training.{stage}; valid: {' or '.join(read)}"
                )


def _methods_read_their_changes(study: Study) -> Iterator[str]:
    """Methods change nothing of the schedule of their search that they replace by what is their own."""
    for label, method in study.methods.items():
        stage = PIPELINES[method.pipeline].search
        for key in sorted(getattr(method.training, stage).model_fields_set if method.needs != "nothing" else ()):
            for objective, ratio in product(study.objectives, method.ratios or study.ratios):
                with suppress(ValueError):
                    if not _is_read(study, objective, label, ratio, key):
                        yield (
                            f"methods.{label}.training.{stage}.{key}: changes nothing, for {method.kind} sets it for its "
                            "search by itself; valid: without it"
                        )


def _is_read(study: Study, objective: str, label: str, ratio: float, key: str) -> bool:
    """Whether a value of the schedule that a method is given has a share in what it trains under."""
    method, given = study.methods[label], study.given_schedule(objective, label)
    pretrain = study.schedule(objective, "pretrain", label)
    other = type(given)(**given.model_dump() | {key: _another(getattr(given, key))})
    same = PIPELINES[method.pipeline].search == "pretrain"
    return method.schedule(ratio, other, other if same else pretrain) != method.schedule(ratio, given, pretrain)


def _another(value: Any) -> Any:
    """A value of a schedule that is not `value`."""
    others = {"sgd": "adam", "adam": "sgd", "cosine": "constant", "constant": "cosine", None: 1.0, 0: 0.5}
    return others[value] if value in others else 2 * value if isinstance(value, int) else value / 2


def _own_schedules_wrong(study: Study, objective: str, method: str) -> Iterator[str]:
    """What is wrong with the schedules as a method changes them."""
    for stage in TRAINING_STAGES:
        try:
            study.schedule(objective, stage, method)
        except ValueError as error:
            yield str(error)


def _schedules(study: Study, objective: str) -> Iterator[tuple[TrainingStage, Schedule]]:
    """The valid ones of an objective's schedules, with their stages."""
    for stage in TRAINING_STAGES:
        with suppress(ValueError):
            yield stage, study.schedule(objective, stage)


def _batches_fit(study: Study) -> Iterator[str]:
    """No network with batch norm trains on single images."""
    for objective, entry in study.objectives.items():
        for label in _known(entry.models, study.models):
            if not study.models[label].batch_norm:
                continue
            for stage, schedule in _schedules(study, objective):
                if schedule.batch_size == 1:
                    own = getattr(entry.training, stage).batch_size is not None
                    where = f"objectives.{objective}.training" if own else "training"
                    yield (
                        f"{where}.{stage}.batch_size: 1, but models.{label} has batch norm, which needs more than one image; "
                        "valid: 2 or more"
                    )


def _norms_are_there(study: Study) -> Iterator[str]:
    """No network without batch norm is pruned by a method that cannot do without."""
    for label, method in study.methods.items():
        for model in study.models if method.batch_norm_only else ():
            if not study.models[model].batch_norm:
                yield f"methods.{label}: models.{model} has no batch norm, but {method.batch_norm_only}"


def _searches_have_time(study: Study) -> Iterator[str]:
    """The schedule of every method has a place for all that it does, as far as it is known how many images an epoch has."""
    asked = {label: method for label, method in study.methods.items() if type(method).too_short is not Method.too_short}
    for (label, method), objective in product(asked.items(), study.objectives):
        for ratio in method.ratios or study.ratios if method.needs == "schedule" else ():
            with suppress(ValueError):
                schedule = study.pruning_schedule(objective, label, ratio)
                for dataset, model in product(study.datasets.values(), study.models.values()):
                    images = _training_images(dataset)
                    # Of as many as nobody has, every number of steps finds a place, but not every number of epochs.
                    per_epoch = len(schedule.batches(images, model.batch_norm)) if images else 10**9
                    told = method.too_short(schedule.epochs * per_epoch, per_epoch)
                    if told:
                        yield f"methods.{label}.{told}"


def _training_images(params: Any) -> int | None:
    """How many images an epoch of a study's data set has, with the extra ones; None if that is not known or cannot be read."""
    own = sizes(params)
    with suppress(SparrowError):
        return own and own[0] + (0 if params.extra_share else extra.count(params))
    return None


def _precisions_fit(study: Study) -> Iterator[str]:
    """No objective that needs single precision trains in another."""
    for objective, entry in study.objectives.items():
        for stage, schedule in _schedules(study, objective) if entry.float32_only else ():
            if schedule.precision != "float32":
                what = f"training.{stage}.precision is {schedule.precision}"
                yield f"objectives.{objective}: {what}, but {entry.float32_only}; valid: float32"


def _penalties_fit(study: Study) -> Iterator[str]:
    """ReLUs that the adversary may switch are penalised where an objective trains against a box."""
    for objective, entry in study.objectives.items():
        if entry.nrs is None:
            continue
        key, norm = f"objectives.{objective}.nrs", study.threat_of(objective).norm
        if not hasattr(entry, "eps"):
            yield f"{key}: {entry.kind} trains against no radius, at which bounds could be; valid: null"
        elif norm != "linf":
            yield f"{key}: its bounds are over boxes, and the norm of the threat is {norm!r}; valid: null, or linf"


def _grafting_fits(study: Study) -> Iterator[str]:
    """What is grafted is evaluated, and the other way round; and its schedule fits models and objectives."""
    grafting = study.grafting
    if grafting is None:
        if GRAFTED in study.evaluate:
            yield "evaluate: 'grafted', but the study has no section `grafting`; valid: add it (`grafting: {}`)"
        return
    if GRAFTED not in study.evaluate:
        yield "grafting: nothing evaluates its networks; add 'grafted' to evaluate, or leave the section out"
    for label, model in study.models.items():
        if not model.graftable:
            valid = ", ".join(kind for kind in catalogue.kinds("models") if catalogue.load("models", kind).Params.graftable)
            yield f"models.{label}: {model.kind} runs a ReLU layer more than once and cannot be grafted; valid: {valid}"
        if model.batch_norm and grafting.batch_size == 1:
            yield f"grafting.batch_size: 1, but models.{label} has batch norm, which needs two images; valid: 2 or more"
    for objective, entry in study.objectives.items():
        if entry.float32_only and grafting.precision != "float32":
            what = f"grafting.precision is {grafting.precision}"
            yield f"objectives.{objective}: {what}, but {entry.float32_only}; valid: float32"


def _variants_fit(study: Study) -> Iterator[str]:
    """Every variant that is evaluated is there, and so is what it is a variant of; and every variant is evaluated."""
    for stage in study.evaluate:
        base, label = base_of(stage), variant_of(stage)
        if label and label not in study.variants:
            valid = ", ".join(study.variants) or f"none; add `variants: {{{label}: {{kind: quantise, bits: 8}}}}`"
            yield f"evaluate: {stage!r}, but the study's variants have no {label!r}; valid: {valid}"
        if label and base not in study.evaluate:
            yield f"evaluate: {stage!r} without {base!r}, beside which it is to be seen; add {base!r}"
    for label in study.variants:
        if label not in map(variant_of, study.evaluate):
            valid = variant_name("finetuned", label)
            yield f"variants.{label}: nothing evaluates it; add {valid!r} to evaluate, or leave it out"


def _radii_fit(study: Study) -> Iterator[str]:
    """Every metric of every objective's networks has something to rest on."""
    if any(_threats_are_in_pixels(study)) or any(_evaluations_are_in_pixels(study)):
        return
    for objective, entry in study.objectives.items():
        attacks, threat = study.evaluations("attacks", objective), study.threat_of(objective)
        free = _without_radius(attacks)
        for label in free:
            if len(attacks[label].eps or ()) > 1:
                yield f"attacks.{label}.eps: {attacks[label].kind} finds distances by itself; give one radius"
        where = "threat.eps" if entry.threat is None else f"objectives.{objective}.threat.eps"
        for section in EVALUATED_ROOMS:
            entries = study.evaluations(section, objective)
            own = {label: e for label, e in entries.items() if section == "attacks" or not e.smoothed}
            counted = {label: e for label, e in own.items() if getattr(e, "in_era", True)}
            radii = {eps for entry in counted.values() for eps in entry.eps or [threat.eps]}
            if own and not counted:
                yield f"{section}: in_era is false for {', '.join(own)}; valid: an attack that counts for era"
            elif own and threat.eps not in radii and not (section == "attacks" and counted.keys() & set(free)):
                found = ", ".join(map(radius.text, sorted(radii)))
                yield f"{section}: eps {found}, but none at {where}, {radius.text(threat.eps)}; valid: one that has it"


def _without_radius(attacks: dict[str, Any]) -> list[str]:
    """Labels of the attacks that find the distance by themselves."""
    return [label for label, entry in attacks.items() if entry.minimum_norm]


def _cascades_fit(study: Study) -> Iterator[str]:
    """The attacks whose examples a cascade classifies again are there, at its radii; one that is missing is told once."""
    missing = set()
    for objective in study.objectives:
        attacks, threat = study.evaluations("attacks", objective), study.threat_of(objective)
        free = _without_radius(attacks)
        for label, entry in study.evaluations("verifiers", objective).items():
            for attack in getattr(entry, "attacks", ()):
                if attack in attacks:
                    lacking = set(entry.eps or [threat.eps]) - set(attacks[attack].eps or [threat.eps])
                    if lacking and attack not in free:
                        radii = ", ".join(map(radius.text, sorted(lacking)))
                        yield f"verifiers.{label}.attacks: {attack} does not attack at eps {radii}, which {label} verifies"
                elif (label, attack) not in missing:
                    missing.add((label, attack))
                    whom = "" if attack not in study.attacks else f" for networks trained on {objective}"
                    valid = ", ".join(attacks) or "none"
                    yield f"verifiers.{label}.attacks: unknown attack {attack!r}{whom}; valid: {valid}"


def _transfers_fit(study: Study) -> Iterator[str]:
    """What tries adversarial images of others has some, at each of its radii and for all of its images."""
    for label, entry in study.attacks.items():
        if entry.transfers:
            if DENSE not in study.evaluate:
                yield f"attacks.{label}: tries adversarial images of dense networks, which evaluate leaves out; add 'dense'"
            yield from _sources_fit(study, f"attacks.{label}", entry, label)
    for label, entry in study.analyses.items():
        if "examples" in entry.needs:
            yield from _sources_fit(study, f"analyses.{label}", entry)


def _sources_fit(study: Study, key: str, entry: Any, label: str | None = None) -> Iterator[str]:
    """What is wrong with the attacks whose adversarial images an analysis or the attack `label` tries on other networks."""
    others = [other for other, one in study.attacks.items() if not one.transfers]
    if not others:
        yield f"{key}: tries what attacks have found, and the study has none that search; valid: add one, such as fmn"
        return
    named = getattr(entry, "attacks", None)
    wrong = [other for other in named or () if other not in others]
    for other in wrong:
        what = "tries images of others itself" if other in study.attacks else "is unknown"
        yield f"{key}.attacks: {other!r} {what}; valid: {', '.join(others)}"
    for objective in study.objectives if not wrong else ():
        own = study.evaluations("attacks", objective)
        if label is not None and label not in own:
            continue
        yield from _unknown(f"{key}.attacks", f"attack on networks trained on {objective}", named, own)
        for eps in (entry.eps if label else None) or [study.threat_of(objective).eps]:
            sources = attacks_to_try(study, named, objective, eps)
            if not sources:
                whose = f"attack on networks trained on {objective} whose images it tries"
                yield f"{key}: no {whose} works at eps {radius.text(eps)}; valid: a radius of theirs, or an attack such as fmn"
            for source in sources:
                yield from _enough_images(study, key, getattr(entry, "samples", None), source.entry)


def _enough_images(study: Study, key: str, samples: int | None, attack: str) -> Iterator[str]:
    """A line if images are to be tried that an attack has never seen: they would count as withstood."""
    most = study.attacks[attack].samples
    if most is not None and (samples is None or samples > most):
        asked = "all" if samples is None else samples
        yield f"{key}.samples: {asked} test images, but {attack} attacks {most} of them; valid: at most {most}"


def _proofs_fit(study: Study) -> Iterator[str]:
    """Attacks leave out what verifiers prove of the network itself at their radius."""
    for label, attack in study.attacks.items():
        key, trusted = f"attacks.{label}.skip_verified", getattr(attack, "skip_verified", [])
        yield from _unknown(key, "verifier", trusted, study.verifiers)
        for name in trusted:
            if name not in study.verifiers:
                continue
            verifier = study.verifiers[name]
            both = [one for one in study.objectives if {label} <= study.evaluations("attacks", one).keys()]
            both = [one for one in both if {name} <= study.evaluations("verifiers", one).keys()]
            radii = [({*(entry.eps or [study.threat_of(one).eps])} for entry in (attack, verifier)) for one in both]
            if verifier.smoothed:
                yield f"{key}: {name} verifies a smoothed classifier, not the network that {label} attacks"
            elif not any(ours & theirs for ours, theirs in radii):
                yield f"{key}: {name} verifies no network at a radius at which {label} attacks it"


def _nobody_waits_in_a_circle(study: Study) -> Iterator[str]:
    """No attack waits for a verifier that waits for it."""
    waits = {
        f"attacks.{label}": [f"verifiers.{one}" for one in getattr(entry, "skip_verified", ())]
        for label, entry in study.attacks.items()
    }
    for label, entry in study.attacks.items():
        if entry.transfers:
            named = getattr(entry, "attacks", None)
            others = [other for other, one in study.attacks.items() if not one.transfers and (named is None or other in named)]
            waits[f"attacks.{label}"] += [f"attacks.{other}" for other in others]
    for label, entry in study.verifiers.items():
        waits[f"verifiers.{label}"] = [f"attacks.{one}" for one in getattr(entry, "attacks", ())]
    try:
        TopologicalSorter(waits).prepare()
    except CycleError as error:
        # Told from what is waited for to what waits.
        circle = " waits for ".join(reversed(error.args[1]))
        yield f"attacks: {circle}; valid: a `skip_verified` or `attacks` without one of them"


def _filters_are_left(study: Study) -> Iterator[str]:
    """No ratio takes all filters of a layer, as far as the model says beforehand how many its narrowest one has."""
    if _stages(study) <= {DENSE}:
        return
    for label, method in study.methods.items():
        if method.structure != "filters" or not prunes_alike(method):
            continue
        where = "ratios" if method.ratios is None else f"methods.{label}.ratios"
        for model, entry in study.models.items():
            sizes = dict([entry.narrowest]) if entry.narrowest else {}
            for ratio in method.ratios or study.ratios:
                if line := shortage_of_each(sizes, ratio):
                    yield f"{where}: methods.{label} removes filters of models.{model}: {line}"


def _patterns_fit(study: Study) -> Iterator[str]:
    """Where N of every M weights stay, ratios say so, and layers allow it, as far as models say beforehand how many inputs they
    have."""
    if _stages(study) <= {DENSE}:
        return
    for label, method in study.methods.items():
        if not method.pattern:
            continue
        where = "ratios" if method.ratios is None else f"methods.{label}.ratios"
        for ratio in method.ratios or study.ratios:
            if line := method.pattern.other_ratio(ratio):
                yield f"{where}: methods.{label}: {line}{'' if method.ratios else f', below methods.{label}'}"
        for (model, entry), (_, about) in product(study.models.items(), _descriptions(study)):
            if line := method.pattern.misfit(entry.inputs(about.shape), method.dense_layers):
                yield f"methods.{label}.granularity: models.{model}: {line}"


def _imports_fit(study: Study) -> Iterator[str]:
    """Every import takes the place of a checkpoint that somebody asks for."""
    for path, entry in study.imports.items():
        try:
            found = parse(path)
        except ValueError as error:
            yield f"imports: {error}"
            continue
        yield from (f"imports.{path}: {line}" for line in _place_fits(study, found))
        try:
            covers = None if keymap_files.is_file(entry.map) else keymap.load(entry.map)
            if covers and found.parent.model in study.models:
                keymap.require_model(covers, entry.map, study.models[found.parent.model].kind)
        except SparrowError as error:
            yield f"imports.{path}.map: {error}"


def _place_fits(study: Study, found: Checkpoint) -> Iterator[str]:
    """What is wrong with the place of an imported network."""
    for room in ("datasets", "models", "objectives"):
        label, valid = getattr(found.parent, room.removesuffix("s")), getattr(study, room)
        if label not in valid:
            yield f"{room} has no {label!r}; valid: {', '.join(valid)}"
    if found.parent.model in study.models and found.parent.objective in study.objectives:
        only = study.objectives[found.parent.objective].models
        if only is not None and found.parent.model not in only:
            yield f"objectives.{found.parent.objective}.models has no {found.parent.model!r}"
    if found.parent.seed not in study.seeds:
        yield f"seeds has no {found.parent.seed}; valid: {', '.join(map(str, study.seeds))}"
    if found.cell and not 0 < found.cell.ratio < 1:
        yield f"the ratio is {found.cell.ratio:g}, must lie between 0 and 1"
    if found.cell and found.cell.method in UNPRUNED:
        yield f"{found.cell.method!r} names the network before {UNPRUNED[found.cell.method]}; choose another label"
    if variant_of(found.stage):
        yield "nothing is imported as a variant; import what it is made from, such as dense or finetuned"
    if found.stage == INITIAL:
        yield "nothing is imported as an initial network; valid: dense, pruned or finetuned"
    if found.stage == GRAFTED:
        yield "nothing is imported as a grafted network; valid: dense, pruned or finetuned"
    if found.stage == "finetuned" and not {"finetuned", GRAFTED} & set(study.evaluate):
        yield "nothing evaluates it; add 'finetuned' to evaluate"
    if found.stage == "pruned" and _stages(study) <= {DENSE}:
        yield "nothing evaluates it; add 'pruned' or 'finetuned' to evaluate"


def _unknown(key: str, what: str, labels: list[str] | None, known: dict[str, Any]) -> Iterator[str]:
    for label in labels or ():
        if label not in known:
            yield f"{key}: unknown {what} {label!r}; valid: {', '.join(known)}"


def _known(labels: list[str] | None, known: dict[str, Any]) -> list[str]:
    """The labels in `labels` that `known` has; all of `known` if None."""
    return [label for label in (known if labels is None else labels) if label in known]


CHECKS: tuple[Check, ...] = (
    _labels_are_free,
    _methods_prune,
    _filters_are_left,
    _patterns_fit,
    _analyses_fit,
    _threats_are_in_pixels,
    _noise_is_in_pixels,
    _methods_are_in_pixels,
    _evaluations_are_in_pixels,
    _data_sets_describe_themselves,
    _corruptions_fit,
    _models_fit,
    _objectives_are_known,
    _models_are_trained,
    _stand_ins_are_known,
    _norms_fit,
    _classes_fit,
    _proofs_fit,
    _nobody_waits_in_a_circle,
    _imports_fit,
    _radii_fit,
    _cascades_fit,
    _transfers_fit,
    _schedules_fit,
    _schedules_of_methods_fit,
    _methods_change_what_they_read,
    _methods_read_their_changes,
    _batches_fit,
    _norms_are_there,
    _searches_have_time,
    _precisions_fit,
    _penalties_fit,
    _grafting_fits,
    _variants_fit,
)
