"""The unit of work of which a study's cost is made up, and the labels in it. Imports no torch."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from sparrow import catalogue
from sparrow.settings import Settings
from sparrow.study import job_specs

CHANNELS_LAST = " channels_last"
What = Literal["step", "forward", "gradient", "bound"]


class Unit(NamedTuple):
    """A computation that takes the same time whenever it is repeated.

    A `step` is one of training, on a batch; the others are for one image: a `forward` pass, a `gradient` with respect
    to the image, or a verifier's `bound`.
    """

    what: What
    model: str
    entry: str
    """The objective of a step, the verifier of a bound; else nothing."""
    progress: float
    """A step's place on the schedule's ramp: 0 before it, 0.5 on it, 1 past it or without one; 1 for other units."""
    shape: tuple[int, int, int]
    classes: int
    batch_size: int
    """Images of a step; of a bound, those that a job bounds at a time, if memory allows; 1 for passes and gradients, whatever
    the batch."""
    precision: str = "float32"
    """Precision of a step, followed by `CHANNELS_LAST` if batches have that layout."""
    filters_gone: float = 0.0
    """The share of each layer's filters that have been cut out of the network, in [0, 1)."""

    @property
    def size(self) -> str:
        """What a line that names the model says behind it of its size; nothing, of a whole network."""
        return f" without {100 * self.filters_gone:g} % of its filters" if self.filters_gone else ""

    @property
    def what_for_people(self) -> str:
        """The unit in a few words: `cnn-small: step of trades beta=6.0`."""
        what = {"step": "step of ", "bound": "bound of "}.get(self.what, self.what)
        at = f", {self.progress:g} of the ramp" if self.what == "step" and self.progress != 1 else ""
        return f"{self.model}{self.size}: {what}{self.entry}{at}"

    @property
    def modules(self) -> tuple[str, ...]:
        """Full names of the modules of the model and, of a step or a bound, of the objective or the verifier."""
        names = [catalogue.module_name("models", self.model.split(" ")[0])]
        rooms: dict[str, catalogue.Room] = {"step": "objectives", "bound": "verifiers"}
        room = rooms.get(self.what)
        return (*names, catalogue.module_name(room, self.entry.split(" ")[0])) if room else tuple(names)


def label_of(spec: dict[str, Any]) -> str:
    """An entry's spec as one line, such as `trades beta=6.0 steps=10`; without radii, on which no operation depends."""
    rest = (f"{key}={_text(value)}" for key, value in sorted(spec.items()) if key not in IGNORED)
    return " ".join([spec["kind"], *rest])


IGNORED = {"kind"} | job_specs.PASSED_SEPARATELY
LOAD = {"samples", "batch_size", "memory_mb", "attacks"}
"""Parameters of a verifier on which the work for one image does not depend: how much is done at a time, and what before."""


def bound_spec(kind: str, params: Settings) -> dict[str, Any]:
    """The verifier's spec, with the parameters on which the work for one image depends."""
    return {"kind": kind} | params.model_dump(exclude={"kind"} | LOAD)


def _text(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value).lower()
