"""What an analysis gives is rows of values that a table can hold, or one line names its file."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from sparrow.errors import SparrowError
from sparrow.stages._analysis_rows import rows_by_table

TABLES = {"first": ("a", "b"), "second": ("c",)}


def test_rows_of_the_first_table_need_no_name() -> None:
    assert rows_by_table([(1, "x"), [None, 0.5]], TABLES, "mine.py") == {"first": [[1, "x"], [None, 0.5]]}


def test_rows_of_several_tables_have_its_name() -> None:
    assert rows_by_table({"second": [(True,)], "first": iter([])}, TABLES, "mine.py") == {"first": [], "second": [[True]]}


def test_numbers_of_numpy_become_those_of_python() -> None:
    found = rows_by_table(np.array([[1, 2], [3, 4]]), TABLES, "mine.py")["first"]
    found += rows_by_table([(np.float32(0.5), np.bool_(True))], TABLES, "mine.py")["first"]
    assert found == [[1, 2], [3, 4], [0.5, True]]
    assert [type(value) for row in found for value in row] == [int] * 4 + [float, bool]


class Thing:
    """Something whose words in Python have an address."""


WRONG = {
    "nothing": (None, "None as the rows of table first; valid: a list of them"),
    "a number": (5, "5 as the rows of table first"),
    "a text": ("ab", "'ab' as the rows of table first"),
    "numbers": ([1, 2], "1 as a row of table first; valid: a list or tuple"),
    "a row of letters": (["ab"], "'ab' as a row of table first"),
    "a row by name": ([{"a": 1, "b": 2}], "{'a': 1, 'b': 2} as a row of table first"),
    "nothing of a table": ({"second": None}, "None as the rows of table second"),
    "another table": ({"third": []}, "rows of a table 'third'; valid: first, second"),
    "a row too short": ([(1,)], "a row of table first with 1 values; valid: 2, a, b"),
    "a tensor": ([(1, torch.ones(2, 2))], "a value of type Tensor in the column b of table first; valid: a number, a text or"),
    "a number in a tensor": ([(torch.tensor(1.5), 1)], "a value of type Tensor in the column a of table first"),
    "an array": ([(1, np.ones(3))], "a value of type ndarray in the column b"),
    "an object": ([(1, Thing())], "a value of type Thing in the column b"),
    "a list": ([(1, [2])], "[2] in the column b"),
}


@pytest.mark.parametrize(("found", "words"), WRONG.values(), ids=WRONG)
def test_what_no_table_can_hold_is_one_line(found: object, words: str) -> None:
    with pytest.raises(SparrowError) as caught:
        rows_by_table(found, TABLES, "mine.py")
    assert str(caught.value).startswith(f"mine.py: analyse gives {words}")
    assert "\n" not in str(caught.value)
    assert " at 0x" not in str(caught.value)
