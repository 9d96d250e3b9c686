"""What jobs are told in tests: parts of their specs."""

from typing import Any


def labels(seed: int = 0, **pruned: Any) -> dict[str, Any]:
    """Whose a checkpoint is; of a pruned network also its `method` and `ratio`."""
    return {"dataset": "digits", "model": "cnn-small", "objective": "adversarial", "seed": seed, **pruned}


def data_spec(kind: str, **parameters: Any) -> dict[str, Any]:
    """What preparing a data set is told."""
    return {"code": "test", "dataset": {"kind": kind, **parameters}}
