"""Run a study by Snakemake, with bars by stage, what runs, and the time left; without a terminal, by Snakemake's own lines.

Snakemake is another process, as from the command line: what it says is read, and the time left is told from the study's files.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import IO

from sparrow.cli._display import Display
from sparrow.cli._said import Said
from sparrow.errors import SparrowError
from sparrow.estimate.standing import Whole
from sparrow.files import paths
from sparrow.study.config import Study

PLAIN = {"-n", "--dry-run", "--dryrun", "--unlock", "--touch", "-h", "--help"}
"""Arguments of Snakemake with which it runs no job."""
PROFILE = "workflow/profiles/default"
ROUND = 0.5
"""Seconds between two looks at what Snakemake has said."""
SHARE = 20
"""The time left is told anew after so many times what telling it takes."""


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("study", type=Path, metavar="STUDY.yaml", help="a study, such as config.yaml")
    parser.add_argument("--plain", action="store_true", help="Snakemake's own lines, also in a terminal")
    parser.add_argument("snakemake", nargs=argparse.REMAINDER, metavar="...", help="options of Snakemake, such as --cores 1")
    parser.epilog = "To be run in a checkout, where the Snakefile is. The exit status is Snakemake's."


def run(options: argparse.Namespace) -> int:
    """Run the study; Snakemake's exit status."""
    if not Path("Snakefile").is_file():
        raise SparrowError(f"Snakefile: not in {Path.cwd()}; valid: a checkout of Sparrow as the working directory")
    if not options.study.is_file():
        raise SparrowError(f"{options.study}: no such file; valid: a study such as config.yaml")
    command = [sys.executable, "-m", "snakemake", "--workflow-profile", PROFILE, "--configfile", str(options.study)]
    command += options.snakemake
    if PLAIN & set(options.snakemake):
        return subprocess.run(command, check=False).returncode
    live = sys.stdout.isatty() and not options.plain
    status = _live(command, options.study) if live else subprocess.run(command, check=False).returncode
    if not status and (page := _page(options.study)):
        print(f"The study's report: {page}")
    return status


def _page(path: Path) -> Path | None:
    """The page of a study, if it has been made."""
    from sparrow.study.load import read_study

    page = Path(read_study(path).results, paths.study_page("report"))
    return page if page.is_file() else None


def _live(command: list[str], path: Path) -> int:
    """Run `command` with a display."""
    said, display = Said(), Display(sys.stdout)
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    assert process.stdout is not None, "it is a pipe"
    reader = threading.Thread(target=_read, args=(process.stdout, said), daemon=True)
    reader.start()
    left, interrupted = _Left(path), 0
    while process.poll() is None:
        try:
            display.show(said, left.told() if said.begun else None, stopping=bool(interrupted))
            time.sleep(ROUND)
        except KeyboardInterrupt:
            # The terminal has told Snakemake, too, and its jobs save what they have. A second time is meant.
            interrupted += 1
            if interrupted > 1:
                process.send_signal(signal.SIGTERM)
    reader.join(timeout=5)
    display.clear()
    for line in said.told:
        print(line, file=sys.stderr)
    if interrupted:
        print(
            f"stopped: {said.done:,} of {said.steps:,} steps are done, what ran has been saved, and the same command goes on."
        )
    elif process.returncode:
        print("\n".join(said.reasons()), file=sys.stderr)
    return process.returncode


def _read(stream: IO[str], said: Said) -> None:
    for line in stream:
        said.read(line.rstrip("\n"))


class _Left:
    """How far the study's jobs are, told anew now and then."""

    def __init__(self, path: Path) -> None:
        self._path, self._next = path, 0.0
        self._study: Study | None = None
        self._whole: Whole | None = None

    def told(self) -> Whole | None:
        """The latest standing; None if the study's files cannot be read, of which Snakemake then tells."""
        begin = time.monotonic()
        if begin >= self._next:
            try:
                self._whole = self._look()
            except (SparrowError, OSError):
                self._whole = None
            took = time.monotonic() - begin
            self._next = time.monotonic() + max(2.0, SHARE * took)
        return self._whole

    def _look(self) -> Whole:
        from sparrow.estimate.finished import finished_jobs
        from sparrow.estimate.standing import standing, up_to_date
        from sparrow.estimate.work import works
        from sparrow.study.load import read_study

        study = self._study = self._study or read_study(self._path)
        found = works(study)
        return standing(found, up_to_date(study, finished_jobs(study, found)), Path(study.results))
