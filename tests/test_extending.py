"""The examples of docs/extending.md: each a file that, written into a copy of the package, is an entry that works."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from sparrow import catalogue

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs/extending.md").read_text()
EXAMPLES = dict(
    re.findall(r"`src/sparrow/(\S+)`:\n\n<!-- example: \S+ -->\n```python\n(.*?)```\n<!-- end -->", PAGE, re.DOTALL)
)
STUDY = re.search(r"<!-- example: my-study.yaml -->\n```yaml\n(.*?)```\n<!-- end -->", PAGE, re.DOTALL)[1]
KINDS = {name.partition("/")[0]: Path(name).stem.replace("_", "-") for name in EXAMPLES}

# What each file does with a few numbers, as the stages would ask it to.
TRY = """
import json, sys
import torch, yaml
from sparrow import catalogue
from sparrow.adversary.geometry import project
from sparrow.cli import docs
from sparrow.settings import Threat
from sparrow.study.load import load_study

kinds, study = json.load(open(sys.argv[1])), yaml.safe_load(open(sys.argv[2]))
loaded = load_study(study)
modules = {room: catalogue.load(room, kind) for room, kind in kinds.items()}
threat, said = Threat(eps=0.1), {}
said["known"] = {room: catalogue.kinds(room) for room in kinds}
said["labels"] = {room: list(getattr(loaded, room)) for room in kinds}
said["schema"], said["table"], said["options"] = docs.schema(), docs.entries_table(), docs.options_table()

data = modules["datasets"]
params = data.Params(each=15)
about, (images, labels) = data.describe(params), data.load(params).train
said["data"] = [list(images.shape), str(images.dtype), labels.tolist(), list(about.shape), about.classes]

model = modules["models"]
params = model.Params(channels=3)
torch.manual_seed(0)
network = model.build(params, about.shape, about.classes)
batch, labels = torch.tensor(images).float() / 255, torch.tensor(labels)
said["logits"] = list(network(batch).shape)
try:
    model.check(params, (1, 8, 2))
except ValueError as error:
    said["too small"] = str(error)

losses = []
for weight in (0, 1):
    torch.manual_seed(0)
    prepared = modules["objectives"].prepare(modules["objectives"].Params(steps=2, weight=weight), threat)
    losses.append(prepared(network, batch, labels, 1.0))
losses[1].backward()
said["losses"] = [float(loss) for loss in losses]
said["gradients"] = [bool(parameter.grad.abs().sum() > 0) for parameter in network.parameters()]

method = modules["methods"]
weights = {"layer": torch.nn.Parameter(torch.tensor([[1.0, -2.0, 3.0, -4.0]]))}
pruner = method.prepare(method.Params(strength=0.5), 0.5, torch.Generator())
said["optimised"] = [value is weights["layer"] for value in pruner.start(weights, None)]
weights["layer"].grad = torch.zeros(1, 4)
pruner.after_backward(weights, None)
said["pull"], said["masks"] = weights["layer"].grad.tolist(), pruner.end(weights)["layer"].tolist()

attack = modules["attacks"]
found = attack.attack(network, batch, labels, attack.Params(tries=5), threat, about.classes)
with torch.no_grad():
    before, after = (attack.margin(network, shown, labels) for shown in (batch, found))
said["inside"] = bool(torch.allclose(project(found, batch, threat), found))
said["margins"] = [bool((after <= before).all()), bool((after < before).any())]
said["passes"] = attack.passes(attack.Params(tries=5), 2)

verifier = modules["verifiers"]
bounds = {
    kind: one.bound(network.eval(), batch[:4], labels[:4], one.Params(), threat, about.classes)
    for kind, one in {"own": verifier, **{kind: catalogue.load("verifiers", kind) for kind in ("ibp", "crown")}}.items()
}
said["tighter"] = bool(torch.allclose(bounds["own"], torch.maximum(bounds["ibp"], bounds["crown"]), atol=1e-5))
said["sound"] = bool((bounds["own"] <= after[:4]).all())
print(json.dumps(said))
"""


@pytest.fixture(scope="module")
def said(tmp_path_factory):
    """What a copy of the package with all examples in it says, in a process of its own."""
    folder = tmp_path_factory.mktemp("extended")
    shutil.copytree(ROOT / "src/sparrow", folder / "src/sparrow", ignore=shutil.ignore_patterns("__pycache__"))
    for name, text in EXAMPLES.items():
        (folder / "src/sparrow" / name).write_text(text)
    (folder / "kinds.json").write_text(json.dumps(KINDS))
    (folder / "study.yaml").write_text(STUDY)
    (folder / "try.py").write_text(TRY)
    command = [sys.executable, str(folder / "try.py"), str(folder / "kinds.json"), str(folder / "study.yaml")]
    done = subprocess.run(
        command, cwd=ROOT, env={"PYTHONPATH": str(folder / "src")}, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_room_has_an_example():
    assert set(KINDS) == set(catalogue.PACKAGES)


def test_the_study_uses_them_all():
    study = yaml.safe_load(STUDY)
    assert [room for room, kind in KINDS.items() if kind not in study[room]] == []


def test_an_example_is_an_entry_as_its_file_is_called(said):
    assert {room: sorted(set(known) - set(catalogue.kinds(room))) for room, known in said["known"].items()} == {
        room: [kind] for room, kind in KINDS.items()
    }
    assert [room for room, kind in KINDS.items() if kind not in said["labels"][room]] == []


def test_an_example_is_in_the_schema_and_the_tables(said):
    properties = json.loads(said["schema"])["properties"]
    assert [kind for room, kind in KINDS.items() if kind not in properties[room]["properties"]] == []
    assert [kind for kind in KINDS.values() if f"| `{kind}` |" not in said["table"]] == []
    assert "| `methods.shrink.strength` | number > 0 | `0.1` | Weight decay of those that are to go. |" in said["options"]


def test_the_data_set_is_as_it_is_described(said):
    shape, dtype, labels, described, classes = said["data"]
    assert (shape, dtype, described, classes) == ([30, 1, 8, 8], "uint8", [1, 8, 8], 2)
    assert labels == [0] * 15 + [1] * 15


def test_the_model_gives_logits_and_refuses_small_images(said):
    assert said["logits"] == [30, 2]
    assert said["too small"] == "images of 8 x 2 pixels are too small; valid: 3 x 3 or more"


def test_the_objective_adds_a_distance_and_reaches_every_parameter(said):
    assert 0 < said["losses"][0] < said["losses"][1]
    assert said["gradients"] == [True] * 4


def test_the_method_pulls_the_smallest_and_prunes_them(said):
    assert said["optimised"] == [True]
    assert said["pull"] == [[0.5, -1.0, 0.0, 0.0]]
    assert said["masks"] == [[False, False, True, True]]


def test_the_attack_stays_inside_and_never_makes_it_easier(said):
    assert said["inside"]
    assert said["margins"] == [True, True]
    assert said["passes"] == [6, 0]


def test_the_verifier_takes_the_larger_bound_and_is_below_what_an_attack_found(said):
    assert said["tighter"]
    assert said["sound"]
