"""Print what a study will cost: cells, jobs and hours by stage, from measured step times, or from counted operations."""

from __future__ import annotations

import argparse
import sys
import warnings
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from sparrow.estimate.codes import Outdated, current
from sparrow.estimate.finished import finished_jobs
from sparrow.estimate.layers import prunable_layers
from sparrow.estimate.rates import SHIPPED, Kind, Rates, Row, any_batch, read_rows, write_rows
from sparrow.estimate.total import Price, prices
from sparrow.estimate.unit import Unit
from sparrow.estimate.work import STAGES, Work, works
from sparrow.files.csv_table import write_csv
from sparrow.study import cells
from sparrow.study.config import Study
from sparrow.study.load import read_study

COLUMNS = ("study", "stage", "dataset", "model", "objective", "entry", "filters_gone", "jobs", "steps", "images", "hours", "by")
SHOWN = 5
"""Units that are named of those that nobody has measured."""
OWN = Path("steps.csv")
"""Where `--measure` keeps step times, and where they are looked for then, unless `--steps` names another file."""
HEAD = ("stage", "data set", "model", "objective", "jobs", "steps", "hours", "by")
MEANING = {
    "run": "run: from jobs of this study that have run, whatever device they had; those of networks that were made under\n"
    "  another configuration do not count, but an attack's or verifier's own settings may have been others",
    "measured": "measured: time of a step on this kind of device ({table})",
    "nearest": "nearest: measured, but of bounds of {batches} images at a time: the nearest that a table has",
    "derived": "derived: an estimate, from counted multiply-adds and an assumed rate of {speed};\n"
    "  --tflops assumes another{small}",
    "whole": "whole: of networks that lost filters, as if they had them all: nobody has counted what is left, which\n"
    "  `sparrow cost --measure` does",
    "limit": "limit: a complete verifier may take its time limit for every image",
    "unknown": "unknown: see `Not known` below",
}
BOUNDS = (
    "Upper bounds: every image survives every attack, and comes to every bound of a cascade. A batch of validation images\n"
    "counts as a step, and a pruning step as one of its objective: what a method adds (S2AP about 15 %, the search of CCRP\n"
    "many times its training) is not counted. The choice of bits in mixed precision is priced as if all that it may try were\n"
    "tried: the square of the layers times the candidates but one.\n"
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
        help="whose hours (default: that of your own step times; else gpu, or cpu where all its step times are known)",
    )
    parser.add_argument(
        "--tflops", type=_positive, metavar="N", help="assume N * 10^12 operations a second where none are measured"
    )
    parser.add_argument("--measure", action="store_true", help="first measure here what no table has of this device")
    parser.add_argument(
        "--steps",
        type=Path,
        metavar="FILE",
        help="step times besides the shipped ones; --measure writes them there (default: steps.csv, where it is there)",
    )
    parser.add_argument("--repeats", type=_count, default=3, metavar="N", help="measure each step this often (default: 3)")
    parser.add_argument("--csv", type=Path, metavar="FILE", help="write all rows, one for each method, attack and verifier")


def run(options: argparse.Namespace) -> int:
    """Print a table for each study."""
    studies = {path: read_study(path) for path in options.studies}
    found = {path: works(study, prunable_layers) for path, study in studies.items()}
    units = dict.fromkeys(unit for works_of_one in found.values() for work in works_of_one for unit in work.units)
    mine = options.steps or OWN
    tables = _tables(mine, optional=options.measure or not options.steps)
    kind: Kind | None = options.device
    if options.measure:
        for path, study in studies.items():
            here = _measure(study, found[path], tables, mine, options.repeats)
            kind = kind or here
    rows, outdated = _current(tables, units)
    kind = kind or ("gpu" if options.tflops else _default_kind(rows, units, _current({mine: tables.get(mine, [])}, units)[0]))
    rates, lines = Rates(rows, kind, options.tflops), []
    for path, study in studies.items():
        priced = prices(found[path], rates, finished_jobs(study, found[path]))
        said = [_summary(path, study, found[path]), _table(priced), _legend(priced, rates, kind, tables)]
        said += filter(None, ["\n".join(_unused(priced, rates, outdated, tables)), "\n".join(_not_known(priced))])
        print(*said, sep="\n\n", end="\n\n")
        lines += [_line(path, price) for price in priced]
    print(BOUNDS)
    if options.csv:
        write_csv(options.csv, COLUMNS, lines)
    return 0


def _tables(mine: Path, optional: bool) -> dict[Path, list[Row]]:
    """The tables of step times by their files: the shipped one, where there is one, then one's own, which comes before it."""
    found = {SHIPPED: read_rows(SHIPPED)} if SHIPPED.is_file() else {}
    if mine.is_file() or not optional:
        found[mine] = read_rows(mine)
    return found


def _current(tables: dict[Path, list[Row]], units: dict[Unit, None]) -> tuple[list[Row], list[Outdated]]:
    """The rows of all tables that are about entries as they are now, and those that are not."""
    return current([row for rows in tables.values() for row in rows], units)


def _default_kind(rows: list[Row], units: dict[Unit, None], own: list[Row]) -> Kind:
    """That of one's own times of the units, if it is one; else a GPU, unless all that is known is a CPU's, and that of all."""
    kinds = {row.kind for row in own if row.unit in units and row.seconds is not None}
    if len(kinds) == 1:
        return kinds.pop()

    def measured(kind: Kind) -> set[Unit]:
        rates = Rates(rows, kind)
        return {unit for unit in units if (rate := rates.rate(unit)) and rate.by in ("measured", "nearest")}

    return "cpu" if units and measured("cpu") == units.keys() and not measured("gpu") else "gpu"


def _measure(study: Study, found: list[Work], tables: dict[Path, list[Row]], path: Path, repeats: int) -> Kind:
    """Measure the units that `tables` lack for this device; add them to the table of `path`, and to its file.

    Returns the device's kind.
    """
    from sparrow.estimate.measure import measure, this_device

    for category in (FutureWarning, DeprecationWarning):
        warnings.simplefilter("ignore", category)  # As in the jobs.
    made = this_device()
    here = made["device"], made["threads"]
    units = dict.fromkeys(unit for work in found for unit in work.units)
    there = {row.unit for row in _current(tables, units)[0] if (row.device, row.threads) == here and row.seconds}

    def warn(message: str) -> None:
        print(f"warning: {message}; not measured", file=sys.stderr)

    for new in measure(study, [unit for unit in units if unit not in there], repeats, warn):
        print(f"{new.unit.what_for_people}: {new.seconds:.3g} s", file=sys.stderr, flush=True)
        # What comes with Sparrow is measured anew by whoever changes it.
        row = new._replace(code="") if path.resolve() == SHIPPED.resolve() else new
        others = [one for one in tables.get(path, []) if (one.unit, one.device, one.threads) != (row.unit, *here)]
        tables[path] = [*others, row]
        write_rows(path, tables[path])  # After each: an interrupted measurement loses one row at most.
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


def _legend(priced: list[Price], rates: Rates, kind: str, tables: dict[Path, list[Row]]) -> str:
    """Explanations of the words in the last column that occur."""
    used = {name for price in priced for name in price.by}
    precisions = sorted({unit.precision for price in priced for unit in price.work.units})
    speed = "; ".join(f"{rates.speed(p).teraflops:g} TFLOP/s in {p} ({rates.speed(p).reason})" for p in precisions)
    small = ". It is too little for small networks, which do not keep a GPU busy" if kind == "gpu" else ""
    batches = dict.fromkeys(
        f"{_at_once(rate.row)} instead of {unit.batch_size:,}"
        for price in priced
        for unit, rate in price.rates.items()
        if rate.by == "nearest"
    )
    words = {"table": f"a {kind.upper()}", "speed": speed, "small": small, "batches": ", ".join(batches)}
    lines = [text.format(**words) for name, text in MEANING.items() if name in used]
    head = f"Hours of a {kind.upper()}, but for what has run." if "run" in used else f"Hours of a {kind.upper()}."
    return "\n".join([head, *_sources(priced, tables), *lines])


def _at_once(row: Row) -> str:
    """How many images a bound was measured on; tables that know of no code had 1 there, whatever it was."""
    return f"{row.batch_size:,}" if row.code or row.batch_size > 1 else "an unknown number"


def _sources(priced: list[Price], tables: dict[Path, list[Row]]) -> Iterator[str]:
    """A line that names the tables which the prices are from; none, if they are from none."""
    used = {id(rate.row) for price in priced for rate in price.rates.values()}
    names = [_named(path) for path, rows in tables.items() if any(id(row) in used for row in rows)]
    if names:
        yield f"Step times are from {' and '.join(names)}."


def _named(path: Path) -> str:
    return "the table that comes with Sparrow (benchmarks/results/steps.csv)" if path == SHIPPED else str(path)


def _unused(priced: list[Price], rates: Rates, outdated: list[Outdated], tables: dict[Path, list[Row]]) -> Iterator[str]:
    """A line for all step times of a table that would have priced something, had an entry not changed since."""
    units = {unit for price in priced for unit in price.work.units}
    lacking = {any_batch(unit) for unit in units if (rate := rates.rate(unit)) is None or rate.by != "measured"}
    found: Counter[tuple[Path, bool, tuple[str, ...]]] = Counter()
    for row, entries in outdated:
        if any_batch(row.unit) in lacking and row.seconds is not None:
            path = next(path for path, rows in tables.items() if any(one is row for one in rows))
            found[path, bool(row.code), entries] += 1
    for (path, noted, entries), count in found.items():
        names = " and ".join(entries)
        when = f"before {names} changed" if noted else f"before tables knew the code of {names}"
        times = "a step time" if count == 1 else f"{count:,} step times"
        yield f"Not used: {times} of {_named(path)}, measured {when}; `sparrow cost --measure` measures anew."


def _not_known(priced: list[Price]) -> Iterator[str]:
    """What unknown hours are unknown for, a line for each reason, below a heading."""
    unknown = [price for price in priced if "unknown" in price.by]
    if not unknown:
        return
    yield "Not known:"
    yield from dict.fromkeys(f"- {price.work.why}" for price in unknown if price.work.why)
    missing = list(dict.fromkeys(unit.what_for_people for price in unknown for unit in price.missing))
    if missing:
        yield "- neither measured nor counted, which `sparrow cost --measure` does on this machine:"
        yield from (f"  {unit}" for unit in missing[:SHOWN])
    if len(missing) > SHOWN:
        yield f"  and {len(missing) - SHOWN:,} more"


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
