"""Tell all mistakes of a study at once, one line each, and whether the files that it reads are there; nothing is run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from sparrow import catalogue
from sparrow.errors import SparrowError

if TYPE_CHECKING:
    from sparrow.study.config import Study


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("studies", type=Path, nargs="+", metavar="STUDY.yaml", help="a study, such as config.yaml")
    parser.epilog = (
        "Exit status 0 if no study has a mistake, else 1. Where the values of a section are not valid, what rests on that "
        "section is checked once they are. What the files of a study's entries should say of themselves, and do not, is a "
        "warning, on the standard error."
    )


def run(options: argparse.Namespace) -> int:
    """Print the mistakes of each study, or its size if there are none; the exit status."""
    status = 0
    warnings: list[str] = []
    for path in options.studies:
        study, mistakes = _examine(path)
        warnings += [] if study is None else _unsaid(study)
        if study is None or mistakes:
            status = 1
        for line in mistakes if study is None or mistakes else [_comes_to(path, study)]:
            print(line)
    for line in dict.fromkeys(warnings):
        print(f"warning: {line}", file=sys.stderr)
    return status


def _examine(path: Path) -> tuple[Study | None, list[str]]:
    """The study in a file, and a line for each of its mistakes; None if the file holds no study at all."""
    from sparrow.study import checks
    from sparrow.study.load import examine, parse_keys

    try:
        raw, in_yaml = parse_keys(path)
    except SparrowError as error:
        return None, str(error).splitlines()
    study, mistakes = examine(raw)
    mistakes += checks.mistakes(study, (_data_is_there, _imports_are_there, _results_can_be_written))
    # A key that YAML reads otherwise than it looks is reported once, not also for the value that YAML read.
    known = {line.removeprefix(f"{path}: ").split(": ")[0] for line in in_yaml}
    return study, in_yaml + [f"{path}: {line}" for line in mistakes if line.split(": ")[0] not in known]


def _unsaid(study: Study) -> Iterator[str]:
    """What the files of a study's entries should say, but work without."""
    from sparrow.study.checks import MissingSection
    from sparrow.study.unsaid import unsaid

    for room in catalogue.PACKAGES:
        with suppress(MissingSection):
            for kind in dict.fromkeys(params.kind for params in getattr(study, room).values()):
                yield from unsaid(room, kind)


def _data_is_there(study: Study) -> Iterator[str]:
    """A line for each data set whose files (the user's own images, the archive of its corrupted ones) are missing, or are of
    other classes."""
    from sparrow.study import sources

    for label, params in study.datasets.items():
        yield from sources.missing(label, params)
        yield from sources.misfits(label, params)
        if archive := sources.missing_archive(label, params):
            yield archive


def _imports_are_there(study: Study) -> Iterator[str]:
    """A line for each imported network, or map of names, that is missing, and for each map that cannot be read."""
    from sparrow.exchange import keymap, keymap_files
    from sparrow.files.paths import parse

    for path, entry in study.imports.items():
        if not Path(entry.file).is_file():
            yield f"imports.{path}.file: {entry.file}: no such file, and a network is to be read from it"
        if keymap_files.is_file(entry.map):
            try:
                names = keymap.load(entry.map)
                model = study.models.get(parse(path).parent.model)
                if names is not None and model is not None:
                    keymap.require_model(names, entry.map, model.kind)
            except SparrowError as error:
                yield f"imports.{path}.map: {error}"
            except ValueError:
                continue  # A wrong path is reported with the study's own mistakes.


def _results_can_be_written(study: Study) -> Iterator[str]:
    """A line if the results folder cannot be written to, or made."""
    from sparrow.files.atomic import require_writable

    try:
        require_writable(Path(study.results))
    except SparrowError as error:
        yield f"results: {error}"


def _comes_to(path: Path, study: Study) -> str:
    """The numbers of networks, cells and tables of a valid study, in one line."""
    from sparrow.study import cells

    dense, evaluated = len(cells.parents(study)), list(cells.evaluated(study))
    tables = sum(len(cells.tables(study, room, one.parent.objective)) for one in evaluated for room in ("attacks", "verifiers"))
    return (
        f"{path}: valid; {dense:,} dense networks, {len(cells.cells(study)):,} cells, {len(evaluated):,} networks evaluated in "
        f"{tables:,} tables of attacks and verifiers (its hours: sparrow cost {path})"
    )
