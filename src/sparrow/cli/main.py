"""The command `sparrow`: every other module of this package is one of its commands, but those that begin with `_`.

A module's docstring is the command's help; it defines `arguments(parser)`, which adds its options, and `run(options)`, which
runs the command and returns the exit status. Modules that are slow to import are imported in `run`.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import importlib
import os
import pkgutil
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml

from sparrow import catalogue, cli
from sparrow.errors import SparrowError
from sparrow.versions import SPARROW


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command in `arguments` (the process's own, if None); the exit status. An error is printed as one line."""
    given = sys.argv[1:] if arguments is None else arguments
    _admit_entries(given)
    options = _parser(given).parse_args(arguments)
    try:
        status = options.run(options)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader, such as `head`, has closed the pipe; Python's last flush must not fail, too.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (SparrowError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return status


def _parser(given: Sequence[str]) -> argparse.ArgumentParser:
    """A parser with all commands' names, and the options of the `given` one alone: imports of the others may take long."""
    parser = argparse.ArgumentParser(prog="sparrow", description="What is left of a robust network after pruning.")
    parser.add_argument("--version", action="version", version=SPARROW)
    commands = parser.add_subparsers(metavar="COMMAND", required=True)
    for name in sorted(
        info.name for info in pkgutil.iter_modules(cli.__path__) if info.name != "main" and not info.name.startswith("_")
    ):
        summary = _docstring(name).partition("\n")[0]
        one = commands.add_parser(name.replace("_", "-"), help=summary, description=summary, allow_abbrev=False)
        if name.replace("_", "-") in given:
            module = importlib.import_module(f"{cli.__name__}.{name}")
            module.arguments(one)
            one.set_defaults(run=module.run)
    return parser


def _admit_entries(given: Sequence[str]) -> None:
    """Let the studies among the arguments name their own entries; what is wrong with these is for the command to say."""
    studies = [path for path in map(Path, given) if path.suffix in (".yaml", ".yml") and path.is_file()]
    folders: list[str] = []
    for path in studies:
        with contextlib.suppress(Exception):
            found = yaml.safe_load(path.read_text(encoding="utf-8"))["entries"]
            folders += [folder for folder in found if isinstance(folder, str)]
    if folders:
        catalogue.admit(folders)


def _docstring(name: str) -> str:
    """The docstring of a command's module, without importing it."""
    return ast.get_docstring(ast.parse(Path(cli.__path__[0], f"{name}.py").read_text(encoding="utf-8"))) or ""
