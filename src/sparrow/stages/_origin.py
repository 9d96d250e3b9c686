"""What headers say of a file's origin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sparrow.data.store import Header
from sparrow.errors import CheckpointError
from sparrow.files.headers import read_header, sha256
from sparrow.files.paths import INITIAL
from sparrow.reproducible import pick_device, software_and_device
from sparrow.stages.specs.base import CheckpointSpec
from sparrow.stages.specs.evaluation import AttackSpec


def header(
    stage: str, spec: CheckpointSpec, data: Header | None, parent: Path | None = None, warning: str | None = None
) -> dict[str, Any]:
    """Header of the checkpoint that `stage` makes under `spec` from the data set `data`; an initial one knows none.

    `parent` is the checkpoint that it was made from, whose warnings it takes over; `warning` is one of its own.
    """
    before = read_header(parent) if parent is not None else {}
    return {
        "stage": stage,
        "cell": spec.cell.model_dump(),
        "model": spec.model,
        **({} if data is None else _data(data, before)),
        "warnings": [*before.get("warnings", []), *([warning] if warning else [])],
        "config": spec.config(),
        "code": spec.code,
        "parent": sha256(parent) if parent is not None else None,
        "parent_stage": before.get("stage"),
        # Why filters are there as zeros, where they are.
        **({"uncut": before["uncut"]} if "uncut" in before else {}),
    }


def _data(data: Header, before: dict[str, Any]) -> dict[str, Any]:
    """What a header says of the data set; `before` is that of the parent."""
    return {
        "shape": list(data.shape),
        "classes": data.classes,
        "data": data.digest,
        "data_regime": _regime(data.regime, before),
    }


def _regime(own: str, before: dict[str, Any]) -> str:
    """How the training data was divided, and before it that of the stages before where it differs, as after an import."""
    others = before.get("data_regime") or own
    return others if others.endswith(own) else f"{others}, then {own}"


def examples_header(network: Path, spec: AttackSpec) -> dict[str, Any]:
    """Header of the adversarial examples that an attack on `network` under `spec` has found."""
    return {
        "network": sha256(network),
        "config": spec.config(),
        "code": spec.code,
        **software_and_device(pick_device()),
    }


def require_data(network: Path, header: dict[str, Any], data: Path, about: Header) -> None:
    """Raise CheckpointError if the checkpoint `network` was trained on another data set than `data`, which is `about`.

    An initial network was trained on none, but has to take its images and classes.
    """
    if header["stage"] == INITIAL:
        if (tuple(header["shape"]), header["classes"]) != (tuple(about.shape), about.classes):
            raise CheckpointError(
                f"{network}: takes images of {tuple(header['shape'])} and {header['classes']} classes; {data} has "
                f"{tuple(about.shape)} and {about.classes}"
            )
        return
    if header["data"] != about.digest:
        raise CheckpointError(f"{network}: trained on a data set other than {data} (digest {header['data'][:12]})")
