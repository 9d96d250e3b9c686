"""Write the file of a new entry from a template that runs as it is, and bring the schema and the tables of names up to date."""

from __future__ import annotations

import argparse
import importlib
import keyword
import re
from pathlib import Path

from sparrow import catalogue
from sparrow.catalogue import Room
from sparrow.errors import SparrowError
from sparrow.files.paths import UNPRUNED
from sparrow.study import figure_files
from sparrow.study.analysis_contract import SUMMARISED
from sparrow.study.analysis_tables import OWN_TABLES

# One of `analyses` is an analysis.
ROOMS: dict[str, Room] = {
    f"{room[:-2]}is" if room.endswith("yses") else room.removesuffix("s"): room for room in catalogue.PACKAGES
}
TEMPLATES = Path(__file__).with_name("templates")
NAME = "[a-z][a-z0-9]*(-[a-z0-9]+)*"


def arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("what", choices=ROOMS, metavar="ROOM", help=f"one of {', '.join(ROOMS)}")
    parser.add_argument("name", metavar="NAME", help="its name in studies: small letters, digits and hyphens, as in my-method")
    parser.epilog = "Run it in the root of a checkout. Nothing that is there is overwritten."


def run(options: argparse.Namespace) -> int:
    """Write the file; exit status. Raises SparrowError, in one line, if the name is not valid or is taken."""
    room = ROOMS[options.what]
    path = _place(room, options.name)
    text = (TEMPLATES / f"{options.what}.py.txt").read_text(encoding="utf-8")
    for token, meaning in (("TITLE", options.name.replace("-", " ").capitalize()), ("TABLE", options.name)):
        text = text.replace(token, meaning)
    path.write_text(text, encoding="utf-8")
    # Imported only now: the tables are generated from the entries that exist when the module is imported.
    importlib.invalidate_caches()
    catalogue.kinds.cache_clear()
    from sparrow.cli import docs

    docs.run(argparse.Namespace())
    print(f"{path}: written, and runs as it is; what else it may define is said in {path.with_name('__init__.py')}")
    print(f"next: write {room}: {{{options.name}: }} into a study, and try sparrow check STUDY.yaml")
    return 0


def _taken(room: Room) -> dict[str, str]:
    """The names that no study may give an entry of a room, with what has them."""
    if room == "methods":
        return {label: f"the network before {what}" for label, what in UNPRUNED.items()}
    if room == "datasets":
        return {"analyses": "the folder of what is about the whole study"}
    if room == "analyses":
        columns = dict.fromkeys(SUMMARISED, "columns of every study's summary.csv")
        return columns | dict.fromkeys([*OWN_TABLES, *figure_files.known()], "a table or figure of every study")
    return {}


def _place(room: Room, name: str) -> Path:
    """The file of a new entry. Raises SparrowError if it cannot be one."""
    folder = Path("src") / Path(*catalogue.PACKAGES[room].split("."))
    if not folder.is_dir():
        raise SparrowError(f"{folder}: no such folder here; run it in the root of a checkout")
    ours = Path(__file__).parents[1]
    if ours != Path("src/sparrow").resolve():
        raise SparrowError(
            f"src/sparrow: not the code that runs, which is {ours}; run it as PYTHONPATH=src python -m sparrow new"
        )
    if not re.fullmatch(NAME, name) or len(name) > 40 or keyword.iskeyword(name):
        raise SparrowError(
            f"{name!r} is not valid: must be small letters and digits, a letter first, with single hyphens between them, 40 at "
            "most, such as my-method, and no word of Python's own"
        )
    taken = _taken(room).get(name)
    if taken:
        raise SparrowError(f"{name!r} is not valid: it names {taken}; choose another name")
    path = folder / f"{name.replace('-', '_')}.py"
    if path.exists() or path.with_suffix("").exists():
        raise SparrowError(f"{path}: is there already; choose another name than {name!r}")
    return path
