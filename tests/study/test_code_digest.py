"""Which change of the code changes which digest.

The digests are made of a copy of the package; a fresh copy of the module `code_digest` reads the files around it.
"""

import importlib.util
import shutil
from pathlib import Path

import pytest

from sparrow.files.paths import Cell, Parent
from sparrow.study import analyses, job_specs
from sparrow.study.load import load_study
from tests.default_study import default_study

ROOT = Path(__file__).parents[2]
RAW = default_study()
# One method of each kind: looks at the weights, learns scores, moves weights.
ENTRIES = {"methods": ["random", "lwm", "hydra", "harp", "snip", "admm"], "attacks": ["pgd", "autoattack", "fmn"]}
ENTRIES |= {"verifiers": ["ibp", "crown", "cascade"]}
STUDY = load_study(RAW | {room: dict.fromkeys(kinds) for room, kinds in ENTRIES.items()})
METHODS, ATTACKS, VERIFIERS = list(STUDY.methods), list(STUDY.attacks), list(STUDY.verifiers)


OF_TEXTS = {}


@pytest.fixture
def package(tmp_path):
    """A copy of the package's source to be edited."""
    return Path(shutil.copytree(ROOT / "src/sparrow", tmp_path / "sparrow", ignore=shutil.ignore_patterns("__pycache__")))


def code_digest(package, *modules):
    """The digest that a new process would see."""
    return digests_of(package).code_digest(*modules)


def digests_of(package):
    """The module `code_digest` over the files of `package`; it remembers what it has read: each edit needs a new one."""
    spec = importlib.util.spec_from_file_location("digest_of_the_copy", package / "study/code_digest.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    # What depends on a file's text alone need not be found anew.
    for name in ("_parsed", "_canonical_text"):
        setattr(module, name, OF_TEXTS.setdefault(name, getattr(module, name)))
    return module


def edit(file, old, new):
    text = file.read_text()
    assert text.count(old) == 1, f"{file.name} has changed: adapt this test"
    file.write_text(text.replace(old, new))


def codes(package):
    """The code digest of every spec of adversarial training (which knows a threat), by rule and entry."""
    with pytest.MonkeyPatch.context() as patch:
        digests = digests_of(package)
        patch.setattr(job_specs, "code_digest", digests.code_digest)
        patch.setattr(analyses, "code_digest", digests.code_digest)
        patch.setattr(analyses, "function_digest", digests.function_digest)
        parent = Parent("digits", "cnn-small", "adversarial", 0)
        specs = {"data": job_specs.data_spec(STUDY, "digits"), "pretrain": job_specs.pretrain_spec(STUDY, parent)}
        for method in METHODS:
            specs[f"prune {method}"] = job_specs.prune_spec(STUDY, Cell(parent, method, 0.9))
        specs["finetune"] = job_specs.finetune_spec(STUDY, Cell(parent, "lwm", 0.9))
        for attack in ATTACKS:
            specs[f"attack {attack}"] = job_specs.attack_spec(STUDY, parent, attack)
        for verifier in VERIFIERS:
            specs[f"verify {verifier}"] = job_specs.verify_spec(STUDY, parent, verifier)
        job = next(job for job in analyses.jobs(STUDY, "stability") if job.networks[0].parent == parent)
        specs["stability"] = analyses.spec(STUDY, job)
    return {name: one.code for name, one in specs.items()}


PRUNES = [f"prune {method}" for method in METHODS]
SEARCHES = [f"prune {method}" for method in ("hydra", "harp", "snip", "admm")]
TRAININGS = ["pretrain", *PRUNES, "finetune"]
EVALUATIONS = [f"attack {attack}" for attack in ATTACKS] + [f"verify {verifier}" for verifier in VERIFIERS] + ["stability"]

# A file, what is replaced in it, and the specs whose code that is: these and no others.
EDITS = {
    "one method": ("methods/hydra.py", "Field(6.0, gt=0)", "Field(5.0, gt=0)", ["prune hydra"]),
    "learned scores": ("pruning/learned_scores.py", "gradient.norm()", "score.norm()", ["prune hydra", "prune harp"]),
    "one shot": ("pruning/one_shot.py", "return []", "return list()", ["prune random", "prune lwm"]),
    "all masks": ("pruning/masks.py", "spared = 1 if is_by", "spared = 2 if is_by", PRUNES),
    "the check of the masks": ("stages/_mask_check.py", "<= slack", "< slack", PRUNES),
    "the training loop": ("training/loop.py", "0.5 * (1 +", "0.4 * (1 +", TRAININGS),
    # Branch and bound, of which a cascade may make use, begins with PGD.
    "one attack": ("attacks/pgd.py", "2.5 * threat.eps", "2.0 * threat.eps", ["attack pgd", "verify cascade"]),
    "another attack": ("attacks/fmn.py", "(1 - change)", "(2 - change)", ["attack fmn"]),
    "one verifier": ("verifiers/crown.py", "torch.no_grad()", "torch.inference_mode()", ["verify crown", "verify cascade"]),
    "the cascade": (
        "verifiers/cascade.py",
        "falsified=trial.falsified, margins",
        "falsified=trial.verified, margins",
        ["verify cascade"],
    ),
    "branch and bound": ("verifiers/branch_and_bound.py", "seen += len(parts)", "seen += 1", ["verify cascade"]),
    "stable ReLUs": ("analyses/stability.py", "(lower >= 0)", "(lower > 0)", ["stability"]),
    "kept examples": ("files/examples.py", "indices.argsort()", "indices.argsort(stable=True)", EVALUATIONS),
    "how a failure is written down": (
        *("stages/_failure.py", '"failed": message', '"failed": message + "!"'),
        [*TRAININGS, *EVALUATIONS],
    ),
    # The objective is no code of a method that looks at the weights alone.
    "the objective": ("training/inner_pgd.py", "range(steps)", "range(steps + 1)", ["pretrain", *SEARCHES, "finetune"]),
    "another objective": ("objectives/trades.py", "+ 0.001 *", "+ 0.002 *", []),
    "the model": ("models/cnn_small.py", "HIDDEN = [100]", "HIDDEN = [50]", TRAININGS + EVALUATIONS),
    "another model": ("models/cnn_large.py", "HIDDEN = [512, 512]", "HIDDEN = [512]", []),
    "how layers hang together": ("networks/structure.py", "return 1 if", "return 2 if", TRAININGS + EVALUATIONS),
    "what is drawn of stable ReLUs": ("analyses/stability.py", '"unstable ReLUs (%)"', '"ReLUs (%)"', []),
    "cutting filters out": ("networks/cutting.py", "TOLERANCE = 1e-5", "TOLERANCE = 1e-4", TRAININGS + EVALUATIONS),
    "when filters are cut out": ("stages/_physical_size.py", "IMAGES = 256", "IMAGES = 128", PRUNES),
    "the data set": ("datasets/digits.py", "(1, 8, 8), 10)", "(1, 8, 8), 9)", ["data"]),
    "the outcome table": ("files/outcome_table.py", '"distance", ', "", EVALUATIONS),
    "the statistics": ("results/statistics.py", "LEVEL = 0.95", "LEVEL = 0.9", []),
    "a figure": ("results/figures/accuracy.py", '"pruning ratio"', '"ratio"', []),
    "how jobs are run": ("jobs/execute.py", 'return 0, message or ""', "return 0, message", []),
}


@pytest.mark.parametrize(("file", "old", "new", "expected"), EDITS.values(), ids=EDITS)
def test_an_edit_changes_the_specs_that_run_it(package, file, old, new, expected):
    before = codes(package)
    edit(package / file, old, new)
    after = codes(package)
    assert {name for name in before if before[name] != after[name]} == set(expected)


DOCSTRING = '"""A pruner that learns one score a weight, or a filter."""'
COSMETICS = {
    "a comment": ('trains: ClassVar[Trains] = "scores"', 'trains: ClassVar[Trains] = "scores"  # says who'),
    "blank lines": ("class Params", "\n\n\nclass Params"),
    "quotes": (DOCSTRING, DOCSTRING.replace('"', "'")),
    "line breaks": ("super().start(weights, layout)", "super().start(\n                weights, layout\n            )"),
    "the module's docstring": ("the mask is learned, as", "the mask is not drawn but learned, as"),
    "a function's docstring": ("A pruner that learns one score a weight, or a filter.", "A pruner."),
    "no docstring": (f"    {DOCSTRING}\n", ""),
    "a setting's docstring": ("The 6 in the initial scores'", "What stands in the initial scores'"),
}


@pytest.mark.parametrize(("old", "new"), COSMETICS.values(), ids=COSMETICS)
def test_what_runs_no_code_changes_no_digest(package, old, new):
    before = code_digest(package, "sparrow.methods.hydra")
    edit(package / "methods/hydra.py", old, new)
    assert code_digest(package, "sparrow.methods.hydra") == before


def test_a_string_that_does_something_is_code(package):
    before = code_digest(package, "sparrow.attacks.autoattack")
    edit(package / "attacks/autoattack.py", '"l2")', '"l1")')
    assert code_digest(package, "sparrow.attacks.autoattack") != before


IMPORTS = {
    "relative": "from . import masks",
    "relative, a name of it": "from .masks import keep_highest",
    "relative, two levels": "from ..pruning import masks",
    "absolute": "import sparrow.pruning.masks",
    "absolute, renamed": "import sparrow.pruning.masks as masks",
    "in a function": "def f():\n    from sparrow.pruning.masks import keep_highest",
    "in a branch": "if True:\n    from sparrow.pruning import masks",
    "by way of another": "from sparrow.stages import _by_way",
}


@pytest.mark.parametrize("statement", IMPORTS.values(), ids=IMPORTS)
def test_an_import_is_followed(package, statement):
    (package / "pruning/mine.py").write_text(statement + "\n")
    (package / "stages/_by_way.py").write_text("from ..pruning.masks import keep_highest\n")
    before = code_digest(package, "sparrow.pruning.mine")
    edit(package / "pruning/masks.py", "spared = 1 if is_by", "spared = 2 if is_by")
    assert code_digest(package, "sparrow.pruning.mine") != before


def test_the_packages_around_a_module_are_part_of_it(package):
    # Python runs them on import.
    before = code_digest(package, "sparrow.methods.hydra")
    with open(package / "pruning/__init__.py", "a") as file:
        file.write("print(1)\n")
    assert code_digest(package, "sparrow.methods.hydra") != before


def test_imports_in_a_circle_come_to_an_end(package):
    (package / "pruning/one.py").write_text("from sparrow.pruning import two\n")
    (package / "pruning/two.py").write_text("from sparrow.pruning import one\n")
    assert code_digest(package, "sparrow.pruning.one") == code_digest(package, "sparrow.pruning.two")


def test_the_order_of_the_modules_does_not_matter(package):
    one, two = "sparrow.stages.attack", "sparrow.attacks.pgd"
    assert code_digest(package, one, two) == code_digest(package, two, one)


def test_an_unknown_module_is_an_error(package):
    with pytest.raises(ModuleNotFoundError, match=r"sparrow\.pruning\.nope"):
        code_digest(package, "sparrow.pruning.nope")


def test_where_the_package_lies_does_not_matter(package):
    assert codes(package) == codes(ROOT / "src/sparrow")


ONE_FILE = '''
from __future__ import annotations
from typing import TYPE_CHECKING
from sparrow.files import csv_table
from sparrow.results import marks
if TYPE_CHECKING:
    from sparrow.files import lineage
LIMIT = 3
print("imported")

class Params:
    """Settings."""

def _half(value):
    return value / 2

def analyse(subject: lineage.Link, params):
    """Rows."""
    from sparrow import radius
    return [_half(LIMIT), csv_table, radius]

def _colour():
    return "red"

def draw(source):
    return marks, _colour()
'''
# What is replaced in that file or elsewhere, and which of its functions it is code of.
PARTS = {
    "a helper": ("methods/one.py", "value / 2", "value / 3", {"analyse"}),
    "a constant": ("methods/one.py", "LIMIT = 3", "LIMIT = 4", {"analyse"}),
    "the function": ("methods/one.py", "return [_half", "return [1, _half", {"analyse"}),
    "the other's helper": ("methods/one.py", '"red"', '"blue"', {"draw"}),
    "what both run": ("methods/one.py", 'print("imported")', 'print("seen")', {"analyse", "draw"}),
    "a docstring": ("methods/one.py", "Rows.", "All rows.", set()),
    "what is for types": ("methods/one.py", "import lineage", "import lineage as other", set()),
    "a module at the top": ("files/csv_table.py", 'lineterminator="\\n"', 'lineterminator="\\r"', {"analyse"}),
    "a module inside": ("radius.py", "LEVELS = 255", "LEVELS = 256", {"analyse"}),
    "the other's module": ("results/marks.py", "def ", "def a_", {"draw"}),
}


@pytest.mark.parametrize(("file", "old", "new", "expected"), PARTS.values(), ids=PARTS)
def test_a_function_is_what_leads_from_it(package, file, old, new, expected):
    (package / "methods/one.py").write_text(ONE_FILE)

    def digests():
        made = digests_of(package)
        return {root: made.function_digest("sparrow.methods.one", root) for root in ("analyse", "draw")}

    before = digests()
    text = (package / file).read_text()
    assert old in text
    (package / file).write_text(text.replace(old, new, 1))
    after = digests()
    assert {root for root in before if before[root] != after[root]} == expected


def test_a_function_that_is_not_there_is_named(package):
    with pytest.raises(LookupError, match=r"nothing is called 'drawn'; valid: .*Params"):
        digests_of(package).function_digest("sparrow.methods.lwm", "drawn")


def test_how_figures_look_is_no_code_of_an_analysis(package):
    def digests():
        made = digests_of(package)
        names = [file.stem for file in sorted((package / "analyses").glob("*.py")) if file.stem != "__init__"]
        return {name: made.function_digest(f"sparrow.analyses.{name}", "Params", "analyse") for name in names}

    before = digests()
    edit(package / "results/figures/style.py", "OTHERS, label_of", "OTHERS as REST, label_of")
    assert digests() == before
