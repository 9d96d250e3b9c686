"""A file that does not define what its room asks for is refused in one line that says what would be valid."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from sparrow import catalogue
from sparrow.errors import ConfigError
from sparrow.settings import Settings
from sparrow.study import contracts

ENTRIES = [(room, kind) for room in catalogue.PACKAGES for kind in catalogue.kinds(room)]

ATTACK = """
from __future__ import annotations
from typing import ClassVar
from sparrow.adversary.params import Attack
from sparrow.settings import Norm

class Params(Attack):
    norms: ClassVar[tuple[Norm, ...]] = ("linf",)

def attack(model, images, labels, params, threat, classes):
    return images
"""
VERIFIER = """
from sparrow.verification.params import Verifier

class Params(Verifier):
    norms = ("l2",)

def bound(model, images, labels, params, threat, classes):
    return images
"""
OBJECTIVE = """
from sparrow.training.objective_params import Objective

class Params(Objective):
    pass

def prepare(params, threat):
    return None
"""
METHOD = """
from __future__ import annotations
from typing import ClassVar
from sparrow.pruning.params import Method, Needs

class Params(Method):
    needs: ClassVar[Needs] = "schedule"

def prepare(params, ratio, generator):
    return None
"""
MODEL = """
from sparrow.networks.params import Architecture

class Params(Architecture):
    batch_norm = True

def check(params, shape): ...
def build(params, shape, classes): ...
"""
DATASET = """
from sparrow.data.split import HeldOut

class Params(HeldOut):
    images = (10, 5)

def describe(params): ...
def load(params): ...
"""
FILES = {
    "attacks": ATTACK,
    "verifiers": VERIFIER,
    "objectives": OBJECTIVE,
    "methods": METHOD,
    "models": MODEL,
    "datasets": DATASET,
}
NEEDS = 'needs: ClassVar[Needs] = "schedule"'
NORMS = 'norms: ClassVar[tuple[Norm, ...]] = ("linf",)'


@pytest.fixture
def entry_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Makes a module of some text the entry of a room."""

    def make(room: str, text: str) -> None:
        path = tmp_path / "own.py"
        path.write_text(text)
        found = importlib.util.spec_from_file_location("own", path)
        module = importlib.util.module_from_spec(found)
        found.loader.exec_module(module)
        monkeypatch.setattr(catalogue, "load", lambda room, kind: module)

    return make


def refused(room: str) -> str:
    with pytest.raises(ConfigError) as caught:
        contracts.require_contract(room, "own")
    assert "\n" not in str(caught.value)
    return str(caught.value).partition("own.py: ")[2]


@pytest.mark.parametrize("room", FILES)
def test_a_file_that_defines_what_is_asked_for_is_taken(room: str, entry_of) -> None:
    entry_of(room, FILES[room])
    contracts.require_contract(room, "own")


@pytest.mark.parametrize(("room", "kind"), ENTRIES, ids=[f"{room}.{kind}" for room, kind in ENTRIES])
def test_every_shipped_file_does(room: str, kind: str) -> None:
    contracts.require_contract(room, kind)


@pytest.mark.parametrize(
    ("room", "constant", "now"),
    [
        ("attacks", "NORMS = ('linf', 'l2')", "norms = ('linf', 'l2')"),
        ("attacks", "MINIMUM_NORM = True", "minimum_norm = True"),
        ("attacks", "CLASSES_NEEDED = 4", "classes_needed = 4"),
        ("attacks", "BLIND = 'square'", "blind = 'square'"),
        ("verifiers", "NORMS = ('l2',)", "norms = ('l2',)"),
        ("verifiers", "SMOOTHED = False", "smoothed = False"),
        ("verifiers", "ONE_BY_ONE = True", "one_by_one = True"),
        ("objectives", "FLOAT32_ONLY = 'it is small'", "float32_only = 'it is small'"),
        ("models", "BATCH_NORM = True", "batch_norm = True"),
        ("datasets", "IMAGES = (7, None)", "images = (7, None)"),
    ],
)
def test_a_constant_of_the_old_style_is_told_where_it_goes_now(room: str, constant: str, now: str, entry_of) -> None:
    entry_of(room, f"{FILES[room]}\n{constant}\n")
    assert refused(room) == f"{constant} is no constant of the file any more; valid: `{now}` in the class Params"


@pytest.mark.parametrize(
    ("room", "old", "new", "message"),
    [
        ("attacks", NORMS, "pass", 'Params.norms is missing; valid: ("linf",), ("l2",) or ("linf", "l2")'),
        ("attacks", NORMS, 'norms = "linf"', 'Params.norms is \'linf\'; valid: ("linf",), ("l2",) or ("linf", "l2")'),
        ("attacks", NORMS, 'norms = ("l1",)', "Params.norms is ('l1',); valid: 'linf' or 'l2'"),
        ("attacks", NORMS, f"{NORMS}; minimum_norm = 1", "Params.minimum_norm is 1; valid: a valid boolean"),
        (
            "attacks",
            NORMS,
            'norms: tuple[Norm, ...] = ("linf",)',
            "Params.norms would be a setting of the study; valid: `norms: ClassVar = ...`",
        ),
        ("attacks", "Params(Attack)", "Params(Settings)", "Params do not derive from sparrow.adversary.params.Attack; "),
        ("attacks", NORMS, f"{NORMS}; power: float = 'one'", "Params.power is 'one' by default; valid: a valid number"),
        ("attacks", NORMS, f"{NORMS}; steps: int = True", "Params.steps is True by default; valid: a valid integer"),
        (
            "models",
            "batch_norm = True",
            "channels: list[int] = ['a', 'b']",
            "Params.channels is ['a', 'b'] by default; valid: a valid integer",
        ),
        (
            "datasets",
            "images = (10, 5)",
            "images = 10",
            "Params.images is 10; valid: (60000, 10000), with an official test set; (70000, None), without one; None, ",
        ),
        (
            "datasets",
            "sparrow.data.split import HeldOut\n\nclass Params(HeldOut):\n    images = (10, 5)",
            "sparrow.settings import Settings\n\nclass Params(Settings):\n    pass",
            "Params do not derive from sparrow.data.split.SplitParams, nor, with an official test set, from ",
        ),
        ("attacks", "def attack(", "def strike(", "has no attack|transfer; sparrow.attacks says what a file there "),
        (
            "attacks",
            "norms:",
            "transfers: ClassVar[bool] = True\n    norms:",
            "a file defines `transfer` if Params.transfers is True, ",
        ),
        ("methods", '"schedule"', '"scores"', "Params.needs is 'scores'; valid: 'nothing', 'batches' or 'schedule'"),
        ("methods", '"schedule"', '"batches"', "Params.needs is 'batches', and nothing says how many; valid: Params from "),
        ("methods", NEEDS, 'trains = "weights"', "Params.trains is 'weights', and Params.needs does not say what for; "),
        ("methods", NEEDS, 'trains = "scores"', "Params.trains is 'scores', and Params.needs does not say what for; "),
        ("methods", NEEDS, 'trains = "nothing"', "Params.trains is 'nothing'; valid: 'scores' or 'weights'"),
        (
            "verifiers",
            "norms =",
            "smoothed = True; norms =",
            "a file defines `certify` if Params.smoothed is True, ",
        ),
        (
            "methods",
            "def prepare(params, ratio, generator)",
            "def prepare(params: Params, ratio: float = 0.5) -> None",
            "prepare(params, ratio=0.5) cannot be called; valid: prepare(params, ratio, generator)",
        ),
        (
            "attacks",
            "params, threat, classes):",
            "params, threat):",
            "attack(model, images, labels, params, threat) cannot be called; valid: attack(model, images, ",
        ),
        ("attacks", "return images", "return images\n\npasses = 3", "passes is 3; valid: a function passes(params, classes)"),
        ("datasets", "load(params)", "load()", "load() cannot be called; valid: load(params)"),
        (
            "models",
            "check(params, shape)",
            "check(params, *, shape)",
            "check(params, *, shape) cannot be called; valid: check(",
        ),
        ("objectives", "pass", "float32_only = True", "Params.float32_only is True; valid: a valid string"),
        ("objectives", "pass", "perturbs: bool = True", "Params.perturbs would be a setting of the study; valid: "),
    ],
)
def test_a_contract_that_is_broken_is_told(room: str, old: str, new: str, message: str, entry_of) -> None:
    text = FILES[room].replace("import Norm\n", "import Norm, Settings\n")
    assert old in text
    entry_of(room, text.replace(old, new))
    assert refused(room).startswith(message)


ANALYSIS = """
from typing import ClassVar
from sparrow.settings import Analysis, Columns, Scope

class Params(Analysis):
    scope: ClassVar[Scope] = "family"
    tables: ClassVar[Columns] = {"own": ("share",)}

def analyse(subject, params):
    return []

"""


@pytest.mark.parametrize("given", ["params, classes", "params, classes, networks, dense, attacks"])
def test_the_passes_of_an_analysis_may_ask_how_many_networks_it_is_given(given: str, entry_of) -> None:
    entry_of("analyses", f"{ANALYSIS}def passes({given}):\n    return 1, 0\n")
    contracts.require_contract("analyses", "own")
    entry_of("analyses", f"{ANALYSIS}def passes(params, classes, networks):\n    return 1, 0\n")
    assert refused("analyses") == (
        "passes(params, classes, networks) cannot be called; valid: passes(params, classes) or passes(params, classes, "
        "networks, dense, attacks)"
    )


def test_a_flag_without_its_annotation_is_told(entry_of, monkeypatch: pytest.MonkeyPatch) -> None:
    def load(room: str, kind: str) -> None:
        entry_of("methods", METHOD.replace("needs: ClassVar[Needs] =", "needs ="))

    monkeypatch.setattr(catalogue, "load", load)
    with pytest.raises(ConfigError) as caught:
        contracts.require_contract("methods", "own")
    assert "\n" not in str(caught.value)
    told = "own.py: cannot be imported: PydanticUserError: A non-annotated attribute was detected: `needs = 'schedule'`. "
    assert told in str(caught.value)


@pytest.fixture
def configured_of(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What is said of a file that is put beside a room's own, without its folder."""
    monkeypatch.syspath_prepend(tmp_path)
    catalogue.kinds.cache_clear()

    def ask(room: str, file: str, text: str) -> str:
        package = importlib.import_module(catalogue.PACKAGES[room])
        (tmp_path / file).write_text(text)
        monkeypatch.setattr(package, "__path__", [str(tmp_path)])
        with pytest.raises(ConfigError) as caught:
            contracts.require_contract(room, catalogue.kinds(room)[0])
        assert "\n" not in str(caught.value)
        return str(caught.value).removeprefix(f"{tmp_path}/")

    yield ask
    catalogue.kinds.cache_clear()
    for name in ("my_method", "typed", "shadow"):
        sys.modules.pop(f"sparrow.methods.{name}", None)


def test_a_file_with_a_hyphen_is_told_its_name(configured_of) -> None:
    told = configured_of("methods", "my-method.py", METHOD)
    assert told == "my-method.py: cannot be imported by that name; rename it to my_method.py"


def test_an_option_that_no_study_could_write_is_told(configured_of) -> None:
    text = METHOD.replace(NEEDS, f"{NEEDS}\n    seen: Seen").replace("class Params", "class Seen: ...\nclass Params")
    told = configured_of("methods", "typed.py", text)
    assert told == (
        "typed.py: Params: no option can be of type sparrow.methods.typed.Seen; "
        "valid: bool, int, float, str, None, and Literal, list, tuple or dict of such"
    )


def test_a_flag_that_is_an_option_is_told_once(configured_of, recwarn: pytest.WarningsRecorder) -> None:
    told = configured_of("methods", "shadow.py", METHOD.replace(NEEDS, 'needs: Needs = "schedule"'))
    assert told == "shadow.py: Params.needs would be a setting of the study; valid: `needs: ClassVar = ...`"
    assert not recwarn.list


@pytest.mark.parametrize("room", catalogue.PACKAGES)
def test_no_flag_is_a_setting(room: str) -> None:
    for kind in catalogue.kinds(room):
        assert not contracts.flags(room).keys() & catalogue.load(room, kind).Params.model_fields.keys()
    assert issubclass(contracts.base(room), Settings)
