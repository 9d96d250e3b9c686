"""The schema and the documents say what the code does."""

import json
from pathlib import Path

import jsonschema
import pytest
import yaml

from sparrow import catalogue
from sparrow.cli import docs
from sparrow.study.config import Study
from tests.default_study import default_study

ROOT = Path(__file__).parents[2]
STUDIES = [ROOT / "config.yaml", *sorted((ROOT / "workflow/studies").glob("*.yaml"))]
HINT = "out of date; run `sparrow docs`"


@pytest.fixture(scope="module")
def validator():
    schema = json.loads(docs.schema())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def default(**sections):
    return default_study() | sections


def test_the_schema_is_current():
    # Not `assert a == b`: the difference would fill the screen and hide what to do.
    current = (ROOT / docs.SCHEMA).read_text() == docs.schema()
    assert current, f"{docs.SCHEMA} is {HINT}"


@pytest.mark.parametrize("document", docs.DOCUMENTS, ids=str)
def test_a_document_is_current(document):
    text = (ROOT / document).read_text()
    current = docs.filled(text) == text
    assert current, f"{document} is {HINT}"


@pytest.mark.parametrize(("document", "part"), list(zip(docs.DOCUMENTS, ("names", "entries", "options"), strict=True)))
def test_a_document_has_its_generated_part(document, part):
    # Without its markers a part would never be brought up to date, and the test above would never notice.
    assert f"<!-- generated: {part} -->" in (ROOT / document).read_text()


def test_what_is_not_generated_is_left_alone():
    text = "before\n<!-- generated: options -->\nold\n<!-- end -->\nafter\n"
    assert docs.filled(text) == f"before\n<!-- generated: options -->\n{docs.options_table()}<!-- end -->\nafter\n"


def test_every_option_has_a_description():
    cells = [line.strip("| ").split(" | ") for line in docs.options_table().splitlines()[2:]]
    assert [row[0] for row in cells if len(row) != 4 or not row[3].strip()] == []


@pytest.mark.parametrize(
    "row",
    [
        "| `ratios` | list of number > 0, < 1 | `[]` |",
        "| `training.STAGE.lr` | number > 0 | `0.1` |",
        '| `methods.lwm.allocation` | `uniform`, `erk`, `lamp`, `global` | `"uniform"` |',
        '| `methods.hydra.allocation` | `uniform`, `erk`, `lamp` | `"uniform"` |',
        '| `methods.harp.granularity` | `weight`, `filter` | `"weight"` |',
        '| `methods.hydra.granularity` | `weight`, `filter` or string | `"weight"` |',
        "| `methods.lwm.steps` | integer ≥ 1 | `1` |",
        "| `methods.snip.batches` | integer ≥ 1 or null | `1` |",
        "| `methods.deadwooding.dual_share` | number > 0, < 1 | `0.5` |",
        "| `attacks.pgd.samples` | integer ≥ 1 or null | `null` |",
        "| `threat.eps` | number > 0 or fraction | required |",
    ],
)
def test_an_option_has_its_type_and_default(row):
    assert row in docs.options_table()


@pytest.mark.parametrize("kind", catalogue.kinds("methods"))
def test_what_a_method_declares_for_the_workflow_is_no_option(kind):
    assert f"`methods.{kind}.trains`" not in docs.options_table()


def test_every_section_is_in_the_options_or_the_entries():
    text = docs.options_table() + docs.entries_table()
    assert [name for name in Study.model_fields if f"`{name}" not in text] == []


@pytest.mark.parametrize("path", STUDIES, ids=lambda path: path.stem)
def test_the_schema_accepts_every_study_of_the_repository(validator, path):
    validator.validate(yaml.safe_load(path.read_text()))


def test_the_schema_accepts_a_label_with_a_kind(validator):
    validator.validate(default(methods={"lwm-global": {"kind": "lwm", "allocation": "global"}}))


REFUSED = {
    "an unknown method": ({"methods": {"hidra": None}}, "methods"),
    "an unknown kind": ({"methods": {"mine": {"kind": "hidra"}}}, "methods"),
    "a label without a kind": ({"methods": {"mine": {"allocation": "global"}}}, "methods"),
    "an allocation of another method": ({"methods": {"hydra": {"allocation": "global"}}}, "methods"),
    "an unknown granularity": ({"methods": {"lwm": {"granularity": "channel"}}}, "methods"),
    "a label with capitals": ({"methods": {"LWM": {"kind": "lwm"}}}, "methods"),
    "a misspelt section": ({"seed": [0]}, None),
    "a misspelt key": ({"methods": {"hydra": {"gain": 1}}}, "methods"),
    "a misspelt key of the threat": ({"threat": {"eps": 0.1, "nrom": "l2"}}, "threat"),
    "a ratio of 1": ({"ratios": [1]}, "ratios"),
    "an empty list": ({"seeds": []}, "seeds"),
    "an empty section": ({"attacks": {}}, "attacks"),
}


@pytest.mark.parametrize(("change", "section"), REFUSED.values(), ids=REFUSED)
def test_the_schema_refuses(validator, change, section):
    (error,) = validator.iter_errors(default(**change))
    assert next(iter(error.absolute_path), None) == section
