"""What a reader copies into src, an example or a template, says its types: mypy refuses there what does not."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = {
    f"{page}: {name}": code
    for page in ("README.md", "docs/extending.md")
    for name, code in re.findall(r"<!-- example: (\w+\.py) -->\n```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)
}
TEMPLATES = {path.name: path.read_text() for path in sorted((ROOT / "src/sparrow/cli/templates").glob("*.txt"))}


def without_types(code: str) -> list[str]:
    """The functions of a file that leave out the type of an argument, `self` apart, or of what they return."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.FunctionDef):
            taken = [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs, node.args.vararg, node.args.kwarg]
            said = [argument.annotation for argument in taken if argument and argument.arg != "self"]
            if None in (*said, node.returns):
                found.append(node.name)
    return found


def test_what_leaves_a_type_out_is_found() -> None:
    code = "def a(x) -> int: ...\ndef b(x: int): ...\nclass C:\n def d(self, *x) -> None: ...\n def e(self) -> None: ...\n"
    assert without_types(code) == ["a", "b", "d"]


@pytest.mark.parametrize("name", [*EXAMPLES, *TEMPLATES])
def test_examples_and_templates_say_their_types(name: str) -> None:
    code = (EXAMPLES | TEMPLATES)[name]
    assert "def " in code
    assert without_types(code) == []


def test_every_room_has_an_example_and_a_template() -> None:
    assert len(EXAMPLES) >= 7
    assert len(TEMPLATES) >= 7
