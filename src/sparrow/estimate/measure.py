"""Seconds and multiply-adds of units of work on this device, measured with random images."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import torch
from torch import Tensor, nn

from sparrow import catalogue
from sparrow.data.store import Part
from sparrow.errors import NetworkError
from sparrow.estimate.codes import code_of
from sparrow.estimate.operations import count_operations
from sparrow.estimate.rates import Row, row_of
from sparrow.estimate.unit import CHANNELS_LAST, Unit, bound_spec, label_of
from sparrow.networks.cutting import with_fewer_filters
from sparrow.networks.fit import require_fit
from sparrow.reproducible import flush_denormals, pick_device, seed_everything, software_and_device
from sparrow.settings import Settings, Threat
from sparrow.study import cells, job_specs
from sparrow.study.config import Study
from sparrow.training.loop import Hooks, Step, train
from sparrow.training.schedule import Progress, Schedule
from sparrow.verification.memory import memory_limited, out_of_memory

IMAGES = 128
"""Batch size when a forward pass or an input gradient is timed."""
BATCH_MULTIPLY_ADDS = 2e10
"""When a bound is timed, the batch is the job's, or as much of it as takes about this many multiply-adds, since one image's
bound may take 10^6 or 10^10."""

LONG = 5.0
"""A pass or a bound of a batch that takes more seconds when it is run first is not run again: nothing warms up for so long."""


def this_device() -> dict[str, Any]:
    """`kind`, `device`, `threads` and versions of this process, as a Row has them."""
    device = pick_device()
    made = software_and_device(device)
    return {
        "kind": "gpu" if device.type == "cuda" else "cpu",
        "device": made["device"],
        "threads": torch.get_num_threads(),
        "torch": made["versions"]["torch"],
        "sparrow": made["versions"]["sparrow"],
    }


def measure(study: Study, units: Iterable[Unit], repeats: int, warn: Callable[[str], None]) -> Iterator[Row]:
    """A Row for each unit: its multiply-adds, and its seconds on average over `repeats` runs, or of one if that is `LONG`.

    A unit that fails with a NetworkError, or does not fit into memory, is left out, and `warn` is called with the reason.
    """
    flush_denormals()  # Before any tensor, as jobs do.
    made, known = this_device(), _Entries(study)
    for unit in units:
        seed_everything("cost", unit)
        try:
            model = known.network(unit).to(pick_device())
            found = _step(known, unit, model, repeats) if unit.what == "step" else _image(known, unit, model, repeats)
        except NetworkError as error:
            warn(f"{unit.what_for_people}: {error}")
        except (MemoryError, RuntimeError) as error:
            if not out_of_memory(error):
                raise
            warn(f"{unit.what_for_people}: does not fit into memory")
        else:
            yield row_of(unit, made, *found, code_of(unit))


class _Entries:
    """The models, objectives and verifiers of a study by the labels that units have for them."""

    def __init__(self, study: Study) -> None:
        self._found: dict[tuple[str, str], dict[str, Any]] = {}
        self._threats = _threats(study)
        for room in ("models", "objectives"):
            for label in getattr(study, room):
                spec = job_specs.entry_spec(study, room, label)
                self._found[room, label_of(spec)] = spec
        for params in study.verifiers.values():
            for kind, settings in _bounds(params.kind, params):
                found = {"kind": kind} | settings.model_dump(exclude={"kind"})
                self._found["verifiers", label_of(bound_spec(kind, settings))] = found
        self._found.setdefault(("verifiers", "crown"), {"kind": "crown"})  # The bounds of stable ReLUs.

    def network(self, unit: Unit) -> nn.Module:
        """A network as large as the unit's. Raises SparrowError if it does not fit its data set, NetworkError if filters cannot
        be cut out of this model."""
        spec = self._found["models", unit.model]
        entry, params = catalogue.from_spec("models", spec)
        whole = entry.build(params, unit.shape, unit.classes)
        require_fit(whole, unit.shape, unit.classes, f"models.{spec['kind']}")
        return with_fewer_filters(whole, unit.shape, unit.filters_gone).train() if unit.filters_gone else whole

    def loss(self, unit: Unit) -> Callable:
        """The loss of the unit's objective, at its place on the ramp, against the objective's threat."""
        entry, params = catalogue.from_spec("objectives", self._found["objectives", unit.entry])
        objective = entry.prepare(params, self._threats["objectives", unit.entry] if hasattr(params, "eps") else None)
        return lambda model, images, labels, progress: objective(model, images, labels, Progress(unit.progress))

    def bound(self, unit: Unit) -> tuple[Callable, Any]:
        """A function (model, images, labels) for the verifier's bound, and the verifier's parameters."""
        entry, params = catalogue.from_spec("verifiers", self._found["verifiers", unit.entry])
        threat = self._threats["verifiers", unit.entry, unit.model]
        return lambda model, images, labels: entry.bound(model, images, labels, params, threat, unit.classes), params


def _threats(study: Study) -> dict[tuple[str, ...], Threat]:
    """The threat of each objective, and of each verifier's bound of each model; of several, the first objective's.

    Operations do not depend on radii, but the time of some bounds may; another norm is another computation.
    """
    found: dict[tuple[str, ...], Threat] = {}
    for label, params in study.objectives.items():
        threat = study.threat_of(label)
        eps = getattr(params, "eps", None)
        own = threat if eps is None else Threat(norm=threat.norm, eps=eps)
        found.setdefault(("objectives", label_of(job_specs.entry_spec(study, "objectives", label))), own)
        names = [
            label_of(bound_spec(*one)) for v in study.evaluations("verifiers", label).values() for one in _bounds(v.kind, v)
        ]
        for model in study.models:
            if cells.is_trained_on(study, model, label):
                for name in (*names, "crown"):
                    found.setdefault(("verifiers", name, label_of(job_specs.entry_spec(study, "models", model))), threat)
    return found


def _bounds(kind: str, params: Settings) -> Iterator[tuple[str, Settings]]:
    """Kind and parameters of the verifiers that one consists of; of a single one, its own."""
    entry = catalogue.load("verifiers", kind)
    yield from (entry.members(params) if hasattr(entry, "members") else {kind: params}).items()


class _StepsDone(Exception):
    """Raised once the steps to time are done."""


class _Clock(Hooks):
    """Counts the multiply-adds of the first `repeats` steps, a warm-up, times the next `repeats`, then raises _StepsDone."""

    def __init__(self, repeats: int) -> None:
        self._repeats, self._counting, self._done = repeats, ExitStack(), 0

    def loss(self, objective: Callable[[], Tensor], images: Tensor, labels: Tensor) -> Tensor:
        if not self._done:
            self._count = self._counting.enter_context(count_operations())
        return objective()

    def after_step(self, step: Step) -> None:
        self._done += 1
        if self._done == self._repeats:
            self._counting.close()
            self._start = _now()
        elif self._done == 2 * self._repeats:
            self.seconds = (_now() - self._start) / self._repeats
            self.multiply_adds = self._count.multiply_adds // self._repeats
            raise _StepsDone


def _step(known: _Entries, unit: Unit, model: nn.Module, repeats: int) -> tuple[float, int, int]:
    """Seconds and multiply-adds of a step of the training loop, on average, since some objectives choose bounds at random; and
    over how many."""
    device, clock = pick_device(), _Clock(repeats)
    parts = {"train": _part(unit, 2 * repeats * unit.batch_size, device), "validation": _part(unit, 1, device)}
    precision, layout = unit.precision.removesuffix(CHANNELS_LAST), unit.precision.endswith(CHANNELS_LAST)
    schedule = Schedule(epochs=1, batch_size=unit.batch_size, lr=1e-6, precision=precision, channels_last=layout)
    with suppress(_StepsDone):
        train(model, known.loss(unit), parts, schedule, model.parameters(), torch.Generator(), clock)
    return clock.seconds, clock.multiply_adds, repeats


def _image(known: _Entries, unit: Unit, model: nn.Module, repeats: int) -> tuple[float, int, int]:
    """Seconds and multiply-adds for one image; timed in a batch, and divided by its size; and how often that was timed."""
    model.eval()
    if unit.what != "bound":
        passes = {"forward": _forward, "gradient": _gradient}[unit.what]

        def run_pass(part: Part) -> None:
            passes(model, part.images)

        one = _count(run_pass, unit)
        seconds, runs = _timed(run_pass, unit, IMAGES, repeats)
        return seconds, one, runs
    bound, params = known.bound(unit)

    def run(part: Part) -> Tensor:
        return bound(model, part.images, part.labels)

    with memory_limited(params.memory_mb):
        one = _count(run, unit)
        size = max(1, min(unit.batch_size, int(BATCH_MULTIPLY_ADDS // max(one, 1))))
        while True:
            try:
                seconds, runs = _timed(run, unit, size, repeats)
            except (MemoryError, RuntimeError) as error:
                if size == 1 or not out_of_memory(error):
                    raise
            else:
                return seconds, one, runs
            size //= 2


def _count(run: Callable[[Part], Any], unit: Unit) -> int:
    """Multiply-adds of `run` for one image."""
    with count_operations() as count:
        run(_part(unit, 1, pick_device()))
    return count.multiply_adds


def _timed(run: Callable[[Part], Any], unit: Unit, size: int, repeats: int) -> tuple[float, int]:
    """Seconds of `run` for an image in a batch of `size`, and over how many runs: after a first one, unless that was `LONG`."""
    part = _part(unit, size, pick_device())
    start = _now()
    run(part)
    first = _now() - start
    if first > LONG:
        return first / size, 1
    start = _now()
    for _ in range(repeats):
        run(part)
    return (_now() - start) / repeats / size, repeats


def _forward(model: nn.Module, images: Tensor) -> None:
    with torch.no_grad():
        model(images)


def _gradient(model: nn.Module, images: Tensor) -> None:
    images = images.detach().requires_grad_()
    torch.autograd.grad(model(images).sum(), images)


def _part(unit: Unit, count: int, device: torch.device) -> Part:
    """`count` random images in [0, 1], with labels."""
    labels = torch.arange(count) % unit.classes
    return Part(torch.rand(count, *unit.shape), labels, torch.arange(count)).to(device)


def _now() -> float:
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()
