"""The structure of src/sparrow, counted: its rooms, the arrows between them, and circles.

    python benchmarks/structure.py                        the numbers of this checkout
    python benchmarks/structure.py --arrows               and each room's arrows
    python benchmarks/structure.py --against 501b64c      before and after, where before is a commit

A room is a package directly under src/sparrow, or a loose module there. An arrow is a pair of rooms of which one imports the
other, wherever in a file it does so. A circle is rooms, or modules, that import each other in turn; imports under
`if TYPE_CHECKING:`, which are never run, make no circle. tests/test_structure.py holds the numbers to their limits.
"""

from __future__ import annotations

import argparse
import ast
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

REPOSITORY = Path(__file__).parents[1]
PACKAGE = "sparrow"

Graph = Mapping[str, set[str]]
"""What each node has arrows to."""


class Import(NamedTuple):
    """One module names another of the package in an import statement."""

    importer: str
    imported: str
    for_types: bool
    """Whether it is under `if TYPE_CHECKING:`."""


class Structure(NamedTuple):
    """All that is counted."""

    rooms: set[str]
    arrows: set[tuple[str, str]]
    circles_of_rooms: list[list[str]]
    circles_of_modules: list[list[str]]
    private: set[tuple[str, str]]
    """Importer and imported, where the latter is a `_private` module of another package."""


def structure(source: Path) -> Structure:
    """The structure of the package in the folder `source`."""
    files = modules(source)
    found = [one for name, path in files.items() for one in imports(name, path, files)]
    run = [one for one in found if not one.for_types]
    return Structure(
        {room(name) for name in files},
        {(room(one.importer), room(one.imported)) for one in found} - {(name, name) for name in map(room, files)},
        circles(_graph((room(one.importer), room(one.imported)) for one in run)),
        circles(_graph((one.importer, one.imported) for one in run)),
        {(one.importer, one.imported) for one in found if is_private(one)},
    )


def modules(source: Path) -> dict[str, Path]:
    """The files of all modules of the package, by full name; a package stands for its `__init__.py`."""
    found = {}
    for path in sorted(source.rglob("*.py")):
        parts = path.relative_to(source).with_suffix("").parts
        found[".".join((PACKAGE, *(parts[:-1] if parts[-1] == "__init__" else parts)))] = path
    return found


def room(module: str) -> str:
    """The package directly under the root that a module is in, or the loose module that it is."""
    return ".".join(module.split(".")[:2])


def imports(name: str, path: Path, known: Mapping[str, Path]) -> Iterator[Import]:
    """What the module `name` imports of the `known` ones."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for_types = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for statement in node.body
        for inner in ast.walk(statement)
    }
    for node in ast.walk(tree):
        for target in _targets(node, package, known):
            if target in known and target != name:
                yield Import(name, target, node in for_types)


def _targets(node: ast.AST, package: str, known: Mapping[str, Path]) -> list[str]:
    """Full names of what an import statement imports: modules, as far as they are `known`."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
    base = ".".join(filter(None, (*above, node.module or "")))
    names = [f"{base}.{alias.name}" for alias in node.names]
    return [name if name in known else base for name in names]


def is_private(one: Import) -> bool:
    """Whether a module is imported that belongs to another package alone, as its name begins with `_`."""
    parts = one.imported.split(".")
    hidden = [place for place, part in enumerate(parts) if part.startswith("_") and not part.startswith("__")]
    return bool(hidden) and not one.importer.startswith(f"{'.'.join(parts[: hidden[0]])}.")


def _graph(arrows: Iterator[tuple[str, str]]) -> Graph:
    graph: dict[str, set[str]] = {}
    for start, end in arrows:
        if start != end:
            graph.setdefault(start, set()).add(end)
    return graph


def circles(graph: Graph) -> list[list[str]]:
    """Circles, each in the order of its arrows, with no two that share an arrow: enough to have to mend them all."""
    left = {node: set(ends) for node, ends in graph.items()}
    found = []
    while True:
        try:
            TopologicalSorter(left).prepare()
            return found
        except CycleError as error:
            circle = error.args[1][::-1]  # From what is imported to who imports it, and closed.
            found.append(circle)
            for start, end in pairwise(circle):
                left[start].discard(end)


def at(commit: str, folder: Path) -> Path:
    """src/sparrow as it was at a commit, written to `folder`. Raises CalledProcessError if there is no such commit."""
    archive = subprocess.run(
        ["git", "-C", str(REPOSITORY), "archive", commit, f"src/{PACKAGE}"], capture_output=True, check=True
    ).stdout
    with tarfile.open(fileobj=BytesIO(archive)) as file:
        file.extractall(folder, filter="data")
    return folder / "src" / PACKAGE


def _lines(found: Structure) -> dict[str, str]:
    return {
        "rooms": f"{len(found.rooms)}",
        "arrows": f"{len(found.arrows)}",
        "circles of rooms": f"{len(found.circles_of_rooms)}",
        "circles of modules": f"{len(found.circles_of_modules)}",
        "imports of others' private modules": f"{len(found.private)}",
    }


def main() -> None:
    """Print the numbers, and what is behind those that should be 0."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", metavar="COMMIT", help="set the numbers beside those of a commit")
    parser.add_argument("--arrows", action="store_true", help="list the arrows of each room")
    options = parser.parse_args()
    here = structure(REPOSITORY / "src" / PACKAGE)
    columns = {"now": _lines(here)}
    if options.against:
        with tempfile.TemporaryDirectory() as folder:
            try:
                columns = {options.against: _lines(structure(at(options.against, Path(folder))))} | columns
            except subprocess.CalledProcessError as error:
                parser.error(f"--against {options.against}: {error.stderr.decode().strip()}")
    print(" " * 36, *(f"{name:>10}" for name in columns))
    for line in columns["now"]:
        print(f"{line:36}", *(f"{column[line]:>10}" for column in columns.values()))
    for circle in (*here.circles_of_rooms, *here.circles_of_modules):
        print(f"circle: {' -> '.join(circle)}")
    for importer, imported in sorted(here.private):
        print(f"private: {importer} imports {imported}")
    if options.arrows:
        for name in sorted(here.rooms):
            ends = sorted(end.removeprefix(f"{PACKAGE}.") for start, end in here.arrows if start == name)
            print(f"{name.removeprefix(f'{PACKAGE}.')} -> {' '.join(ends) or 'nothing'}")


if __name__ == "__main__":
    main()
