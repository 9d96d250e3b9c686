"""What jobs are told in tests: parts of their specs; and the network that training begins with."""

from pathlib import Path
from typing import Any

from sparrow.stages.initial import initial


def labels(seed: int = 0, **pruned: Any) -> dict[str, Any]:
    """Whose a checkpoint is; of a pruned network also its `method` and `ratio`."""
    return {"dataset": "digits", "model": "cnn-small", "objective": "adversarial", "seed": seed, **pruned}


def data_spec(kind: str, **parameters: Any) -> dict[str, Any]:
    """What preparing a data set is told."""
    return {"code": "test", "dataset": {"kind": kind, **parameters}}


def initial_network(folder: Path, training: dict[str, Any], shape: tuple[int, int, int] = (1, 8, 8), classes: int = 10) -> Path:
    """The checkpoint `initial` in `folder`, of the network, seed and objective of a training spec."""
    spec = {key: training[key] for key in ("cell", "code", "model")} | {"shape": shape, "classes": classes}
    objective = training["objective"]
    if "initialisation" in objective:
        spec["initialisation"] = objective
    folder.mkdir(exist_ok=True, parents=True)
    initial(folder / "initial.safetensors", folder / "initial.cost.json", spec)
    return folder / "initial.safetensors"
