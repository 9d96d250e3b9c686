"""The unit of work, and the name under which what it takes is written down. Imports no torch."""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

from sparrow.settings import Settings
from sparrow.study import job_specs

CHANNELS_LAST = " channels_last"
What = Literal["step", "forward", "gradient", "bound"]


class Unit(NamedTuple):
    """Something that takes the same time again and again.

    A `step` is one of training, on a batch; the others are for one image: a `forward` pass, a `gradient` with respect
    to the image, or a verifier's `bound`.
    """

    what: What
    model: str
    entry: str
    """The objective of a step, the verifier of a bound; else nothing."""
    progress: float
    """Where on the schedule's ramp a step is: 0, on it (0.5) or past it (1, as everywhere without one); else 1."""
    shape: tuple[int, int, int]
    classes: int
    batch_size: int
    """Images of a step; 1 for what is for one image, however many there are in a batch."""
    precision: str = "float32"
    """Of a step, with `CHANNELS_LAST` where batches are laid out so."""


def described(spec: dict[str, Any]) -> str:
    """A piece of configuration as words: `trades beta=6.0 steps=10`. Radii play no part: no work depends on them."""
    rest = (f"{key}={_plain(value)}" for key, value in sorted(spec.items()) if key not in IGNORED)
    return " ".join([spec["kind"], *rest])


IGNORED = {"kind"} | job_specs.PASSED_SEPARATELY
LOAD = {"samples", "batch_size", "memory_mb", "attacks"}
"""How much a verifier is given to do at a time, and what is done before it."""


def bound_spec(kind: str, params: Settings) -> dict[str, Any]:
    """What of a verifier's parameters its bound of one image depends on."""
    return {"kind": kind} | params.model_dump(exclude={"kind"} | LOAD)


def _plain(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value).lower()
