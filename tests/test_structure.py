"""The rules of the house (docs/architecture.md), held against all of src/sparrow."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks import structure

from sparrow import catalogue
from sparrow.study.config import Study

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src/sparrow"
ROOMS, ARROWS = 35, 150
HEAVY = {"torch", "pandas", "matplotlib"}


@pytest.fixture(scope="module")
def house() -> structure.Structure:
    return structure.structure(SOURCE)


def made_of(folder: Path, files: dict[str, str]) -> structure.Structure:
    """The structure of a package of these files."""
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return structure.structure(folder)


def test_there_are_few_rooms_and_few_arrows(house: structure.Structure) -> None:
    assert len(house.rooms) <= ROOMS
    # The door for others, through which nobody inside goes (tests/test_api.py), ties no two rooms together.
    assert len([start for start, _ in house.arrows if start != "sparrow.api"]) <= ARROWS


def test_nothing_imports_in_a_circle(house: structure.Structure) -> None:
    assert house.circles_of_rooms == []
    assert house.circles_of_modules == []


def test_a_private_module_is_its_packages_own(house: structure.Structure) -> None:
    assert house.private == set()


def test_rooms_and_arrows_are_counted_wherever_an_import_is(tmp_path: Path) -> None:
    found = made_of(
        tmp_path,
        {
            "__init__.py": "",
            "loose.py": "import json\nfrom sparrow import other\n",
            "other.py": "",
            "room/__init__.py": "",
            "room/one.py": "from sparrow.room import two\nfrom sparrow.loose import name\n",
            "room/two.py": "def late():\n    from .. import other\n    from .one import something\n",
        },
    )
    assert found.rooms == {"sparrow", "sparrow.loose", "sparrow.other", "sparrow.room"}
    assert found.arrows == {
        ("sparrow.loose", "sparrow.other"),
        ("sparrow.room", "sparrow.loose"),
        ("sparrow.room", "sparrow.other"),
    }
    assert found.circles_of_rooms == []
    assert [set(circle) for circle in found.circles_of_modules] == [{"sparrow.room.one", "sparrow.room.two"}]


def test_circles_between_rooms_are_found_and_those_of_types_alone_are_none(tmp_path: Path) -> None:
    files = {"a/x.py": "from sparrow.b import y", "b/y.py": "", "b/z.py": "import sparrow.a.x"}
    found = made_of(tmp_path / "circle", files)
    assert [circle[:-1] for circle in found.circles_of_rooms] in ([["sparrow.a", "sparrow.b"]], [["sparrow.b", "sparrow.a"]])
    assert found.circles_of_modules == []
    typed = "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import sparrow.a.x\n"
    found = made_of(tmp_path / "types", files | {"b/z.py": typed})
    assert found.circles_of_rooms == []
    assert ("sparrow.b", "sparrow.a") in found.arrows


@pytest.mark.parametrize(
    ("importer", "text", "refused"),
    [
        ("b/y.py", "from sparrow.a import _x", True),
        ("b/y.py", "from sparrow.a._x import name", True),
        ("a/y.py", "from sparrow.a._x import name", False),
        ("a/deep/y.py", "from sparrow.a import _x", False),
        ("b/y.py", "from sparrow.a import __main__", False),
    ],
)
def test_whose_a_private_module_is(tmp_path: Path, importer: str, text: str, refused: bool) -> None:
    found = made_of(tmp_path, {"a/_x.py": "", "a/__main__.py": "", importer: text})
    assert bool(found.private) == refused


@pytest.mark.parametrize("path", sorted(SOURCE.rglob("__init__.py")), ids=lambda path: str(path.parent.relative_to(SOURCE)))
def test_a_package_itself_holds_a_docstring_and_no_import(path: Path) -> None:
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree), "a package says what is in it"
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


def test_the_package_knows_nothing_of_snakemake() -> None:
    for path in SOURCE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not [name for name in names if name.split(".")[0].startswith("snakemake")], path


@pytest.mark.parametrize("room", sorted(catalogue.PACKAGES))
def test_a_folder_of_entries_is_named_as_the_configs_key_and_holds_nothing_else(room: catalogue.Room) -> None:
    assert catalogue.PACKAGES[room] == f"sparrow.{room}"
    assert room in Study.model_fields
    files = [path for path in (SOURCE / room).rglob("*") if path.is_file() and path.suffix != ".pyc"]
    entries = {catalogue.module_name(room, kind).rpartition(".")[2] for kind in catalogue.kinds(room)}
    assert {path.relative_to(SOURCE / room).as_posix() for path in files} == {
        "__init__.py",
        *(f"{name}.py" for name in entries),
    }
    for kind in catalogue.kinds(room):
        catalogue.load(room, kind)  # Raises if it is not what an entry has to be.


PLANNING = """
import json, sys
{imports}
from sparrow.study import cells, expected, figures, job_specs, load, targets
import yaml
study = load.load_study(yaml.safe_load(open({study!r})))
expected.expected(study), figures.files(study), targets.costs(study), targets.networks(study)
for dataset in study.datasets:
    job_specs.data_spec(study, dataset), job_specs.data_memory(study, dataset)
for figure in figures.drawn(study):
    figures.spec(study, *[next(iter(labels)) for labels in (study.datasets, study.models)], figure)
print(*sorted({heavy} & set(sys.modules)))
"""


def planned(more: str = "") -> str:
    """What of the heavy packages is imported by all that the workflow's files import, and by planning the default study."""
    files = [ROOT / "Snakefile", *(ROOT / "workflow/rules").glob("*.smk")]
    lines = [line.strip() for file in files for line in file.read_text().splitlines()]
    imports = [line for line in lines if re.match(r"(from|import) sparrow\b", line)]
    assert len(imports) > 5
    text = PLANNING.format(imports="\n".join([*imports, more]), study=str(ROOT / "config.yaml"), heavy=HEAVY)
    done = subprocess.run([sys.executable, "-c", text], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_planning_a_study_imports_nothing_heavy() -> None:
    assert planned() == ""


def test_what_is_heavy_would_be_seen() -> None:
    assert "pandas" in planned("import sparrow.results.costs")
