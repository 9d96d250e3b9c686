"""Print what a study will cost: cells, jobs and hours by stage, from measured step times, or from counted operations."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from sparrow.estimate.finished import finished_jobs
from sparrow.estimate.rates import SHIPPED, Kind, Rates, Row, read_rows, write_rows
from sparrow.estimate.total import Price, prices
from sparrow.estimate.work import STAGES, Work, works
from sparrow.files.csv_table import write_csv
from sparrow.study import cells
from sparrow.study.config import Study
from sparrow.study.load import read_study

COLUMNS = ("study", "stage", "dataset", "model", "objective", "entry", "filters_gone", "jobs", "steps", "images", "hours", "by")
HEAD = ("stage", "data set", "model", "objective", "jobs", "steps", "hours", "by")
MEANING = {
    "run": "run: from jobs of this study that have run, whatever device they had; those of networks that were made under\n"
    "  another configuration do not count, but an attack's or verifier's own settings may have been others",
    "measured": "measured: time of a step on this kind of device ({table})",
    "derived": "derived: an estimate, from counted multiply-adds and an assumed rate of {speed};\n"
    "  --tflops assumes another{small}",
    "whole": "whole: of networks that lost filters, as if they had them all: nobody has counted what is left, which\n"
    "  `sparrow cost --measure` does",
    "limit": "limit: a complete verifier may take its time limit for every image",
    "unknown": "unknown: neither measured nor counted; `sparrow cost --measure` does both, on this machine,\n"
    "  but for an entry whose file declares no `passes`, and for the choice of bits in mixed precision",
}
BOUNDS = (
    "Upper bounds: every image survives every attack, and comes to every bound of a cascade. A batch of validation images\n"
    "counts as a step, and a pruning step as one of its objective: what a method adds (S2AP about 15 %, the search of CCRP\n"
    "many times its training) is not counted.\n"
    "A teacher and the penalty `nrs` count as forward passes, and that as six for an image, though bounds may take longer.\n"
    "A network that lost filters is priced as if every layer had lost the same share of them.\n"
    "Starting a job, data sets, tables and figures are seconds each, and not counted; nor is how long\n"
    "analyses time networks, or read tables."
)


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("studies", type=Path, nargs="+", metavar="STUDY", help="a study, such as config.yaml")
    parser.add_argument(
        "--device",
        choices=("gpu", "cpu"),
        help="whose hours (default: gpu; cpu where all its step times are known; with --measure, what this machine has)",
    )
    parser.add_argument(
        "--tflops", type=_positive, metavar="N", help="assume N * 10^12 operations a second where none are measured"
    )
    parser.add_argument("--measure", action="store_true", help="first measure here what no table has of this device")
    parser.add_argument(
        "--steps",
        type=Path,
        metavar="FILE",
        help="step times besides the shipped ones; --measure writes them there (steps.csv)",
    )
    parser.add_argument("--repeats", type=_count, default=3, metavar="N", help="measure each step this often (default: 3)")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write all rows, one for each method, attack and verifier")


def run(options: argparse.Namespace) -> int:
    """Print a table for each study."""
    studies = {path: read_study(path) for path in options.studies}
    found = {path: works(study) for path, study in studies.items()}
    rows = read_rows(SHIPPED) if SHIPPED.is_file() else []
    kind: Kind = options.device or "gpu"
    if options.measure:
        mine = options.steps or Path("steps.csv")
        own = read_rows(mine) if mine.is_file() else []
        rows += own
        for path, study in studies.items():
            here = _measure(study, found[path], rows, own, mine, options.repeats)
            kind = options.device or here
    elif options.steps:
        rows += read_rows(options.steps)
    if not (options.device or options.measure or options.tflops) and _all_measured(found.values(), rows, "cpu"):
        kind = "cpu"
    rates, table = Rates(rows, kind, options.tflops), []
    for path, study in studies.items():
        priced = prices(found[path], rates, finished_jobs(study, found[path]))
        print(_summary(path, study, found[path]), _table(priced), _legend(priced, rates, kind), sep="\n\n", end="\n\n")
        table += [_line(path, price) for price in priced]
    print(BOUNDS)
    if options.csv:
        write_csv(options.csv, COLUMNS, table)
    return 0


def _all_measured(found: Iterable[list[Work]], rows: list[Row], kind: Kind) -> bool:
    """Whether there is a time of that kind of device for every unit of some works, and of no other kind."""
    units = {unit for works_of_one in found for work in works_of_one for unit in work.units}
    measured = {
        other: {row.unit for row in rows if row.seconds and (row.kind == kind) == (other == kind)} for other in (kind, "")
    }
    return bool(units) and units <= measured[kind] and not units & measured[""]


def _measure(study: Study, found: list[Work], rows: list[Row], own: list[Row], path: Path, repeats: int) -> Kind:
    """Measure the units that `rows` lacks for this device; add them to `rows`, and to `own` and its file. The device's kind."""
    from sparrow.estimate.measure import measure, this_device

    for category in (FutureWarning, DeprecationWarning):
        warnings.simplefilter("ignore", category)  # As in the jobs.
    made = this_device()
    there = {row.unit for row in rows if (row.device, row.threads) == (made["device"], made["threads"]) and row.seconds}
    units = dict.fromkeys(unit for work in found for unit in work.units if unit not in there)

    def warn(message: str) -> None:
        print(f"warning: {message}; not measured", file=sys.stderr)

    for row in measure(study, units, repeats, warn):
        print(f"{row.model}{row.unit.size}, {row.entry or row.what}: {row.seconds:.3g} s", file=sys.stderr, flush=True)
        rows.append(row)
        own.append(row)
        write_rows(path, own)  # After each: an interrupted measurement loses one row at most.
    return made["kind"]


def _summary(path: Path, study: Study, found: list[Work]) -> str:
    jobs: Counter[str] = Counter()
    for work in found:
        jobs[work.stage] += len(work.jobs)
    each = ", ".join(f"{stage} {jobs[stage]:,}" for stage in STAGES if jobs[stage])
    pruned, dense = len(cells.cells(study)), len(cells.parents(study))
    return f"{path}: {pruned:,} cells, {dense:,} dense networks, {sum(jobs.values()):,} jobs ({each})"


def _table(priced: list[Price]) -> str:
    """Methods, attacks, verifiers and analyses in one line for each stage of a data set x model x objective."""
    groups: dict[tuple[str, ...], list[Price]] = {}
    for price in priced:
        if price.by:
            work = price.work
            groups.setdefault((work.stage, work.dataset, work.model, work.objective), []).append(price)
    lines = [HEAD, *((*key, *_sums(group)) for key, group in groups.items())]
    for stage in dict.fromkeys(key[0] for key in groups):
        lines.append((f"{stage}, in all", "", "", "", *_sums([p for p in priced if p.work.stage == stage])))
    lines.append(("total", "", "", "", *_sums(priced)))
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    return "\n".join("  ".join(map(_cell, line, widths, range(len(HEAD)))).rstrip() for line in lines)


def _sums(group: list[Price]) -> tuple[str, str, str, str]:
    """Cells of a table: jobs, steps, hours and their sources."""
    jobs = sum(len(price.work.jobs) for price in group)
    steps = sum(len(price.work.jobs) * price.work.steps for price in group)
    known = [price.hours for price in group if price.hours is not None]
    hours = _hours(sum(known)) if len(known) == len(group) else f"> {_hours(sum(known))}" if any(known) else "?"
    by = ", ".join(name for name in MEANING if any(name in price.by for price in group))
    return f"{jobs:,}", f"{steps:,}" if steps else "", hours, by


def _hours(hours: float) -> str:
    """Hours with two decimals, or with two digits where that would say too little."""
    if hours >= 0.1 or not hours:
        return f"{hours:,.2f}"
    return f"{hours:.2g}" if hours >= 0.0001 else "<0.0001"


def _cell(text: str, width: int, column: int) -> str:
    return text.rjust(width) if HEAD[column] in ("jobs", "steps", "hours") else text.ljust(width)


def _legend(priced: list[Price], rates: Rates, kind: str) -> str:
    """Explanations of the words in the last column that occur."""
    used = {name for price in priced for name in price.by}
    precisions = sorted({unit.precision for price in priced for unit in price.work.units})
    speed = "; ".join(f"{rates.speed(p).teraflops:g} TFLOP/s in {p} ({rates.speed(p).reason})" for p in precisions)
    small = ". It is too little for small networks, which do not keep a GPU busy" if kind == "gpu" else ""
    words = {"table": f"a {kind.upper()}", "speed": speed, "small": small}
    lines = [text.format(**words) for name, text in MEANING.items() if name in used]
    head = f"Hours of a {kind.upper()}, but for what has run." if "run" in used else f"Hours of a {kind.upper()}."
    return "\n".join([head, *lines])


def _line(path: Path, price: Price) -> tuple:
    work = price.work
    gone = sum(work.filters_gone) / len(work.filters_gone)
    counts = (round(gone, 4), len(work.jobs), len(work.jobs) * work.steps, len(work.jobs) * work.images)
    return (str(path), *(getattr(work, name) for name in COLUMNS[1:6]), *counts, price.hours, " ".join(sorted(price.by)))


def _positive(text: str) -> float:
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"{text} is not valid: must be above 0")
    return value


def _count(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"{text} is not valid: must be at least 1")
    return value
