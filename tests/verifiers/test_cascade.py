"""A cascade of verifiers: the union of its bounds, helped but never misled by examples, in as much memory as there is."""

from __future__ import annotations

import json
import subprocess
import sys
import types
import weakref
from pathlib import Path

import pandas as pd
import pytest
import torch
from pydantic import ValidationError
from safetensors.torch import save_file
from torch import Tensor, nn

from sparrow import catalogue
from sparrow.data import store
from sparrow.errors import NetworkError, SparrowError
from sparrow.files import examples as examples_file
from sparrow.files.digests import content_digest
from sparrow.files.headers import read_header, sha256
from sparrow.files.outcome_table import ATTACK, FAILED, MISCLASSIFIED, NOTHING
from sparrow.settings import Threat
from sparrow.stages.attack import attack
from sparrow.stages.verify import verify
from sparrow.verification import bounds as _bounds
from sparrow.verification import memory
from sparrow.verification.decision import decide_by
from sparrow.verifiers import cascade, ibp

BOUNDS = ["ibp", "crown-ibp", "crown", "alpha-crown"]
SEARCH = {"domains": 10, "seconds": 10_000.0}
"""Limits of branch and bound that are the same on every machine."""


def _spec(eps: float, bounds: list[str] | None = None, samples: int = 60, **params: object) -> dict:
    verifier = {"kind": "cascade", "bounds": bounds or BOUNDS, "samples": samples, "iterations": 3, **params}
    return {
        "seed": 0,
        "code": "test",
        "model": {"kind": "cnn-small"},
        "verifier": verifier,
        "threat": {"norm": "linf", "eps": eps},
    }


@pytest.fixture
def outcomes(dense: Path, digits: Path, tmp_path: Path):
    """Runs the stage on the digits network; its table."""

    def run(spec: dict, name: str = "table.csv", examples: list[Path] = ()) -> pd.DataFrame:
        verify(dense, digits, tmp_path / name, tmp_path / "cost.json", spec, examples)
        return pd.read_csv(tmp_path / name, keep_default_na=False)

    return run


@pytest.fixture
def attacked(dense: Path, digits: Path, tmp_path: Path):
    """Runs an attack on the digits network; its table, and the file of its examples."""

    def run(kind: str, eps: float, samples: int = 60, **params: object) -> tuple[pd.DataFrame, Path]:
        path = tmp_path / f"{kind}-{eps}.examples"
        spec = {"attack": {"kind": kind, "samples": samples, **params}, "threat": {"norm": "linf", "eps": eps}}
        spec |= {"seed": 0, "code": "test", "model": {"kind": "cnn-small"}}
        attack(dense, digits, tmp_path / "attack.csv", tmp_path / "cost.json", spec, path)
        return pd.read_csv(tmp_path / "attack.csv"), path

    return run


@pytest.mark.parametrize(
    ("eps", "bounds", "samples", "deciders"),
    [
        (0.01, BOUNDS, 60, {"ibp", "crown-ibp"}),
        (0.03, BOUNDS, 50, {"crown-ibp", "crown", NOTHING}),
        (0.1, BOUNDS, 25, {"crown", NOTHING}),
        # What comes first decides, even if something cheaper would have.
        (0.01, ["crown", "ibp"], 40, {"crown"}),
        (0.1, ["crown", "ibp"], 15, {"crown", NOTHING}),
        (0.1, ["crown", "alpha-crown", "branch-and-bound"], 8, {"crown", "branch-and-bound"}),
    ],
)
def test_cascade_verifies_what_one_of_its_bounds_does(
    eps: float, bounds: list[str], samples: int, deciders: set, outcomes
) -> None:
    spec = _spec(eps, bounds, samples, **SEARCH)
    together = outcomes(spec)
    parameters = dict(spec["verifier"])
    parameters.pop("kind")
    alone = {
        kind: outcomes(spec | {"verifier": {"kind": kind, **params.model_dump(exclude_none=True)}})
        for kind, params in cascade.members(cascade.Params(**parameters)).items()
    }
    assert list(alone) == bounds
    for place, row in together.iterrows():
        answers = {kind: table.iloc[place] for kind, table in alone.items()}
        assert {answer["index"] for answer in answers.values()} == {row["index"]}
        verified = [kind for kind, answer in answers.items() if answer["status"] == "verified"]
        if row["label"] != row["prediction"]:
            assert (row["status"], row["decided"]) == ("falsified", MISCLASSIFIED)
        elif verified:
            assert (row["status"], row["decided"]) == ("verified", verified[0])
            assert row["margin"] == pytest.approx(answers[verified[0]]["margin"], abs=1e-4)
            assert row["margin"] > 0
        elif row["status"] == "falsified":
            assert row["decided"] == "branch-and-bound"
            assert row["margin"] <= 0
        else:
            assert (row["status"], row["decided"]) == ("unknown", NOTHING)
            tried = [answer["margin"] for answer in answers.values() if answer["status"] == "unknown"]
            assert len(tried) < len(bounds) or row["margin"] == pytest.approx(max(tried), abs=1e-4)
            assert row["margin"] <= 0
    assert deciders <= set(together["decided"])


def test_misclassified_images_are_falsified(outcomes) -> None:
    table = outcomes(_spec(0.01))
    wrong = table["label"] != table["prediction"]
    assert wrong.any()
    assert set(table.loc[wrong, "status"]) == {"falsified"}
    assert set(table.loc[wrong, "decided"]) == {MISCLASSIFIED}
    assert (table.loc[wrong, "margin"] <= 0).all()
    assert MISCLASSIFIED not in set(table.loc[~wrong, "decided"])


def test_examples_falsify_and_change_nothing_else(outcomes, attacked) -> None:
    tried, examples = attacked("pgd", 0.1, steps=10)
    without, with_them = (outcomes(_spec(0.1, ["ibp", "crown"]), examples=files) for files in ([], [examples]))
    broken = (tried["status"] == "broken") & (tried["label"] == tried["prediction"])
    assert 3 < broken.sum() < 50
    assert (with_them.loc[broken, "decided"] == ATTACK).all()
    assert (with_them.loc[broken, "status"] == "falsified").all()
    assert (with_them.loc[broken, "margin"] <= 0).all()
    assert with_them.loc[broken, "margin"].tolist() == pytest.approx(tried.loc[broken, "margin"].tolist(), abs=1e-3)
    assert (without.loc[broken, "status"] == "unknown").all()
    assert with_them[~broken]["status"].tolist() == without[~broken]["status"].tolist()
    assert with_them[~broken]["margin"].tolist() == pytest.approx(without[~broken]["margin"].tolist(), abs=1e-4)
    assert ATTACK not in set(without["decided"])


def test_examples_of_other_radii_count_where_their_projection_does(outcomes, attacked) -> None:
    # FMN's are as far away as they are; those within the radius count, whatever becomes of the others.
    tried, examples = attacked("fmn", 0.05, steps=40)
    without, with_them = (outcomes(_spec(0.1, ["crown"]), examples=files) for files in ([], [examples]))
    near = (tried["label"] == tried["prediction"]) & (tried["distance"] < 0.0999)
    assert near.sum() > 3
    assert (with_them.loc[near, "decided"] == ATTACK).all()
    assert ((with_them["status"] == "verified") == (without["status"] == "verified")).all()
    assert (with_them["status"] == "verified").any()


def test_each_file_is_asked_about_what_the_ones_before_have_left(outcomes, attacked) -> None:
    (weak, few), (strong, many) = attacked("fgsm", 0.1), attacked("pgd", 0.0999, steps=10)
    either = (weak["status"] == "broken") | (strong["status"] == "broken")
    assert (strong["status"] == "broken").sum() > (weak["status"] == "broken").sum()
    for files in ([few, many], [many, few]):
        table = outcomes(_spec(0.1, ["ibp"]), examples=files)
        assert ((table["status"] == "falsified") == either).all()


def _junk(digits: Path, change) -> tuple[Tensor, Tensor]:
    """All test images, changed, by their indices."""
    part, _ = store.read(digits, "test")
    return part.indices, change(part.images)


JUNK = {
    "the image itself": lambda images: images,
    "no number": lambda images: torch.full_like(images, torch.nan),
    "infinite": lambda images: torch.full_like(images, torch.inf),
    "far away": lambda images: 1 - images,
    "beyond all bounds": lambda images: images - 1e30,
}


@pytest.mark.parametrize("change", JUNK.values(), ids=JUNK)
def test_examples_are_checked_not_trusted(change, outcomes, dense: Path, digits: Path, tmp_path: Path) -> None:
    # At this radius all but a few images are verified: no file can take that away.
    examples_file.write(tmp_path / "junk", *_junk(digits, change), {"network": sha256(dense)})
    without, with_them = (outcomes(_spec(0.005, ["ibp", "crown"]), examples=files) for files in ([], [tmp_path / "junk"]))
    assert (without["status"] == "verified").sum() > 50
    assert with_them["status"].tolist() == without["status"].tolist()
    assert with_them["margin"].tolist() == pytest.approx(without["margin"].tolist(), abs=1e-4)


def test_far_images_would_be_misclassified_unprojected(dense: Path, digits: Path) -> None:
    # Without this, the test above would say nothing.
    from sparrow.files import checkpoint

    part, _ = store.read(digits, "test")
    assert (checkpoint.load(dense).model(1 - part.images).argmax(dim=1) != part.labels).float().mean() > 0.5


def test_examples_of_images_that_are_not_verified_are_ignored(outcomes, dense: Path, tmp_path: Path) -> None:
    origin = {"network": sha256(dense)}
    examples_file.write(tmp_path / "other", torch.tensor([10**6, 10**6 + 1]), torch.rand(2, 1, 8, 8), origin)
    examples_file.write(tmp_path / "none", torch.empty(0, dtype=torch.long), torch.empty(0, 0, 0, 0), origin)
    without, with_them = (
        outcomes(_spec(0.01, ["ibp"]), examples=files) for files in ([], [tmp_path / "other", tmp_path / "none"])
    )
    assert with_them.equals(without)


def test_examples_of_another_shape_are_refused(outcomes, dense: Path, digits: Path, tmp_path: Path) -> None:
    examples_file.write(tmp_path / "wide", *_junk(digits, lambda images: images.repeat(1, 1, 1, 2)), {"network": sha256(dense)})
    with pytest.raises(SparrowError, match=rf"{tmp_path / 'wide'}: .*\(1, 8, 16\).*\(1, 8, 8\)"):
        outcomes(_spec(0.01, ["ibp"]), examples=[tmp_path / "wide"])


def _damage(path: Path, how: str, network: Path) -> None:
    indices, images = torch.tensor([1, 2]), torch.rand(2, 1, 8, 8)
    tensors = {
        "fewer indices": {"indices": indices[:1], "images": images},
        "fractional indices": {"indices": indices.double(), "images": images},
        "whole numbers": {"indices": indices, "images": images.long()},
        "without images": {"indices": indices},
        "without axes": {"indices": torch.tensor(1), "images": torch.tensor(0.5)},
    }
    if how in tensors:
        about = {"network": sha256(network), "content": content_digest(sorted(tensors[how].items()))}
        save_file(tensors[how], path, {"sparrow": json.dumps(about | {"format": examples_file.FORMAT})})
    elif how == "foreign":
        save_file({"indices": indices, "images": images}, path)
    elif how == "truncated":
        examples_file.write(path, indices, images)
        path.write_bytes(path.read_bytes()[:-7])
    elif how == "empty":
        path.touch()
    elif how == "text":
        path.write_text("index,label\n" * 10)


@pytest.mark.parametrize(
    "how",
    [
        "fewer indices",
        "fractional indices",
        "whole numbers",
        "without images",
        "without axes",
        "foreign",
        "truncated",
        "empty",
        "text",
        "missing",
    ],
)
def test_file_that_holds_no_examples_is_refused(how: str, outcomes, dense: Path, tmp_path: Path) -> None:
    path = tmp_path / "damaged"
    _damage(path, how, dense)
    with pytest.raises(SparrowError, match=str(path)):
        outcomes(_spec(0.01, ["ibp"], samples=5), examples=[path])


def test_examples_say_which_network_was_attacked_and_how(attacked, dense: Path) -> None:
    header = read_header(attacked("fgsm", 0.1, samples=5)[1], examples_file.FORMAT)
    config = {"seed": 0, "attack": {"kind": "fgsm", "samples": 5}, "threat": {"norm": "linf", "eps": 0.1}}
    assert (header["network"], header["config"], header["code"]) == (sha256(dense), config, "test")
    assert header["versions"].keys() >= {"torch", "numpy"}
    assert header["device"].startswith("cpu: ")


def test_examples_are_stored_by_index(tmp_path: Path) -> None:
    images = torch.rand(3, 1, 2, 2)
    examples_file.write(tmp_path / "some", torch.tensor([7, 2, 5]), images)
    indices, found = examples_file.read(tmp_path / "some")
    assert indices.tolist() == [2, 5, 7]
    assert torch.equal(found, images[[1, 2, 0]])
    assert [path.name for path in tmp_path.iterdir()] == ["some"]


def test_same_seed_gives_the_same_file(outcomes, tmp_path: Path) -> None:
    for name in ("first", "again"):
        outcomes(_spec(0.1, ["alpha-crown", "branch-and-bound"], samples=4, **SEARCH), name)
    assert (tmp_path / "first").read_bytes() == (tmp_path / "again").read_bytes()


def test_batches_do_not_change_the_outcome(outcomes) -> None:
    whole, parts, slopes = (
        outcomes(_spec(0.03, samples=40, **sizes))
        for sizes in ({}, {"batch_size": 7, "alpha_batch_size": 3}, {"alpha_batch_size": 1})
    )
    assert {"verified", "unknown", "falsified"} == set(whole["status"])
    for other in (parts, slopes):
        assert other["status"].tolist() == whole["status"].tolist()
        assert other["decided"].tolist() == whole["decided"].tolist()
        assert other["margin"].tolist() == pytest.approx(whole["margin"].tolist(), abs=1e-3)


@pytest.mark.parametrize(
    ("params", "named"),
    [
        ({"bounds": ["ibp", "crown", "ibp"]}, "ibp appears 2 times"),
        ({"bounds": ["ibp", "smoothing"]}, "bounds.1"),
        ({"bounds": ["cascade"]}, "bounds.0"),
        ({"bounds": []}, "at least 1"),
        ({"attacks": ["pgd", "pgd"]}, "pgd appears 2 times"),
        ({"memory_mb": 0}, "memory_mb"),
    ],
)
def test_settings_that_make_no_cascade_are_refused(params: dict, named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        cascade.Params(**params)


def test_members_get_the_settings_of_the_cascade() -> None:
    settings = {"samples": 9, "memory_mb": 70, "batch_size": 11, "alpha_batch_size": 5, "iterations": 4, "lr": 0.3}
    params = cascade.Params(bounds=[*BOUNDS, "branch-and-bound"], seconds=2, domains=33, **settings)
    members = {kind: member.model_dump() for kind, member in cascade.members(params).items()}
    assert list(members) == params.bounds
    for member in members.values():
        assert (member["samples"], member["memory_mb"]) == (9, 70)
    assert {members[kind]["batch_size"] for kind in ("ibp", "crown-ibp", "crown")} == {11}
    assert members["alpha-crown"]["batch_size"] == 5
    for kind in ("alpha-crown", "branch-and-bound"):
        assert (members[kind]["iterations"], members[kind]["lr"]) == (4, 0.3)
    assert (members["branch-and-bound"]["seconds"], members["branch-and-bound"]["domains"]) == (2, 33)


FULL = {
    "python": MemoryError(),
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"),
    "torch": RuntimeError(
        "[enforce fail at alloc_cpu.cpp:127] err == 0. DefaultCPUAllocator: can't allocate memory: you tried"
    ),
    "oneDNN": RuntimeError("could not create a primitive"),
    "C++": RuntimeError("std::bad_alloc"),
}
"""What libraries say when there is no more memory."""


def _accept(part: Tensor, found: None) -> None:
    """The work of these tests speaks for itself."""


@pytest.mark.parametrize(("count", "size", "fits"), [(8, 8, 2), (7, 4, 3), (5, 100, 1), (4, 2, 2), (0, 3, 1)])
def test_what_does_not_fit_is_halved(count: int, size: int, fits: int) -> None:
    done, tried = [], []

    def work(part: Tensor) -> list[int]:
        tried.append(len(part))
        if len(part) > fits:
            raise MemoryError
        return part.tolist()

    def accept(part: Tensor, found: list[int]) -> None:
        assert found == part.tolist()
        done.extend(found)

    indices = torch.arange(count) * 3
    memory.in_parts(work, accept, indices, size, "crown")
    assert done == indices.tolist()
    assert max(tried, default=0) == min(count, size)


@pytest.mark.parametrize("error", FULL.values(), ids=FULL)
def test_memory_that_runs_out_is_recognised(error: Exception) -> None:
    done = []

    def work(part: Tensor) -> None:
        if len(part) > 1:
            raise error
        done.extend(part.tolist())

    memory.in_parts(work, _accept, torch.tensor([5, 9]), 2, "crown")
    assert done == [5, 9]


def test_halves_are_no_smaller_than_needed(capsys: pytest.CaptureFixture) -> None:
    tried = []

    def work(part: Tensor) -> None:
        tried.append(len(part))
        if len(part) > 2:
            raise MemoryError

    memory.in_parts(work, _accept, torch.arange(8), 8, "crown")
    assert tried == [8, 4, 2, 2, 4, 2, 2]
    assert "crown: 8 images do not fit into memory; trying 4" in capsys.readouterr().out


def test_failed_attempt_is_forgotten_before_the_next() -> None:
    # Otherwise the next would have what is left beside it.
    held = []

    def work(part: Tensor) -> None:
        assert all(reference() is None for reference in held)
        if len(part) > 1:
            large = torch.zeros(100)
            held.append(weakref.ref(large))
            # As the parts of auto_LiRPA's networks do, it takes part in a circle of references.
            circle = [large]
            circle.append(circle)
            raise MemoryError

    memory.in_parts(work, _accept, torch.arange(4), 4, "crown")
    assert len(held) == 3


@pytest.mark.parametrize("error", [RuntimeError("sizes do not match"), ValueError("memory"), KeyError(1), NetworkError("no")])
def test_other_errors_pass_through(error: Exception) -> None:
    tried = []

    def work(part: Tensor) -> None:
        tried.append(part)
        raise error

    with pytest.raises(type(error)) as caught:
        memory.in_parts(work, _accept, torch.arange(8), 4, "crown")
    assert caught.value is error
    assert len(tried) == 1


def test_single_image_that_does_not_fit_is_left_out_and_told_of(capsys: pytest.CaptureFixture[str]) -> None:
    done = []

    def work(part: Tensor) -> None:
        if 1 in part:
            raise FULL["torch"]
        done.extend(part.tolist())

    memory.in_parts(work, _accept, torch.arange(3), 3, "crown")
    assert done == [0, 2]
    assert "crown: an image does not fit into memory alone and stays undecided; raise memory_mb" in capsys.readouterr().out


def test_no_memory_for_the_bounds_is_not_a_network_that_cannot_be_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    # It would be written down as the network's failure, instead of being tried with half as many images.
    def full(*unused: object, **unused_too: object) -> None:
        raise FULL["torch"]

    monkeypatch.setattr("sparrow.verification.auto_lirpa_bridge.auto_lirpa", lambda: types.SimpleNamespace(BoundedModule=full))
    with pytest.raises(RuntimeError, match="can't allocate memory"):
        _bounds.bounded(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), torch.rand(1, 1, 2, 2))


def _in_a_process_of_its_own(script: str, *arguments: object) -> str:
    """What `script` prints: memory that this process has taken and kept would not be counted."""
    command = [sys.executable, "-W", "ignore", "-c", script, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, env=_environment())
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


def _environment() -> dict[str, str]:
    import os

    return os.environ | {"PYTHONPATH": str(Path(memory.__file__).parents[2]), "OMP_NUM_THREADS": "1"}


LINUX = pytest.mark.skipif(sys.platform != "linux", reason="the limit on data is Linux's")


@LINUX
def test_limit_holds_inside_and_not_outside() -> None:
    script = """
import resource, torch
from sparrow.verification.memory import in_parts, memory_limited
before = resource.getrlimit(resource.RLIMIT_DATA)
def work(part):
    torch.ones(2**20 * len(part) * 100, dtype=torch.uint8)
    print("done", len(part))
with memory_limited(300):
    torch.ones(2**20 * 100, dtype=torch.uint8)
    in_parts(work, lambda part, found: None, torch.arange(4), 4, "four")
    try:
        work(torch.arange(4))
    except RuntimeError:
        print("refused")
assert resource.getrlimit(resource.RLIMIT_DATA) == before
work(torch.arange(4))
try:
    with memory_limited(1):
        1 / 0
except ZeroDivisionError:
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
with memory_limited(None):
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    work(torch.arange(4))
"""
    lines = _in_a_process_of_its_own(script).splitlines()
    assert lines == [
        "four: 4 images do not fit into memory; trying 2",
        "done 2",
        "done 2",
        "refused",
        "done 4",
        "done 4",
    ]


@LINUX
def test_little_memory_does_not_change_the_outcome(dense: Path, digits: Path, tmp_path: Path) -> None:
    script = """
import json, sys, torch
from pathlib import Path
torch.set_num_threads(1)
from sparrow.stages.verify import verify
from sparrow.verification import crown
crown.traced = lambda *given: None  # By auto_LiRPA: the own bounds need less than any limit.
network, data, folder = map(Path, sys.argv[1:])
for name, limit in (("little", 150), ("much", None)):
    verifier = {"kind": "crown", "memory_mb": limit}
    spec = {"seed": 0, "code": "test", "model": {"kind": "cnn-small"}, "verifier": verifier}
    spec["threat"] = {"norm": "linf", "eps": 0.05}
    print(name)
    verify(network, data, folder / name, folder / "cost.json", spec)
"""
    little, much = _in_a_process_of_its_own(script, dense, digits, tmp_path).split("much\n")
    assert "do not fit into memory; trying" in little
    assert "do not fit" not in much
    tables = [pd.read_csv(tmp_path / name) for name in ("little", "much")]
    assert {"verified", "unknown", "falsified"} == set(tables[0]["status"])
    assert tables[0]["status"].tolist() == tables[1]["status"].tolist()
    assert tables[0]["margin"].tolist() == pytest.approx(tables[1]["margin"].tolist(), abs=1e-4)


def _unknown_layer() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(16, 6), nn.Softshrink(), nn.Linear(6, 4)).eval()


def _unknown_layer_between_convolutions() -> nn.Sequential:
    layers = nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Hardshrink(), nn.Conv2d(3, 5, 2), nn.Flatten(), nn.Linear(5, 4)
    return nn.Sequential(*layers).eval()


@pytest.mark.parametrize(
    ("build", "named"),
    [(_unknown_layer, r"layer 2 \(Softshrink\)"), (_unknown_layer_between_convolutions, r"layer 2 \(Hardshrink\)")],
)
@pytest.mark.parametrize("kind", ["ibp", "alpha-crown", "branch-and-bound", "cascade"])
def test_layer_that_cannot_be_bounded_is_named(kind: str, build, named: str) -> None:
    model, images = build(), torch.rand(2, 1, 4, 4)
    labels, before = model(images).argmax(dim=1), model(images)
    entry = catalogue.load("verifiers", kind)
    with pytest.raises(NetworkError, match=named):
        decide_by(entry, kind, model, images, labels, entry.Params(), Threat(eps=1e-4), 4)
    assert torch.equal(model(images), before)
    assert not any(module._forward_hooks for module in model.modules())


@pytest.mark.parametrize("kind", ["crown", "alpha-crown", "branch-and-bound"])
def test_layer_on_which_bounds_fail_only_later_is_the_network_s_fault_too(kind: str) -> None:
    # auto_LiRPA takes the pooling, and gives up on windows that overlap when CROWN comes to it.
    pooled = nn.Conv2d(1, 2, 3, padding=1), nn.MaxPool2d(3, 1, 1), nn.Flatten(), nn.Linear(32, 6), nn.ReLU(), nn.Linear(6, 4)
    model = nn.Sequential(*pooled).eval()
    images, entry = torch.rand(2, 1, 4, 4), catalogue.load("verifiers", kind)
    labels = model(images).argmax(dim=1)
    with pytest.raises(NetworkError, match="auto_LiRPA cannot bound"):
        decide_by(entry, kind, model, images, labels, entry.Params(), Threat(eps=1e-4), 4)


@pytest.mark.parametrize("bounds", [None, ["ibp"]])
def test_network_whose_bound_is_no_number_is_a_result(
    bounds: list[str] | None, dense: Path, digits: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By itself, and where a cascade has nothing else.
    monkeypatch.setattr(ibp, "bound", lambda model, images, *rest: torch.full((len(images),), torch.nan))
    spec = _spec(0.01, bounds) if bounds else _spec(0.01) | {"verifier": {"kind": "ibp", "samples": 20}}
    said = verify(dense, digits, tmp_path / "table.csv", tmp_path / "cost.json", spec)
    assert "ibp gave a bound that is not a number" in said
    table = pd.read_csv(tmp_path / "table.csv")
    assert list(table) == FAILED
    assert len(table) == 1
    assert table["failed"].item().endswith("ibp gave a bound that is not a number")
