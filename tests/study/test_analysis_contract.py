"""What the tables of an analysis may be: what is wrong is one line that names the file."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import pytest

from sparrow import catalogue
from sparrow.errors import ConfigError
from sparrow.settings import Analysis, Columns
from sparrow.study import figures
from sparrow.study.analysis_contract import require_tables
from sparrow.study.analysis_tables import OWN_TABLES
from sparrow.study.contracts import require_contract

RULES = Path(__file__).parents[2] / "workflow/rules"
ROWS = {"mine": ("layer", "value")}


def entry(scope: str = "network", tables: Columns | None = None, more: str = "", **declared: object) -> SimpleNamespace:
    """The file of an analysis, which may define one more function."""
    said = {"scope": scope, "tables": ROWS if tables is None else tables, **declared}
    annotations = dict.fromkeys(said, ClassVar)
    params = type("Params", (Analysis,), {"__annotations__": annotations, "__module__": __name__, **said})
    return SimpleNamespace(__file__="mine.py", Params=params, **({more: print} if more else {}))


TIMED = {"mine": ("method", "ratio", "stage", "milliseconds")}


@pytest.mark.parametrize("scope", ["dataset", "network", "pair", "family", "seeds", "tables"])
def test_a_table_of_its_own_columns_is_valid_for_every_scope(scope: str) -> None:
    require_tables(entry(scope))


def test_logits_go_with_tables() -> None:
    require_tables(entry("tables", needs=("outputs",)))


def test_a_family_names_its_networks_and_may_be_timed() -> None:
    require_tables(entry("family", TIMED))
    require_tables(entry("family", TIMED, timed=True))
    require_tables(entry("pair", more="summary"))
    require_tables(entry("tables", reads=("stability",)))


WRONG = {
    "no table": (entry(tables={}), "Params.tables is {}; valid: at least one table, each with its columns"),
    "no column": (entry(tables={"mine": ()}), "Params.tables is {'mine': ()}; valid: at least one table"),
    "a column twice": (entry(tables={"mine": ("a", "b", "a")}), "mine has the column 'a', which is there twice"),
    "who it is about": (entry(tables={"mine": ("seed", "a")}), "mine has the column 'seed', which the study puts beside"),
    "what it is about": (entry("tables", {"mine": ("spec",)}), "mine has the column 'spec', which the study puts beside"),
    "needs of a data set": (
        entry("dataset", needs=("threat",)),
        "needs has 'threat', but an analysis of scope dataset is given",
    ),
    "outputs of a data set": (entry("dataset", needs=("outputs",)), "needs has 'outputs', but an analysis of scope dataset"),
    "the threat of all tables": (entry("tables", needs=("outputs", "threat")), "needs has 'threat', but an analysis of scope"),
    "tables read by a network": (entry(reads=("stability",)), "Params.reads has 'stability', but its scope is network; valid:"),
    "tables of nobody": (entry("tables", reads=("mine",)), "Params.reads has 'mine'; valid: kinds of analyses, "),
    "timings that are read": (
        entry("tables", reads=("latency",)),
        "Params.reads has 'latency', which is not read, for its numbers are timings",
    ),
    "timings of one network": (entry(timed=True), "Params.timed is True; valid: for scope family, with one table that has"),
    "timings of nobody": (entry("family", timed=True), "Params.timed is True; valid: for scope family, with one table that"),
    "two tables of timings": (entry("family", {**TIMED, "b": ("x",)}, timed=True), "Params.timed is True; valid: for scope"),
    "a summary of seeds": (entry("seeds", more="summary"), "defines summary, but its scope is seeds; valid: network or pair"),
}


@pytest.mark.parametrize(("found", "words"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_one_line(found: SimpleNamespace, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        require_tables(found)
    assert str(caught.value).startswith("mine.py: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


NAMES = {
    "a folder": ({"../x": ("a",)}, "'../x' is no name of a table; valid: lower-case letters and digits"),
    "a table without a name": ({"": ("a",)}, "'' is no name of a table"),
    "a number": ({1: ("a",)}, "1 is no name of a table"),
    "a column without a name": (
        {"mine": ("a", "")},
        "mine has the column ''; valid: a name of lower-case letters, digits and _",
    ),
    "a column of two lines": ({"mine": ("a\nb",)}, "mine has the column 'a\\nb'; valid: a name"),
    "no text": ({"mine": (1, "b")}, "mine has the column 1; valid: a name"),
    "a list": (
        {"mine": ["a", "b"]},
        "mine has ['a', 'b'] for its columns; valid: a tuple of names, such as ('layer', 'images')",
    ),
    "brackets forgotten": ({"mine": "layer"}, "mine has 'layer' for its columns; valid: a tuple of names"),
}


@pytest.mark.parametrize(("tables", "words"), NAMES.values(), ids=NAMES)
def test_a_name_that_no_file_or_column_can_have_is_one_line(
    tables: Columns, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The names are read before their types are, whose words say less.
    monkeypatch.setattr(catalogue.load("analyses", "stability").Params, "tables", tables)
    with pytest.raises(ConfigError) as caught:
        require_contract("analyses", "stability")
    assert words in str(caught.value)
    assert str(caught.value).split(": ")[0].endswith("stability.py")
    assert "\n" not in str(caught.value)


def test_no_analysis_takes_the_name_of_a_table_that_a_rule_writes() -> None:
    rules = "".join(path.read_text() for path in RULES.glob("*.smk"))
    written = set(re.findall(r"study_table\('(\w+)'\)", rules))
    assert written == set(OWN_TABLES)
    assert not {"stability", "latency"} & {*OWN_TABLES, *figures.known()}
