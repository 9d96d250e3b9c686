"""Peak memory of a stage's step, against the floor: the network, its optimiser, and one pass of the batch there and back.

    python benchmarks/memory.py                                  what runs in minutes
    python benchmarks/memory.py pretrain wrn-28-10 128           one step of that network on that many images
    python benchmarks/memory.py attack cnn-large 512             AutoAttack, with few iterations: each takes as much as the next

Each is a process of its own; what its imports take is measured in another and taken away. On a GPU: what torch has allocated.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import torch
from _digits import DEVICE
from _paired import about, write

from sparrow import catalogue
from sparrow.data import store
from sparrow.jobs.costs import record_cost
from sparrow.stages.attack import attack
from sparrow.stages.initial import initial
from sparrow.stages.pretrain import pretrain
from sparrow.stages.prune import prune
from sparrow.stages.specs.base import CheckpointSpec
from sparrow.stages.verify import verify

CASES = [
    ("pretrain", "cnn-large", 128),
    ("pretrain", "resnet18", 64),
    ("certified", "cnn-large", 128),
    ("prune", "resnet18", 64),
    ("attack", "cnn-large", 512),
    ("verify", "cnn-large", 128),
]
SHAPE, CLASSES = (3, 32, 32), 10
COLUMNS = [
    "stage",
    "model",
    "images",
    "floor_mib",
    "ours_mib",
    "ratio",
    "imports_mib",
    "device",
    "threads",
    "torch",
    "revision",
]


def nothing(model: str, images: int, folder: Path) -> None:
    """The imports alone."""
    torch.zeros(1, device=DEVICE)


def floor(model: str, images: int, folder: Path) -> None:
    """One pass of the batch forwards and backwards, and a step of SGD with momentum."""
    network = _network(model).to(DEVICE).train()
    optimiser = torch.optim.SGD(network.parameters(), lr=1e-6, momentum=0.9)
    network(torch.rand(images, *SHAPE, device=DEVICE)).square().mean().backward()
    optimiser.step()


def stage_pretrain(model: str, images: int, folder: Path, objective: dict | None = None) -> None:
    """A step of adversarial training."""
    spec = _spec(model) | {
        "objective": objective or {"kind": "adversarial", "steps": 2},
        "threat": {"norm": "linf", "eps": 0.03},
    }
    spec["schedule"] = {"epochs": 1, "batch_size": images, "lr": 1e-6, "momentum": 0.9}
    initial(*_files(folder, "initial.safetensors", "initial.cost.json"), _spec(model) | {"shape": SHAPE, "classes": CLASSES})
    files = _files(folder, "dense.safetensors", "curve.csv", "cost.json")
    pretrain(folder / "initial.safetensors", _data(folder, images), *files, spec)


def stage_certified(model: str, images: int, folder: Path) -> None:
    """A step of CROWN-IBP, in the middle of its ramp."""
    stage_pretrain(model, images, folder, {"kind": "crown-ibp", "beta_end": 0.5, "beta_start": 0.5})


def stage_prune(model: str, images: int, folder: Path) -> None:
    """A step of HYDRA's search, on the adversarial objective."""
    data, spec = _data(folder, images), _spec(model)
    spec |= {"objective": {"kind": "adversarial", "steps": 2}, "threat": {"norm": "linf", "eps": 0.03}}
    spec["schedule"] = {"epochs": 1, "batch_size": images, "lr": 1e-6, "momentum": 0.9}
    spec |= {"method": {"kind": "hydra"}, "ratio": 0.9, "cell": _labels(model, method="hydra", ratio=0.9)}
    prune(_dense(folder, model, data), data, *_files(folder, "pruned.safetensors", "curve.csv", "trace.csv", "cost.json"), spec)


def stage_attack(model: str, images: int, folder: Path) -> None:
    """AutoAttack on images of which none falls."""
    data = _data(folder, images)
    spec = _evaluation(model, eps=1e-6)
    spec["attack"] = {"kind": "autoattack", "steps": 2, "queries": 2, "batch_size": images}
    attack(_dense(folder, model, data), data, *_files(folder, "attack.csv", "cost.json"), spec)


def stage_verify(model: str, images: int, folder: Path) -> None:
    """CROWN-IBP bounds."""
    data = _data(folder, images)
    spec = _evaluation(model, eps=0.01)
    spec["verifier"] = {"kind": "crown-ibp", "batch_size": images}
    verify(_dense(folder, model, data), data, *_files(folder, "verify.csv", "cost.json"), spec)


def _network(model: str) -> torch.nn.Module:
    torch.manual_seed(0)
    entry = catalogue.load("models", model)
    return entry.build(entry.Params(), SHAPE, CLASSES)


def _spec(model: str) -> dict:
    return {"cell": _labels(model), "code": "benchmark", "model": {"kind": model}}


def _evaluation(model: str, eps: float) -> dict:
    return {"seed": 0, "code": "benchmark", "model": {"kind": model}, "threat": {"norm": "linf", "eps": eps}}


def _files(folder: Path, *names: str) -> list[Path]:
    return [folder / name for name in names]


def _data(folder: Path, images: int) -> Path:
    """As many images of noise, all of the first class, and two to validate on."""
    path, noise = folder / "data.safetensors", np.random.default_rng(0)
    parts = {}
    for name, count in (("train", images), ("validation", 2), ("test", images)):
        pixels = noise.integers(0, 256, (count, *SHAPE), dtype=np.uint8)
        parts[name] = store.Stored(pixels, np.zeros(count, dtype=np.int64), np.arange(count))
    store.write(path, parts, 255, CLASSES, "all")
    return path


def _dense(folder: Path, model: str, data: Path) -> Path:
    """A network that finds the first class in everything."""
    from sparrow.files import checkpoint
    from sparrow.stages._origin import header

    network = _network(model)
    last = [module for module in network.modules() if isinstance(module, torch.nn.Linear)][-1]
    last.bias.data[0] += 100
    about = store.read(data, "test")[1]
    path = folder / "dense.safetensors"
    checkpoint.save(path, checkpoint.Checkpoint(network, {}, header("dense", CheckpointSpec(**_spec(model)), about)))
    return path


def peak(what: str, model: str, images: int) -> float:
    """MiB that a process needs for it."""
    command = [sys.executable, __file__, "--one", what, model, str(images)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(f"{what} {model} {images}: {done.stderr[-2000:]}")
    return json.loads(done.stdout.splitlines()[-1])


def one(what: str, model: str, images: int) -> None:
    """Do it in this process, and print its peak memory, as Sparrow measures that of its jobs."""
    with tempfile.TemporaryDirectory() as name:
        own = Path(name, "own.json")
        with record_cost(own):
            (globals()[f"stage_{what}"] if what not in ("nothing", "floor") else globals()[what])(model, images, Path(name))
        print(json.loads(own.read_text())["peak_memory_mb"])


def row(stage: str, model: str, images: int) -> dict:
    imports = peak("nothing", model, images)
    least, ours = peak("floor", model, images) - imports, peak(stage, model, images) - imports
    here = about()
    print(
        f"{stage} {model} {images}: {ours:.0f} MiB, floor {least:.0f}, {ours / least:.2f} times; imports {imports:.0f}",
        flush=True,
    )
    numbers = {
        "floor_mib": round(least),
        "ours_mib": round(ours),
        "ratio": round(ours / least, 2),
        "imports_mib": round(imports),
    }
    return {"stage": stage, "model": model, "images": images} | numbers | {key: here[key] for key in COLUMNS[7:]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", nargs="*", help="stage, model, images; no table is written")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        one(*options.one[:2], int(options.one[2]))
    elif options.case:
        stage, model, images = options.case
        row(stage, model, int(images))
    else:
        print(f"written to {write('memory', [row(*case) for case in CASES], COLUMNS, ('stage', 'model', 'images'))}")


if __name__ == "__main__":
    main()


def _labels(model: str, **pruned: object) -> dict[str, object]:
    return {"dataset": "noise", "model": model, "objective": "benchmark", "seed": 0, **pruned}
