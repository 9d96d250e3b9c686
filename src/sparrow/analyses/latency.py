"""Latency: what sparsity buys on a CPU, in turn with the dense network that the others come from.

How long the evaluated networks take to classify images on a CPU, and how many times as fast as the dense network by the same
runtime: the median over turns that they take with it in one job, with its 95 % interval. ``masked`` networks do the dense
one's arithmetic, with zeros in it; ``compact`` ones are without the filters that they lost, as they were trained. A dense
network against itself shows how far to trust the rest.

Source: the interval is that of the quantile test (scipy.stats.quantile_test); turns in random order are Sparrow's own.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal, NamedTuple

from pydantic import AfterValidator, Field

from sparrow.files.specs import opened
from sparrow.lazy_torch import torch
from sparrow.results.specs.figures import FigureSpec
from sparrow.settings import Analysis, Columns, Scope, unique

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.axes import Axes

    from sparrow.exchange.network import Network as Plain
    from sparrow.inference.subjects import Family, Network

TURN_SECONDS = 0.02
"""A turn lasts as many forward passes as fit into this, and at least one."""


class Params(Analysis):
    """On how many images, by what, and how often."""

    scope: ClassVar[Scope] = "family"
    timed: ClassVar[bool] = True
    # A checkpoint; whether it was timed as it is (`dense`, `masked`) or without its pruned filters (`compact`), by what, on how
    # many images; milliseconds of a forward pass, and how many times as fast as the dense network by the same.
    tables: ClassVar[Columns] = {
        "latency": (
            *("method", "ratio", "stage", "form", "runtime", "batch_size"),
            *("milliseconds", "speedup", "speedup_low", "speedup_high", "threads", "device"),
        )
    }

    batch_sizes: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=1), AfterValidator(unique)] = Field([1, 64])
    """Images in a batch; each size is timed by itself."""
    runtimes: Annotated[list[Literal["torch", "onnxruntime"]], Field(min_length=1), AfterValidator(unique)] = Field(
        ["torch", "onnxruntime"]
    )
    """What computes: torch, or ONNX Runtime after an export."""
    threads: int = Field(1, ge=1)
    """Threads for each of them."""
    repeats: int = Field(15, ge=6)
    """How often each network takes its turn with the dense one. From six, a 95 % interval of the median can be told."""


Row = tuple[Any, ...]


def analyse(subject: Family, params: Params) -> list[Row]:
    """A row for each network, form, runtime and batch size: the median time of a forward pass in milliseconds, and how many
    times as fast it is as the dense network in the same runtime, the median over neighbouring turns with its 95 % interval.

    Pruned networks that failed are left out, and so is a runtime that does not give a network's logits. Raises NetworkError
    if the dense one failed, SparrowError if the job has fewer threads than it is to use.
    """
    import tempfile

    from sparrow.errors import SparrowError
    from sparrow.jobs import journal

    if torch.get_num_threads() < params.threads:
        raise SparrowError(f"threads: {params.threads}, but a job here has {torch.get_num_threads()}; valid: no more than that")
    # On the CPU, whatever the job was given besides.
    images = subject.data.part("test", max(params.batch_sizes)).images.cpu()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = _runners("dense", subject.dense, _runnable(subject.dense.path, images), params, folder)
        rows: list[Row] = journal.compute_once("dense", partial(_rows, base, base, images, params))
        for network in subject.pruned:
            rows += journal.compute_once(str(network.path), partial(_pruned, network, base, images, params, folder))
    return rows


def _pruned(network: Network, base: list[Runner], images: torch.Tensor, params: Params, folder: Path) -> list[Row]:
    """The rows of a pruned network, as far as it can be used."""
    from sparrow.errors import NetworkError

    runners = []
    for form in ("masked", "compact"):
        try:
            found = _runnable(network.path, images, masked=form == "masked")
            runners += _runners(form, network, found, params, folder) if form == "masked" or found.cut else []
        except NetworkError as error:
            print(f"{network.path}: left out as {form}: {error}")
    return _rows(runners, base, images, params) if runners else []


def _runnable(path: Path, images: torch.Tensor, masked: bool = False) -> Plain:
    """The network at `path`; if `masked`, with zeros for filters that were cut out.

    Raises NetworkError if it failed, if it cannot be run, or if its logits are no numbers.
    """
    from sparrow.errors import NetworkError
    from sparrow.exchange import network
    from sparrow.networks.finite import require_numbers

    found = network.load(path, masked=masked)
    try:
        require_numbers(found.model, images, len(images))
    except RuntimeError as error:
        raise NetworkError(f"cannot be run ({' '.join(str(error).split())})") from None
    return found


class Runner(NamedTuple):
    """A network that is ready to be timed."""

    network: Network
    form: str
    runtime: str
    run: Callable[[torch.Tensor], object]


def _runners(form: str, network: Network, plain: Plain, params: Params, folder: Path) -> list[Runner]:
    found = []
    for runtime in params.runtimes:
        try:
            found.append(Runner(network, form, runtime, _run(runtime, plain, params.threads, folder)))
        except Exception as error:  # The layers are the user's: exporters fail at them in ways of their own.
            print(f"{plain.path}: not timed by {runtime}: {error}")
    return found


def _run(runtime: str, network: Plain, threads: int, folder: Path) -> Callable[[torch.Tensor], object]:
    if runtime == "torch":
        return partial(_in_torch, network.model)
    from sparrow.exchange import onnx_file

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


def _in_torch(model: torch.nn.Module, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return model(images)


def _rows(runners: list[Runner], base: list[Runner], images: torch.Tensor, params: Params) -> list[Row]:
    """The rows of one checkpoint in all its forms; `base` has the dense network in each runtime."""
    import numpy as np
    from scipy.stats import quantile_test

    from sparrow.reproducible import device_name

    dense = {runner.runtime: place for place, runner in enumerate(base)}
    runners = [runner for runner in runners if runner.runtime in dense]
    device, rows = device_name(torch.device("cpu")), []
    for size in params.batch_sizes:
        batch = images[torch.arange(size) % len(images)]
        taken = turns([runner.run for runner in (*base, *runners)], batch, params.repeats)
        for runner, own in zip(runners, taken[len(base) :], strict=True):
            speedup = taken[dense[runner.runtime]] / own
            interval = quantile_test(speedup, q=1, p=0.5).confidence_interval(0.95)
            numbers = [float(value) for value in (1e3 * np.median(own), np.median(speedup), interval.low, interval.high)]
            who = runner.network.who.identity()
            # By its ratio a cell is found again: every digit counts.
            named = who["method"], repr(float(who["ratio"])), who["stage"]
            rows.append((*named, runner.form, runner.runtime, size, *numbers, params.threads, device))
            print(
                f"{runner.form} {runner.runtime}, {size} images: {numbers[0]:.3g} ms, {numbers[1]:.2f} times as fast as dense"
            )
    return rows


def turns(runs: list[Callable[[torch.Tensor], object]], images: torch.Tensor, repeats: int) -> np.ndarray:
    """Seconds of a forward pass of each of the `runs` in each turn (runs, turns): all take their first turn, then their second.

    A machine that is slower for a while is slower for all of them. They go in another order each time, for what comes after a
    larger network finds the cache full of it.
    """
    import timeit

    import numpy as np

    timers = [timeit.Timer(partial(run, images)) for run in runs]
    for timer in timers:
        timer.timeit(1)  # The first pass makes room, and packs weights.
    often = [max(1, int(TURN_SECONDS / timer.timeit(1))) for timer in timers]
    seconds, generator = np.empty((len(runs), repeats)), np.random.default_rng(0)
    for turn in range(repeats):
        for place in generator.permutation(len(runs)):
            seconds[place, turn] = timers[place].timeit(often[place]) / often[place]
    return seconds


FORMS = {"masked": "none", "compact": "full"}


@opened(FigureSpec)
def draw(source: Path, svg: Path, png: Path, spec: FigureSpec) -> None:
    """What sparsity buys on a CPU, and at what price: how many times as fast pruned networks are as their dense one in the same
    runtime, against the era that they preserve. Hollow: with zeros in place of the pruned weights; full: without their pruned
    filters. Lines join a method's ratios; means over seeds. A row for each runtime and batch size, a column for each objective.
    Of more than seven methods the best are in colour, with random pruning, and all others grey; those that lost their filters
    have their names beside them.
    """
    import pandas as pd

    from sparrow.results.figures import style

    of_study = style.by_granularity(pd.read_csv(source))
    looks = style.looks(svg, spec, of_study)
    table = style.select(of_study, dataset=spec.dataset, model=spec.model, stage=spec.stage)
    methods, objectives = sorted(table["method"].unique()), spec.objectives
    table = table.dropna(subset=["speedup", "preserved_era"])
    panels = sorted(
        set(zip(table["runtime"], table["batch_size"].astype(int), strict=True)), key=lambda one: (one[0] != "torch", one)
    )
    figure, grid = style.panels(max(len(panels), 1), len(objectives), width=looks.width, height=1.7, sharex="row", sharey=True)
    named: dict[Axes, dict[str, tuple[float, float]]] = {}
    for row, (runtime, size) in zip(grid, panels, strict=False):
        row[0].set_ylabel(f"{runtime}, {size} image{'s' * (size > 1)}\npreserved era (%)", fontsize=8)
        for axes, objective in zip(row, objectives, strict=True):
            rows = style.select(table, objective=objective, runtime=runtime, batch_size=size)
            ends: dict[str, tuple[float, float]] = {}
            for (method, form), own in ((map(str, key), own) for key, own in rows.groupby(["method", "form"])):
                points = own.groupby("ratio")[["speedup", "preserved_era"]].mean()
                look = looks.of(method) | {"fillstyle": FORMS[form], "linewidth": 0.8}
                if not looks.stands_out(method):
                    look |= {"marker": "o", "markersize": 2.5}
                if looks.many and form != "masked":
                    ends[method] = float(points["speedup"].iloc[-1]), 100 * float(points["preserved_era"].iloc[-1])
                axes.plot(points["speedup"], 100 * points["preserved_era"], **look)
                crossed = points[points.index.isin(style.constant(own))]
                style.cross_out(axes, crossed["speedup"].tolist(), (100 * crossed["preserved_era"]).tolist())
            axes.axvline(1, color="grey", linestyle="--", linewidth=1)
            named[axes] = ends
    for axes, objective in zip(grid[0], objectives, strict=True):
        axes.set_title(style.title(spec, objective))
        if style.select(table, objective=objective).empty:
            axes.text(0.5, 0.5, "nothing to compare", transform=axes.transAxes, ha="center", color="grey")
    for axes in grid[-1]:
        axes.set_xlabel("times as fast as dense")
    style.from_zero(grid[0, 0])
    for axes, ends in named.items():
        colours = {name: looks.of(name)["color"] if looks.stands_out(name) else "#555555" for name in ends}
        style.label_ends(axes, ends, colours)
    for method in looks.order(methods):
        grid[0, 0].plot([], [], **looks.line(method) | {"linewidth": 0.8})
    for form in sorted(set(table["form"]), reverse=True):
        grid[0, 0].plot([], [], marker="o", fillstyle=FORMS[form], color="grey", linestyle="", label=form)
    style.legend_below(figure, grid[0, 0])
    style.write(figure, svg, png)
