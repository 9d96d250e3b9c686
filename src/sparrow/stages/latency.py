"""What sparsity buys on a CPU: how long networks take, in turn with the dense one that they come from.

A masked network does the dense one's arithmetic, with zeros in it; one without its pruned filters does less of it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import quantile_test
from torch import Tensor
from torch.utils.benchmark import Timer

from sparrow.cell_path import DENSE
from sparrow.costs import measured
from sparrow.csv_file import write_csv
from sparrow.data._store import read
from sparrow.errors import InheritedError
from sparrow.exchange import network as networks
from sparrow.exchange import onnx_file
from sparrow.outcome_table import LATENCY
from sparrow.reproducible import device_name
from sparrow.stages._evaluation import failed_table
from sparrow.stages._failure import recorded

TURN_SECONDS = 0.02
"""A turn lasts as many forward passes as fit into this, and at least one."""


@recorded(failed_table)
def latency(dense: Path, pruned: list[Path], compact: list[Path], data: Path, output: Path, cost: Path, spec: dict) -> None:
    """Time `dense` on the CPU, and each checkpoint in `pruned` in turn with it, with its pruned filters cut out, too, where
    `compact` has such a file.

    One row for each network, form, runtime and batch size: the median time of a forward pass in milliseconds, and how many
    times as fast it is as the dense network in the same runtime, the median over neighbouring turns with its 95 % interval.
    Pruned networks that failed are left out. Raises CheckpointError, or SparrowError for a network that ONNX cannot hold.
    """
    params, smaller = spec["latency"], {path.parent: path for path in compact}
    with measured(cost), tempfile.TemporaryDirectory() as folder:
        images = read(data, "test")[0].images
        parent = networks.load(dense)
        base = _runners([(DENSE, parent)], params, Path(folder))
        rows = _rows(parent, base, base, images, params)
        for path in pruned:
            cut = smaller.get(path.with_suffix(""))
            try:
                found = networks.load(path)
                forms = [("masked", found)] + ([("compact", networks.load(cut))] if cut else [])
            except InheritedError as error:
                print(f"{path}: left out: {error}")
                continue
            rows += _rows(found, _runners(forms, params, Path(folder)), base, images, params)
        write_csv(output, LATENCY, rows)


class Runner(NamedTuple):
    """A network that is ready to look at images."""

    form: str
    runtime: str
    run: Callable[[Tensor], object]


def _rows(network: networks.Network, runners: list[Runner], base: list[Runner], images: Tensor, params: dict) -> list[tuple]:
    """The rows of one checkpoint in all its forms; `base` has the dense network in each runtime."""
    cell = {"method": DENSE, "ratio": 0.0} | network.header["cell"]
    # By its ratio a cell is found again: every digit counts.
    cell["ratio"] = repr(float(cell["ratio"]))
    who = *(cell[key] for key in ("dataset", "model", "objective", "method", "ratio", "seed")), network.header["stage"]
    device, rows = device_name(torch.device("cpu")), []
    for size in params["batch_sizes"]:
        seconds = turns([runner.run for runner in (*base, *runners)], images[torch.arange(size) % len(images)], params)
        dense = dict(zip(params["runtimes"], seconds, strict=False))
        for runner, own in zip(runners, seconds[len(base) :], strict=True):
            speedup = dense[runner.runtime] / own
            interval = quantile_test(speedup, q=1, p=0.5).confidence_interval(0.95)
            numbers = [float(value) for value in (1e3 * np.median(own), np.median(speedup), interval.low, interval.high)]
            rows.append((*who, runner.form, runner.runtime, size, *numbers, params["threads"], device))
            name = " ".join((*map(str, who[3:5]), runner.form, runner.runtime))
            print(f"{name}, {size} images: {numbers[0]:.3g} ms, {numbers[1]:.2f} times as fast as dense")
    return rows


def _runners(forms: list[tuple[str, networks.Network]], params: dict, folder: Path) -> list[Runner]:
    return [
        Runner(form, one, _runner(one, network, params["threads"], folder))
        for form, network in forms
        for one in params["runtimes"]
    ]


def _runner(runtime: str, network: networks.Network, threads: int, folder: Path) -> Callable[[Tensor], object]:
    if runtime == "torch":
        return partial(_in_torch, network.model)
    import onnxruntime

    path = folder / "network.onnx"
    onnx_file.write(path, network)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["logits"], {"images": images.numpy()})


@torch.inference_mode()
def _in_torch(model: torch.nn.Module, images: Tensor) -> Tensor:
    return model(images)


def turns(runs: list[Callable[[Tensor], object]], images: Tensor, params: dict) -> np.ndarray:
    """Seconds of a forward pass of each of the `runs` in each turn (runs, turns): all take their first turn, then their second.

    A machine that is slower for a while is slower for all of them. They go in another order each time, for what comes after a
    larger network finds the cache full of it.
    """
    timers = [Timer("run(images)", globals={"run": run, "images": images}, num_threads=params["threads"]) for run in runs]
    often = [max(1, int(TURN_SECONDS / timer.timeit(1).mean)) for timer in timers]
    seconds, generator = np.empty((len(runs), params["repeats"])), np.random.default_rng(0)
    for turn in range(params["repeats"]):
        for place in generator.permutation(len(runs)):
            seconds[place, turn] = timers[place].timeit(often[place]).mean
    return seconds
