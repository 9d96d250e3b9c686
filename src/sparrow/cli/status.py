"""Tell how far a study is, wherever it runs: jobs done and failed by stage, the time left, and what has begun.

The files in its results folder are all that is read, so that it tells the same of a study on a cluster.
"""

from __future__ import annotations

import argparse
from pathlib import Path

from sparrow.estimate.finished import finished_jobs
from sparrow.estimate.standing import Begun, Standing, Whole, spoken, standing, up_to_date
from sparrow.estimate.work import works
from sparrow.study.load import read_study

HEAD = ("stage", "jobs", "done", "failed", "spent", "left")
SHOWN = 10
"""Jobs that have begun, at most."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("studies", type=Path, nargs="+", metavar="STUDY.yaml", help="a study, such as config.yaml")
    parser.epilog = (
        "Times are of jobs one after the other: on two cores, half of it. What is left is told from jobs of the same kind that "
        "are done. A job that ran under another configuration counts as not done."
    )


def run(options: argparse.Namespace) -> int:
    """Print each study's standing; the exit status, 0."""
    for path in options.studies:
        study = read_study(path)
        found = works(study)
        whole = standing(found, up_to_date(study, finished_jobs(study, found)), Path(study.results))
        print(_told(path, study.results, whole), end="\n\n" if path != options.studies[-1] else "\n")
    return 0


def _told(path: Path, results: str, whole: Whole) -> str:
    total = whole.total
    if total.finished == total.jobs:
        state = f"done, all {total.jobs:,} jobs"
    elif total.finished:
        state = f"{total.finished:,} of {total.jobs:,} jobs done, {_left(total)} left, one job after the other"
    else:
        state = f"none of {total.jobs:,} jobs done"
    lines = [f"{path}: {state} (results in {results}/)"]
    if total.finished:
        lines += ["", _table([*whole.stages.values(), total])]
    if whole.begun:
        lines += ["", "begun, not finished:", *(_line(one) for one in whole.begun[:SHOWN])]
    if len(whole.begun) > SHOWN:
        lines.append(f"  and {len(whole.begun) - SHOWN:,} more")
    return "\n".join(lines)


def _table(rows: list[Standing]) -> str:
    lines = [HEAD]
    for one in rows:
        failed = f"{one.failed:,}" if one.failed else ""
        left = _left(one) if one.finished < one.jobs else ""
        lines.append((one.stage, f"{one.jobs:,}", f"{one.finished:,}", failed, spoken(one.spent), left))
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEAD))]
    return "\n".join(_aligned(line, widths) for line in lines)


def _aligned(line: tuple[str, ...], widths: list[int]) -> str:
    """The cells of a line, of which the first begins its column and the others end theirs."""
    first, *others = line
    return "  ".join([first.ljust(widths[0]), *map(str.rjust, others, widths[1:])]).rstrip()


def _left(one: Standing) -> str:
    """What is left; `?` for jobs that are like none that is done."""
    if not one.untold:
        return spoken(one.left)
    return f"{spoken(one.left)} and ? for {one.untold:,}" if one.left else "?"


def _line(one: Begun) -> str:
    said = f": {one.line}" if one.line else ""
    return f"  {one.job}{said} ({spoken(one.silent)} ago)"
