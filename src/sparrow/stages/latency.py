"""What sparsity buys on a CPU: how long networks take, in turn with the dense one that they come from.

A masked network does the dense one's arithmetic, with zeros in it; one without its pruned filters does less of it.
"""

from __future__ import annotations

import tempfile
import timeit
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from scipy.stats import quantile_test
from torch import Tensor

from sparrow.data.store import read
from sparrow.errors import NetworkError, SparrowError
from sparrow.exchange import network as networks
from sparrow.exchange import onnx_file
from sparrow.files import content
from sparrow.files.csv_table import write_csv
from sparrow.files.headers import DATA_FORMAT, read_header
from sparrow.files.outcome_table import LATENCY
from sparrow.files.paths import DENSE
from sparrow.jobs import journal
from sparrow.jobs.costs import record_cost
from sparrow.jobs.resume_point import resumable
from sparrow.networks.finite import require_numbers
from sparrow.reproducible import device_name, seed_everything
from sparrow.stages._door import opened
from sparrow.stages._evaluation import failed_table
from sparrow.stages._failure import recorded
from sparrow.stages.specs.latency import LatencySpec

TURN_SECONDS = 0.02
"""A turn lasts as many forward passes as fit into this, and at least one."""


def _failed(message: str, output: Path, dense: Path, data: Path, spec: LatencySpec, **unused) -> None:
    failed_table(message, output, dense, data, spec)


@opened(LatencySpec)
@recorded(_failed)
def latency(
    dense: Path, pruned: list[Path], compact: list[Path], data: Path, output: Path, cost: Path, spec: LatencySpec
) -> None:
    """Time `dense` on the CPU, and each checkpoint in `pruned` in turn with it, with its pruned filters cut out, too, where
    `compact` has such a file.

    One row for each network, form, runtime and batch size: the median time of a forward pass in milliseconds, and how many
    times as fast it is as the dense network in the same runtime, the median over neighbouring turns with its 95 % interval.
    Pruned networks that failed are left out, and so is a runtime that does not give a network's logits. Raises NetworkError
    if the dense one failed, SparrowError if the job has fewer threads than it is to use.
    """
    params, smaller = spec.latency, {path.parent: path for path in compact}
    if torch.get_num_threads() < params["threads"]:
        raise SparrowError(
            f"latency.threads: {params['threads']}, but a job here has {torch.get_num_threads()}; valid: no more than that"
        )
    with resumable(output, spec.model_dump(), dense, data, *pruned, *compact) as resume, record_cost(cost):
        generator = seed_everything(0, "latency")
        images = read(data, "test")[0].images[: max(params["batch_sizes"])]
        with tempfile.TemporaryDirectory() as folder, journal.open_journal(resume, generator):
            base = _runners(DENSE, _network(dense, images), params, Path(folder))
            rows = journal.compute_once("dense", partial(_rows, base, base, images, params))
            for path in pruned:
                forms = {"masked": path} | (
                    {"compact": smaller[path.with_suffix("")]} if path.with_suffix("") in smaller else {}
                )
                rows += journal.compute_once(str(path), partial(_pruned, forms, base, images, params, Path(folder)))
        about = read_header(data, DATA_FORMAT)["digest"][: content.SHORT], content.of_spec(spec.model_dump())
        write_csv(output, LATENCY, [(*row, len(rows), network, *about) for *row, network in rows])


def _pruned(forms: dict[str, Path], base: list[Runner], images: Tensor, params: dict, folder: Path) -> list[tuple]:
    """The rows of a pruned network, as far as it can be used."""
    runners = []
    for form, path in forms.items():
        try:
            runners += _runners(form, _network(path, images), params, folder)
        except NetworkError as error:
            print(f"{path}: left out: {error}")
    return _rows(runners, base, images, params) if runners else []


def _network(path: Path, images: Tensor) -> networks.Network:
    """Raises NetworkError if it failed, if it cannot be run, or if its logits are no numbers."""
    found = networks.load(path)
    try:
        require_numbers(found.model, images, len(images))
    except RuntimeError as error:
        raise NetworkError(f"cannot be run ({' '.join(str(error).split())})") from None
    return found


class Runner(NamedTuple):
    """A network that is ready to look at images."""

    network: networks.Network
    form: str
    runtime: str
    run: Callable[[Tensor], object]


def _runners(form: str, network: networks.Network, params: dict, folder: Path) -> list[Runner]:
    found = []
    for runtime in params["runtimes"]:
        try:
            found.append(Runner(network, form, runtime, _run(runtime, network, params["threads"], folder)))
        except Exception as error:  # The layers are the user's: exporters fail at them in ways of their own.
            print(f"{network.path}: not timed by {runtime}: {error}")
    return found


def _run(runtime: str, network: networks.Network, threads: int, folder: Path) -> Callable[[Tensor], object]:
    if runtime == "torch":
        return partial(_in_torch, network.model)
    path = folder / "network.onnx"
    onnx_file.write(path, network)
    # After that, since `write` says it in one line if the package is missing.
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
    # Idle threads that spin would take their cores from whose turn it is.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    session = onnxruntime.InferenceSession(path.read_bytes(), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(["logits"], {"images": images.numpy()})


@torch.inference_mode()
def _in_torch(model: torch.nn.Module, images: Tensor) -> Tensor:
    return model(images)


def _rows(runners: list[Runner], base: list[Runner], images: Tensor, params: dict) -> list[tuple]:
    """The rows of one checkpoint in all its forms, each with the digest of its content behind; `base` has the dense network
    in each runtime."""
    dense = {runner.runtime: place for place, runner in enumerate(base)}
    runners = [runner for runner in runners if runner.runtime in dense]
    device, rows = device_name(torch.device("cpu")), []
    for size in params["batch_sizes"]:
        batch = images[torch.arange(size) % len(images)]
        taken = turns([runner.run for runner in (*base, *runners)], batch, params["repeats"])
        for runner, own in zip(runners, taken[len(base) :], strict=True):
            speedup = taken[dense[runner.runtime]] / own
            interval = quantile_test(speedup, q=1, p=0.5).confidence_interval(0.95)
            numbers = [float(value) for value in (1e3 * np.median(own), np.median(speedup), interval.low, interval.high)]
            own = _content(runner.network)
            rows.append((*_who(runner.network), runner.form, runner.runtime, size, *numbers, params["threads"], device, own))
            print(
                f"{runner.form} {runner.runtime}, {size} images: {numbers[0]:.3g} ms, {numbers[1]:.2f} times as fast as dense"
            )
    return rows


def _who(network: networks.Network) -> tuple:
    cell = {"method": DENSE, "ratio": 0.0} | network.header["cell"]
    # By its ratio a cell is found again: every digit counts.
    cell["ratio"] = repr(float(cell["ratio"]))
    return *(cell[key] for key in ("dataset", "model", "objective", "method", "ratio", "seed")), network.header["stage"]


def _content(network: networks.Network) -> str:
    """The digest that tables name: of the checkpoint that a compact network was cut out of."""
    return str(network.header.get("cut_from", network.header["content"]))[: content.SHORT]


def turns(runs: list[Callable[[Tensor], object]], images: Tensor, repeats: int) -> np.ndarray:
    """Seconds of a forward pass of each of the `runs` in each turn (runs, turns): all take their first turn, then their second.

    A machine that is slower for a while is slower for all of them. They go in another order each time, for what comes after a
    larger network finds the cache full of it.
    """
    timers = [timeit.Timer(partial(run, images)) for run in runs]
    for timer in timers:
        timer.timeit(1)  # The first pass makes room, and packs weights.
    often = [max(1, int(TURN_SECONDS / timer.timeit(1))) for timer in timers]
    seconds, generator = np.empty((len(runs), repeats)), np.random.default_rng(0)
    for turn in range(repeats):
        for place in generator.permutation(len(runs)):
            seconds[place, turn] = timers[place].timeit(often[place]) / often[place]
    return seconds
