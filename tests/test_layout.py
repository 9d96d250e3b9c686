"""The layout of a results folder, and who a row is, are said in files/paths.py alone: no other file spells them out."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from sparrow.files.paths import LABEL_COLUMNS

SOURCE = Path(__file__).parents[1] / "src/sparrow"
HERE = SOURCE / "files/paths.py"
LAYOUT = re.compile(
    r"\.(safetensors|csv|cost\.json|html|log)$|(^|/)(attacks|verifiers|analyses|figures|tables|logs)/|/(compact|data)(/|$)|^compact/"
    r"|/seed(\d|$)"
)
NOT_OF_RESULTS = {
    "exchange/ap_benchmark.py": "writes the files of another benchmark",
    "exchange/state_dict.py": "reads third parties' files",
    "cli/export.py": "writes files for third parties",
    "cli/cost.py": "has a table of step times, in the user's folder",
    "estimate/rates.py": "has the shipped table of step times",
    "files/published_figures.py": "has the table of what others published",
}
"""Files that name others than those of a results folder, and why."""


def literals(tree: ast.AST) -> Iterator[str]:
    """The strings of a module that are no prose; without what a figure says that it is drawn from, which is read as text."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name) and node.targets[0].id == "DRAWN_FROM":
            continue
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " not in node.value:
            yield node.value
        yield from literals(node)


def identities(tree: ast.AST) -> Iterator[str]:
    """The lists, tuples and sets that spell the columns of a family of networks."""
    for node in ast.walk(tree):
        if isinstance(node, ast.List | ast.Tuple | ast.Set):
            values = {one.value for one in node.elts if isinstance(one, ast.Constant)}
            if values >= set(LABEL_COLUMNS):
                yield ast.unparse(node)


def modules() -> list[str]:
    found = {str(path.relative_to(SOURCE)) for path in SOURCE.rglob("*.py") if path != HERE}
    return sorted(found - NOT_OF_RESULTS.keys())


@pytest.mark.parametrize("module", modules())
def test_no_other_module_spells_the_layout_or_the_identity(module: str) -> None:
    tree = ast.parse((SOURCE / module).read_text(encoding="utf-8"))
    assert [text for text in literals(tree) if LAYOUT.search(text)] == []
    assert list(identities(tree)) == []


@pytest.mark.parametrize(
    "line",
    [
        'path = f"{one.path}/compact{NETWORK}"',
        'path = folder / "summary.csv"',
        'path = f"{folder}/tables/{name}.html"',
        'path = f"{parent}/attacks/{name}"',
        'path = f"{dataset}/{model}/{objective}/seed{seed}"',
    ],
)
def test_a_spelt_path_would_be_found(line: str) -> None:
    assert any(map(LAYOUT.search, literals(ast.parse(line))))


def test_a_spelt_identity_would_be_found() -> None:
    assert list(identities(ast.parse('GROUP = ["dataset", "model", "objective", "stage"]')))


@pytest.mark.parametrize("module", NOT_OF_RESULTS)
def test_what_is_left_out_is_there(module: str) -> None:
    tree = ast.parse((SOURCE / module).read_text(encoding="utf-8"))
    assert any(map(LAYOUT.search, literals(tree))) or list(identities(tree))


ROOT = Path(__file__).parents[1]
RULES = [ROOT / "Snakefile", *sorted((ROOT / "workflow/rules").glob("*.smk"))]
SPELT = re.compile(
    r"\.(safetensors|cost\.json|html)\b|/(attacks|verifiers|compact|dense|tables|figures)\b|seed\{\{|RESULTS\}/\w+\.csv"
)


@pytest.mark.parametrize("rules", RULES, ids=lambda path: path.name)
def test_no_rule_spells_a_path(rules: Path) -> None:
    lines = rules.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if SPELT.search(line) and not line.lstrip().startswith(("#", "include:"))] == []
