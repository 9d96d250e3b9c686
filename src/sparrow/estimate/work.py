"""The work of a study: jobs and units, counted from its configuration. Imports no torch."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

from sparrow import catalogue
from sparrow.errors import SparrowError
from sparrow.estimate.images import Images, Uncounted
from sparrow.estimate.unit import CHANNELS_LAST, Unit, bound_spec, label_of
from sparrow.files.paths import GRAFTED, INITIAL, OUTPUTS, corrupted_job, data_job, outputs_job, stage_of, variant_of
from sparrow.study import analyses, cells, job_specs
from sparrow.study.config import Study
from sparrow.training.schedule import Schedule

STAGES = (
    *("data", "corrupt", "initial", "pretrain", "prune", "finetune", "graft", "quantise", "attack", "verify", "outputs"),
    "analyse",
)
"""In the order of the workflow."""
EVALUATIONS: tuple[tuple[Literal["attacks", "verifiers"], str], ...] = (("attacks", "attack"), ("verifiers", "verify"))
"""Rooms whose entries evaluate networks, and their stages."""
FORWARD_AND_BACK = 3
"""Forward passes that one takes together with its backward pass through weights and activations."""
NOT_PRICED = ("data", "corrupt", "initial")
"""Stages without units: they take seconds or, to corrupt ten thousand images, minutes."""


@dataclass
class Work:
    """The jobs of one kind: all seeds and ratios of a data set x model x objective x method, attack or verifier.

    Only those that train under the same schedule, if it is not the same for all, and networks of one size: of those that lost
    filters, the ones of a ratio.
    """

    stage: str
    dataset: str
    model: str
    objective: str
    entry: str
    """The method, attack, verifier or analysis; nothing for other stages."""
    units: dict[Unit, float] = field(default_factory=dict)
    """Number of times that one job does each unit."""
    steps: int = 0
    """Optimisation steps of one job."""
    images: int = 0
    """Test images of one job."""
    filters_gone: tuple[float, ...] = (0.0,)
    """The share of the filters that each network which it trains or looks at is without."""
    limit: float = 0.0
    """Seconds that time limits allow one job, in addition to its units."""
    not_priced: bool = False
    """Whether it has no units: it takes seconds, or minutes if many networks are timed."""
    unknown: bool = False
    """Whether nobody can say what its units are."""
    why: str = ""
    """What is not known of them, in words."""
    jobs: list[str] = field(default_factory=list)
    """The paths of their costs below the results, without the suffix."""


def works(study: Study, layers: Callable[[Study, str, str], int] | None = None) -> list[Work]:
    """All work of a study, by stage.

    `layers` says how many layers a model, by label, has on a data set (`estimate.layers`); without it, the choice of bits in
    mixed precision is unknown. Raises SparrowError, naming key or file, for a data set whose files are not there.
    """
    found = {name: Images(study, name) for name in study.datasets}
    every: dict[Any, Work] = {}

    def add(
        job: str,
        make: Callable[..., Work],
        stage: str,
        labels: tuple[str, str, str],
        entry: str,
        *arguments: Any,
        gone: tuple[float, ...] = (0.0,),
    ) -> None:
        key = (stage, *labels, entry, gone, *(repr(one) for one in arguments if isinstance(one, Schedule | int)))
        if key not in every:
            try:
                every[key] = make(study, Work(stage, *labels, entry, filters_gone=gone), found.get(labels[0]), *arguments)
            except Uncounted as error:
                every[key] = Work(stage, *labels, entry, filters_gone=gone, unknown=True, why=str(error))
        every[key].jobs.append(job)

    for name in study.datasets:
        add(data_job(name), _nothing, "data", (name, "", ""), "")
    for name in analyses.corrupted(study):
        add(corrupted_job(name), _nothing, "corrupt", (name, "", ""), "")
    for one in cells.made(study):
        stage, gone = stage_of(one.path), (cells.filters_gone(study, one),)
        if one.stage == INITIAL:
            add(one.path, _nothing, stage, one.parent.labels, "")
        elif variant_of(one.stage):
            rounding = job_specs.quantise_spec(study, one)
            if rounding.mixed_precision is None and rounding.schedule is None:
                add(one.path, _nothing, stage, one.parent.labels, variant_of(one.stage))
            else:
                add(one.path, _rounding, stage, one.parent.labels, variant_of(one.stage), rounding.schedule, layers, gone=gone)
        elif one.stage == GRAFTED:
            assert study.grafting is not None, "nothing is grafted without it"
            add(one.path, _grafting, stage, one.parent.labels, "", study.grafting.schedule, gone=gone)
        elif one.cell is None or one.stage != "pruned":
            under = "pretrain" if one.cell is None else cells.pipeline_of(study, one.cell).afterwards
            method = one.cell.method if one.cell else None
            own = study.schedule(one.parent.objective, under, method)
            add(one.path, _training, stage, one.parent.labels, "", own, gone=gone)
        elif study.methods[one.cell.method].needs == "nothing":
            add(one.path, _nothing, stage, one.parent.labels, one.cell.method)
        else:
            own = study.pruning_schedule(one.parent.objective, one.cell.method, one.cell.ratio)
            add(one.path, _pruning, stage, one.parent.labels, one.cell.method, own)
    for one in cells.evaluated(study):
        for room, stage in EVALUATIONS:
            for table in cells.tables(study, room, one.parent.objective).values():
                gone = (cells.filters_gone(study, one),)
                add(f"{one.path}/{table.path}", _evaluation, stage, one.parent.labels, table.name, table, gone=gone)
        if study.recorded_outputs:
            add(outputs_job(one.path), _outputs, OUTPUTS, one.parent.labels, "", gone=(cells.filters_gone(study, one),))
    for job in analyses.all_jobs(study):
        parent = job.networks[0].parent.labels if job.networks else (job.place, "", "")
        labels = ("", "", "") if study.analyses[job.label].scope == "tables" else parent
        shares = tuple(sorted(cells.filters_gone(study, one) for one in {*job.networks, *job.dense}))
        add(job.path, _analysis, "analyse", labels, job.label, len(shares), len(job.dense), gone=shares)
    return sorted(every.values(), key=lambda work: STAGES.index(work.stage))


def _nothing(study: Study, work: Work, images: Images) -> Work:
    return work


def _training(study: Study, work: Work, images: Images, schedule: Schedule) -> Work:
    _steps(study, work, schedule, images)
    if work.stage == "finetune":
        _distilled(study, work, images, schedule)
    at_their_sizes(work)
    if work.stage == "finetune" and study.distillation(work.objective):
        # The teacher has lost nothing.
        _add_passes(study, work, images, schedule.epochs * images.train)
    return work


def _rounding(
    study: Study,
    work: Work,
    images: Images,
    schedule: Schedule | None,
    layers: Callable[[Study, str, str], int] | None,
) -> Work:
    """The choice of bits, which is tried at most as often as `MixedPrecision` says, and the training under rounding."""
    if schedule is not None:
        _steps(study, work, schedule, images)
    if (mixed := study.variants[work.entry].mixed_precision) is not None:
        own = min(mixed.images, images.train) * (mixed.n0 + mixed.n)
        once = f"variants.{work.entry}.mixed_precision: how often a choice of bits is tried, of {own:,} forward passes each"
        try:
            if layers is None:
                raise SparrowError("nobody has counted the layers")
            count = layers(study, work.model, work.dataset)
        except SparrowError as error:
            work.units, work.unknown, work.why = {}, True, f"{once} ({error})"
            return work
        _add_passes(study, work, images, count * count * (len(mixed.candidates) - 1) * own)
    at_their_sizes(work)
    return work


def at_their_sizes(work: Work) -> None:
    """Share the units of `work` out among its networks, each of its own size."""
    shares = Counter(work.filters_gone)
    work.units = {
        unit._replace(filters_gone=gone): count * networks / len(work.filters_gone)
        for unit, count in work.units.items()
        for gone, networks in shares.items()
    }


def _distilled(study: Study, work: Work, images: Images, schedule: Schedule) -> None:
    """Add what learning from a teacher takes of the student, on top of the objective's own steps, whose backward pass is that
    of this loss."""
    params, objective = study.distillation(work.objective), study.objectives[work.objective]
    if params is None:
        return
    # The objective's pass around its search, and the clean images' both ways.
    forwards = objective.perturbs + (FORWARD_AND_BACK if params.alpha < 1 else 0)
    searches = hasattr(objective, "eps") and not objective.perturbs
    seen = schedule.epochs * images.train
    _add_passes(study, work, images, seen * forwards, seen * params.steps if searches else 0)


def _add_passes(study: Study, work: Work, images: Images, forwards: float, gradients: float = 0) -> None:
    """Add forward passes and input gradients of single images to `work`."""
    plain = label_of(job_specs.entry_spec(study, "models", work.model)), *_PLAIN, images.shape, images.classes, 1
    for unit, count in ((Unit("forward", *plain), forwards), (Unit("gradient", *plain), gradients)):
        if count:
            work.units[unit] = work.units.get(unit, 0) + count


def _pruning(study: Study, work: Work, images: Images, schedule: Schedule) -> Work:
    return _steps(study, work, schedule, images, study.methods[work.entry])


def _grafting(study: Study, work: Work, images: Images, schedule: Schedule) -> Work:
    """The training of grafted networks, and the bounds on training images that say which neurons become lines."""
    _steps(study, work, schedule, images)
    grafting = study.grafting
    assert grafting is not None, "nothing is grafted without it"
    count = min(grafting.images, images.train)
    model = label_of(job_specs.entry_spec(study, "models", work.model))
    size = min(schedule.batch_size, count)
    work.units[Unit("bound", model, "crown", 1.0, images.shape, images.classes, size)] = count
    at_their_sizes(work)
    return work


def _steps(study: Study, work: Work, schedule: Schedule, images: Images, method: Any = None) -> Work:
    """Add the steps of a schedule, by their place on the ramp, to `work`; a batch of validation images counts as a step."""
    per_epoch = len(schedule.batches(images.train, study.models[work.model].batch_norm))
    work.steps = schedule.epochs * per_epoch
    if method is not None:
        work.steps = method.steps_of(work.steps, per_epoch)
    epochs = work.steps / per_epoch
    each = per_epoch + math.ceil(images.validation / schedule.batch_size) * math.ceil(epochs) / epochs
    model = label_of(job_specs.entry_spec(study, "models", work.model))
    objective = label_of(job_specs.entry_spec(study, "objectives", work.objective))
    precision = schedule.precision + (CHANNELS_LAST if schedule.channels_last else "")
    size = min(schedule.batch_size, images.train)
    for progress, share in phases(schedule, epochs).items():
        unit = Unit("step", model, objective, progress, images.shape, images.classes, size, precision)
        work.units[unit] = share * each
    if study.objectives[work.objective].nrs:
        # Interval bounds take a pass for the centre and one for the radius, in validation as well.
        seen = epochs * images.train + math.ceil(epochs) * images.validation
        _add_passes(study, work, images, seen * 2 * FORWARD_AND_BACK)
    return work


def phases(schedule: Schedule, epochs: float) -> dict[float, float]:
    """Numbers of the first `epochs` that are before the ramp (key 0.0), on it (0.5) and past it (1.0), in all cycles."""
    before = ramp = 0.0
    for cycle in range(schedule.cycles):
        rest = min(max(epochs - cycle * schedule.epochs_per_cycle, 0.0), schedule.epochs_per_cycle)
        before += min(schedule.warmup_epochs, rest)
        ramp += min(schedule.ramp_epochs, max(rest - schedule.warmup_epochs, 0.0))
    return {at: share for at, share in ((0.0, before), (0.5, ramp), (1.0, epochs - before - ramp)) if share > 0}


def _evaluation(study: Study, work: Work, images: Images, table: cells.Table) -> Work:
    params = getattr(study, table.room)[table.entry]
    if getattr(params, "transfers", False) and "attacks" in type(params).model_fields:
        sources = cells.attacks_transferred_by(study, table, work.objective)
        params = params.model_copy(update={"attacks": [source.name for source in sources]})
    work.images = min(params.samples or images.test, images.test)
    _decide(_Priced(work, images, work.images), table.room, params.kind, params, _model(study, work))
    at_their_sizes(work)
    return work


def _model(study: Study, work: Work) -> str:
    return label_of(job_specs.entry_spec(study, "models", work.model))


def _outputs(study: Study, work: Work, images: Images) -> Work:
    """A forward pass for each test image as it is, and one for each draw of noise."""
    asked = study.recorded_outputs
    assert asked is not None, "no logits are written down in a study that does not ask for them"
    work.images = min(asked.samples or images.test, images.test)
    _add_passes(study, work, images, work.images * (1 + len(asked.noise or ()) * asked.draws))
    at_their_sizes(work)
    return work


class _Priced(NamedTuple):
    """A job that looks at images, and what it is given."""

    work: Work
    images: Images
    at_once: int
    """Most images of one network, which are bounded in one batch if that is as large."""
    batch_size: int | None = None
    """The batch of an analysis, whatever its verifiers have by themselves."""
    given: tuple[int, ...] = ()
    """Numbers of networks and of dense ones that an analysis is given, and of attacks whose examples it reads."""


def _decide(job: _Priced, room: catalogue.Room, kind: str, params: Any, model: str) -> None:
    """Add the units of one attack, verifier or analysis to a job's work; of one that consists of others, the units of each."""
    entry, work, images = catalogue.load(room, kind), job.work, job.images
    if hasattr(entry, "members"):
        for member, settings in entry.members(params).items():
            _decide(job, "verifiers" if room == "analyses" else room, member, settings, model)
        return
    if hasattr(entry, "longest"):
        work.limit += work.images * entry.longest(params)
        return
    plain = images.shape, images.classes
    if hasattr(entry, "passes"):
        forwards, gradients = _passes(entry, room, kind, params, images.classes, job.given)
        counts = {Unit("forward", model, *_PLAIN, *plain, 1): forwards, Unit("gradient", model, *_PLAIN, *plain, 1): gradients}
    elif hasattr(entry, "bound"):
        size = min(job.batch_size or params.batch_size, job.at_once)
        counts = {Unit("bound", model, label_of(bound_spec(kind, params)), 1.0, *plain, size): 1}
    else:
        work.unknown = True
        asked = {"analyses": "`passes` or `members`", "attacks": "`passes`"}.get(room, "`passes`, `longest` or `members`")
        work.why = f"{room}.{work.entry}: the file of {kind} declares no {asked}"
        return
    for unit, count in counts.items():
        if count:
            work.units[unit] = work.units.get(unit, 0) + count * work.images


def _passes(
    entry: Any, room: catalogue.Room, kind: str, params: Any, classes: int, given: tuple[int, ...]
) -> tuple[float, float]:
    """Forward passes and input gradients of an image, as the entry declares them. Raises SparrowError if it declares others."""
    try:
        inspect.signature(entry.passes).bind(params, classes)
    except TypeError:
        declared = entry.passes(params, classes, *given)
    else:
        declared = entry.passes(params, classes)
    numbers = isinstance(declared, tuple) and [value for value in declared if isinstance(value, int | float) and value >= 0]
    if not numbers or not len(declared) == len(numbers) == 2:
        raise SparrowError(f"{room}: passes of {kind} returns {declared!r}; valid: two numbers, (forward passes, gradients)")
    return declared


_PLAIN = ("", 1.0)


def _analysis(study: Study, work: Work, images: Images | None, networks: int, dense: int) -> Work:
    """Add the units of an analysis to `work`, for each image of each network, if its module declares them."""
    params = study.analyses[work.entry]
    if images is None or not networks or params.timed:
        work.not_priced = True
        return work
    each = min(getattr(params, "samples", None) or images.test, images.test)
    if "corrupted" in params.needs:
        asked = job_specs.corrupted_images(study, work.dataset)
        each = min(asked.samples or images.test, images.test) * len(asked.kinds) * len(asked.severities)
    work.images = each * networks
    attacks = cells.attacks_to_try(study, getattr(params, "attacks", None), work.objective)
    job = _Priced(work, images, each, getattr(params, "batch_size", None), (networks, dense, len(attacks)))
    _decide(job, "analyses", params.kind, params, _model(study, work))
    at_their_sizes(work)
    return work
