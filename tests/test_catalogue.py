"""What there is to choose from, and what each entry has to declare."""

import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sparrow import catalogue
from sparrow.pruning.params import Method
from sparrow.settings import Evaluation, Settings
from sparrow.study import contracts

ROOT = Path(__file__).parents[1]
ENTRIES = [(room, kind) for room in catalogue.PACKAGES for kind in catalogue.kinds(room)]

# What each room's `__init__` asks of a file: functions with their parameters.
FUNCTIONS = {
    "datasets": {"describe": ["params"], "load": ["params"]},
    "models": {"check": ["params", "shape"], "build": ["params", "shape", "classes"]},
    "objectives": {"prepare": ["params", "threat"]},
    "methods": {"prepare": ["params", "ratio", "generator"]},
    "attacks": {"attack": ["model", "images", "labels", "params", "threat", "classes"]},
    "verifiers": {"bound": ["model", "images", "labels", "params", "threat", "classes"]},
    "analyses": {"analyse": ["subject", "params"]},
}
# A verifier of a smoothed classifier defines this in place of `bound`.
CERTIFY = {"certify": ["model", "images", "params", "threat", "classes", "generator", "white"]}
METHODS = [
    "admm",
    "bcs",
    "boosting-ticket",
    "ccrp",
    "deadwooding",
    "dnr",
    "flying-bird",
    "flying-bird-plus",
    "fre",
    "harp",
    "hydra",
    "imp",
    "iwi",
    "lwm",
    "mad",
    "mrpf",
    "pwoa",
    "random",
    "random-scratch",
    "robust-bird",
    "rst",
    "snip",
    "twinrep",
    "undecayed",
    "vericompress",
]

every_entry = pytest.mark.parametrize(("room", "kind"), ENTRIES, ids=[f"{room}.{kind}" for room, kind in ENTRIES])


@pytest.mark.parametrize(
    ("room", "kinds"),
    [
        ("datasets", ["digits", "image-folder"]),
        ("models", ["cnn-large", "cnn-small"]),
        (
            "objectives",
            ["adversarial", "benign", "crown-ibp", "fgsm", "ibp", "mart", "mixtrain", "mtl-ibp", "sabr", "smoothing", "trades"],
        ),
        ("methods", METHODS),
        ("attacks", ["autoattack", "fgsm", "fmn", "pgd", "transfer"]),
        ("verifiers", ["alpha-crown", "branch-and-bound", "cascade", "crown", "crown-ibp", "ibp", "smoothing"]),
        (
            "analyses",
            [
                *("certified-radius", "classes", "corruptions", "excess-loss", "exemplars", "flips", "latency", "potential"),
                *("similarity", "stability", "transfer"),
            ],
        ),
    ],
)
def test_the_entries_that_studies_rely_on_are_there(room, kinds):
    assert set(kinds) <= set(catalogue.kinds(room))


def test_a_file_that_starts_with_an_underscore_is_no_entry():
    # `pruning/masks.py` exists.
    assert [kind for kind in catalogue.kinds("methods") if "masks" in kind] == []


@every_entry
def test_an_entry_has_parameters_with_defaults(room, kind):
    # `hydra:` alone has to be enough; nobody but the user knows where images lie, and what they are.
    if kind == "image-folder":
        return
    assert isinstance(catalogue.load(room, kind).Params(), Settings)


@every_entry
def test_an_entry_defines_the_functions_of_its_room(room, kind):
    entry = catalogue.load(room, kind)
    expected = CERTIFY if room == "verifiers" and entry.Params.smoothed else FUNCTIONS[room]
    if hasattr(entry, "decide"):
        expected = {"decide": expected["bound"]}
    if hasattr(entry, "transfer"):
        expected = {"transfer": [*expected["attack"], "candidates"]}
    assert {name: list(inspect.signature(getattr(entry, name)).parameters) for name in expected} == expected


@pytest.mark.parametrize("room", catalogue.PACKAGES)
def test_a_room_says_what_its_entries_have_to_declare(room):
    text = sys.modules[catalogue.PACKAGES[room]].__doc__
    names = ["Params", *contracts.flags(room), *FUNCTIONS[room]]
    assert [name for name in names if not re.search(rf"`{name}\b", text)] == []


@every_entry
def test_a_summary_is_one_sentence_on_one_line(room, kind):
    assert re.fullmatch(r"[A-Za-z][^\n]+\.", catalogue.summary(room, kind))


def test_every_entry_names_its_source():
    assert [entry for entry in ENTRIES if not catalogue.source(*entry)] == []


@pytest.mark.parametrize(
    ("kind", "params", "needs", "trains"),
    [
        ("admm", {}, "schedule", "weights"),
        ("boosting-ticket", {}, "schedule", "weights"),
        ("deadwooding", {}, "schedule", "weights"),
        ("harp", {}, "schedule", "scores"),
        ("hydra", {}, "schedule", "scores"),
        ("imp", {}, "schedule", "weights"),
        ("lwm", {}, "nothing", "weights"),
        ("lwm", {"steps": 2}, "schedule", "weights"),
        ("mad", {}, "batches", "scores"),
        ("pwoa", {}, "schedule", "weights"),
        ("random", {}, "nothing", "scores"),
        ("robust-bird", {}, "schedule", "weights"),
        ("rst", {}, "schedule", "scores"),
        ("snip", {}, "batches", "scores"),
        ("undecayed", {}, "batches", "scores"),
    ],
)
def test_a_method_says_what_it_needs_and_trains(kind, params, needs, trains):
    found = catalogue.load("methods", kind).Params(**params)
    assert (found.needs, found.trains) == (needs, trains)


@pytest.mark.parametrize("kind", [kind for room, kind in ENTRIES if room == "methods"])
def test_a_methods_parameters_tell_the_workflow_what_it_has_to_know(kind):
    params = catalogue.load("methods", kind).Params
    assert issubclass(params, Method)
    assert params().needs in ("nothing", "batches", "schedule")


@pytest.mark.parametrize("kind", [kind for room, kind in ENTRIES if room == "attacks"])
def test_an_attack_can_be_limited_to_some_samples(kind):
    assert issubclass(catalogue.load("attacks", kind).Params, Evaluation)


@pytest.mark.parametrize("kind", [kind for room, kind in ENTRIES if room == "verifiers"])
def test_a_verifier_can_be_limited_to_some_samples(kind):
    assert issubclass(catalogue.load("verifiers", kind).Params, Evaluation)


def test_a_long_docstring_is_cut_to_its_parts(monkeypatch):
    doc = "One\ntwo.\n\nMore.\n\nSource: A,\nB.\n\nNot this."
    monkeypatch.setattr(catalogue.load("methods", "lwm"), "__doc__", doc)
    assert (catalogue.summary("methods", "lwm"), catalogue.source("methods", "lwm")) == ("One two.", "A, B.")


def test_a_specification_becomes_a_module_and_its_parameters():
    entry, params = catalogue.from_spec("methods", {"kind": "lwm", "allocation": "global"})
    assert (entry.__name__, params.allocation) == ("sparrow.methods.lwm", "global")


def test_a_specification_is_left_as_it_was():
    spec = {"kind": "lwm"}
    catalogue.from_spec("methods", spec)
    assert spec == {"kind": "lwm"}


def test_an_unknown_entry_is_an_error():
    with pytest.raises(ModuleNotFoundError):
        catalogue.load("methods", "hidra")


@pytest.fixture(scope="module")
def with_new_file(tmp_path_factory):
    """What a copy of the package that has README's example says of it."""
    source = tmp_path_factory.mktemp("source")
    shutil.copytree(ROOT / "src/sparrow", source / "sparrow", ignore=shutil.ignore_patterns("__pycache__"))
    example = re.search(
        r"<!-- example: (\w+\.py) -->\n```python\n(.*?)```\n<!-- end -->", (ROOT / "README.md").read_text(), re.DOTALL
    )
    (source / "sparrow/methods" / example[1]).write_text(example[2])
    code = """
import json, torch, yaml
from sparrow import catalogue
from sparrow.cli import docs
from sparrow.study.load import load_study
raw = yaml.safe_load(open("config.yaml")) | {"methods": {"smallest-sum": {"power": 2}}}
entry, params = catalogue.from_spec("methods", {"kind": "smallest-sum"})
pruner = entry.prepare(params, 0.5, torch.Generator())
weights = {"layer": torch.nn.Parameter(torch.tensor([[1.0, 2.0, -3.0, 4.0], [-40.0, 30.0, 20.0, 10.0]]))}
pruner.start(weights, None)
print(json.dumps({
    "masks": {name: mask.tolist() for name, mask in pruner.end(weights).items()},
    "kinds": catalogue.kinds("methods"),
    "power": load_study(raw).methods["smallest-sum"].power,
    "schema": docs.schema(),
    "table": docs.entries_table(),
}))
"""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=ROOT, env={"PYTHONPATH": str(source)}, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_a_new_file_is_an_entry(with_new_file):
    assert set(with_new_file["kinds"]) - set(catalogue.kinds("methods")) == {"smallest-sum"}


def test_a_new_file_prunes(with_new_file):
    # Shares of 0.1 to 0.4 in both rows, however large their weights are.
    assert with_new_file["masks"] == {"layer": [[False, False, True, True], [True, True, False, False]]}


def test_a_new_files_parameters_are_checked_like_the_others(with_new_file):
    assert with_new_file["power"] == 2.0


def test_a_new_file_is_in_the_schema(with_new_file):
    methods = json.loads(with_new_file["schema"])["properties"]["methods"]["properties"]
    assert "smallest-sum" in methods


def test_a_new_file_is_in_the_readmes_table(with_new_file):
    assert "| `smallest-sum` | Prunes the weights that add the least" in with_new_file["table"]
