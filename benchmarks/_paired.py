"""Two ways to the same result, timed in turn, pair by pair: what others do, and what Sparrow does.

A machine that others use, or that gets warm, is slower now and faster then; the ratio of two runs next to each other is not.
"""

from __future__ import annotations

import argparse
import csv
import ctypes
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from sparrow.files.atomic import replacing
from sparrow.jobs import allocator
from sparrow.reproducible import device_name, pick_device

REPOSITORY = Path(__file__).parents[1]
RESULTS = Path(__file__).parent / "results"
REPEATS = 5
CLOCKS: dict[str, Callable[[], float]] = {"wall": time.perf_counter, "processor": time.process_time}
"""What seconds are counted by: on a machine with other work, `processor` leaves out what that took."""
M_MMAP_THRESHOLD = -3  # <malloc.h>
COLUMNS = ["case", "against", "theirs_s", "ours_s", "ratio", "lowest", "highest", "repeats", "clock", "same", "device"]
COLUMNS += ["threads", "torch", "versions", "revision"]


@dataclass
class Pair:
    """One comparison."""

    case: str
    """What is computed, with its sizes."""
    against: str
    """What others do."""
    theirs: Callable[[], Any]
    ours: Callable[[], Any]
    same: Callable[[Any, Any], str]
    """From what both have returned to a few words on how far they agree; raises AssertionError if they do not."""
    packages: tuple[str, ...] = ()
    """Packages whose versions matter, besides torch."""
    prepare: Callable[[], Any] | None = None
    """Makes what both look at, before the clock runs: networks that are trained when they are first asked for."""
    in_a_job: bool = False
    """Whether theirs, too, runs as Sparrow's jobs do: with numbers below 1e-38 taken for zero, and freed memory kept."""


def compare(pair: Pair, repeats: int = REPEATS, clock: str = "wall") -> dict[str, Any]:
    """Run both in turn, once unmeasured and `repeats` times for the clock; the row of the table, which is printed, too.

    What is asked for once, since it takes long, runs once.
    """
    if pair.prepare is not None:
        pair.prepare()
    sides = (pair.theirs, pair.in_a_job), (pair.ours, True)
    first = [timed(*side, CLOCKS[clock]) for side in sides]
    same = pair.same(*(result for _, result in first))
    times: list[tuple[float, ...]] = [tuple(seconds for seconds, _ in first)] if repeats == 1 else []
    for number in range(repeats - len(times)):
        # Who goes first changes: the second finds a cache filled, or a processor that has slowed down.
        taken = [timed(*side, CLOCKS[clock])[0] for side in (sides if number % 2 == 0 else reversed(sides))]
        times.append(tuple(taken if number % 2 == 0 else reversed(taken)))
    ratios = sorted(theirs / ours for theirs, ours in times)
    row = {
        "case": pair.case,
        "against": pair.against,
        "theirs_s": rounded(statistics.median(theirs for theirs, _ in times)),
        "ours_s": rounded(statistics.median(ours for _, ours in times)),
        "ratio": rounded(statistics.median(ratios)),
        "lowest": rounded(ratios[0]),
        "highest": rounded(ratios[-1]),
        "repeats": repeats,
        "clock": clock,
        "same": same,
    }
    row |= about(pair.packages)
    print(
        f"{pair.case}: {row['theirs_s']} s by {pair.against}, {row['ours_s']} s by Sparrow: "
        f"{row['ratio']} times as fast ({row['lowest']} to {row['highest']} in {repeats} pairs); {same}",
        flush=True,
    )
    return row


def _as_in_a_job(wanted: bool) -> None:
    """Have this process compute as a job of Sparrow's does, or as one that was told nothing."""
    torch.set_flush_denormal(wanted)
    if wanted:
        allocator.keep_freed_memory()
    elif sys.platform == "linux":
        libc = ctypes.CDLL(None)
        # Where glibc's own thresholds get to once large blocks have been freed.
        for option, value in ((allocator.M_MMAP_MAX, 65536), (M_MMAP_THRESHOLD, 2**25), (allocator.M_TRIM_THRESHOLD, 2**26)):
            libc.mallopt(option, value)


def timed(one: Callable[[], Any], in_a_job: bool, clock: Callable[[], float] = time.perf_counter) -> tuple[float, Any]:
    """Seconds by `clock`, and what it returns."""
    _as_in_a_job(in_a_job)
    begin = clock()
    result = one()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock() - begin, result


def rounded(value: float) -> float:
    """To three digits."""
    return float(f"{value:.3g}")


def about(packages: tuple[str, ...] = ()) -> dict[str, Any]:
    """Device, threads and versions of this process."""
    git = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"]
    return {
        "device": device_name(pick_device()),
        "threads": torch.get_num_threads(),
        "torch": torch.__version__,
        "versions": ", ".join(f"{package} {version(package)}" for package in packages),
        "revision": subprocess.run(git, capture_output=True, text=True, check=False).stdout.strip(),
    }


def write(
    name: str, rows: list[dict[str, Any]], columns: list[str] = COLUMNS, key: tuple[str, ...] = ("case", "against")
) -> Path:
    """Write the rows of one script to `benchmarks/results/NAME.csv`; there, rows of another `key` or device stay."""
    path = RESULTS / f"{name}.csv"
    known = {_identity(row, key): row for row in rows}
    if path.exists():
        with path.open(newline="") as file:
            known = {_identity(row, key): row for row in csv.DictReader(file)} | known
    with replacing(path) as partial, partial.open("w", newline="") as file:
        writer = csv.DictWriter(file, columns, lineterminator="\n")
        writer.writeheader()
        writer.writerows(sorted(known.values(), key=lambda row: row["device"]))
    return path


def _identity(row: dict[str, Any], key: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(str(row[column]) for column in (*key, "device"))


def main(name: str, pairs: Callable[[], list[Pair]], description: str) -> None:
    """The command line of a script: `--only WORD` runs the cases with that word in their name."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="cases with this in their name")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="pairs for the clock")
    parser.add_argument(
        "--clock", choices=CLOCKS, default="wall", help="the wall's, or the processor time of this process alone"
    )
    options = parser.parse_args()
    chosen = [pair for pair in pairs() if not options.only or options.only in pair.case]
    if not chosen:
        sys.exit(f"--only {options.only}: no such case")
    here = about()
    print(f"{name}: {here['device']}, {here['threads']} threads, torch {here['torch']}")
    for pair in chosen:
        path = write(name, [compare(pair, options.repeats, options.clock)])
    print(f"written to {path}")
