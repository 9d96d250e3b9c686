"""Timing networks beside their dense one: what the numbers are made of, and who is timed; never how fast anything is."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
import torch
from matplotlib.figure import Figure
from PIL import Image

from sparrow.analyses.latency import draw, turns
from sparrow.errors import NetworkError, SparrowError
from sparrow.exchange import onnx_file
from sparrow.files import checkpoint
from sparrow.files.content import of_spec
from sparrow.files.outcome_table import FAILED
from sparrow.files.specs import Spec
from sparrow.networks.cutting import cut
from sparrow.results.figures import style
from sparrow.results.timings import write_timings
from sparrow.stages._evaluation import origin
from sparrow.stages._failure import failed_checkpoint
from sparrow.stages.analyse import analyse
from sparrow.study import analyses
from sparrow.study.load import load_study
from tests.analyses.jobs import columns, configured_of, tables
from tests.conftest import write_failed
from tests.study.test_config import changed, complaints

SPEC_OF_JOB = {"code": "test", "model": {"kind": "cnn-small"}, "seed": 3}
CONFIGURED = {"latency": configured_of("latency")}
SHOWN = list(tables("latency")["latency"])
FAMILY = "digits/cnn-small/benign/seed3"


def place(root: Path, name: str = "latency") -> Path:
    """Where a table of latencies lies."""
    return root / FAMILY / f"analyses/{name}.csv"


QUICK = {"batch_sizes": [1, 3], "runtimes": ["torch"], "threads": 1, "repeats": 6}


@pytest.fixture
def timed(family: SimpleNamespace, tmp_path: Path):
    """Times the networks of a family; the table."""

    def run(**params: object) -> pd.DataFrame:
        spec = SPEC_OF_JOB | {"analysis": {"kind": "latency"} | QUICK | params}
        output = place(tmp_path)
        output.parent.mkdir(parents=True, exist_ok=True)
        analyse(output, tmp_path / "cost.json", spec, family.data, [family.finetuned], [family.dense])
        return pd.read_csv(output)

    return run


@pytest.fixture
def without_filters(family: SimpleNamespace) -> None:
    """The pruned network of the family without every second filter of its first layer."""
    loaded = checkpoint.load(family.finetuned)
    masks = {name: torch.ones_like(mask) for name, mask in loaded.masks.items()}
    masks["0.weight"][::2] = False
    masks["0.bias"] = masks["0.weight"][:, 0, 0, 0].clone()
    for name in ("0.weight", "0.bias"):
        loaded.model.get_parameter(name).data.mul_(masks[name])
    smaller, masks, kept, _ = cut(loaded.model, (1, 8, 8), masks, torch.rand(2, 1, 8, 8))
    checkpoint.save(family.finetuned, checkpoint.Checkpoint(smaller, masks, loaded.header, kept))


def test_every_network_is_timed_in_every_form(timed, without_filters) -> None:
    table = timed()
    assert list(table.columns) == columns("latency")
    who = table[["method", "ratio", "stage", "form", "batch_size"]].to_numpy().tolist()
    assert who == [
        ["dense", 0.0, "dense", "dense", 1],
        ["dense", 0.0, "dense", "dense", 3],
        *(["lwm", 0.5, "finetuned", form, size] for size in (1, 3) for form in ("masked", "compact")),
    ]
    assert set(table["threads"]) == {1}
    assert (table["milliseconds"] > 0).all()
    assert ((table["speedup_low"] <= table["speedup"]) & (table["speedup"] <= table["speedup_high"])).all()


def test_onnx_runtime_is_beside_torch(timed, without_filters) -> None:
    table = timed(runtimes=["torch", "onnxruntime"], batch_sizes=[2])
    assert table["runtime"].tolist() == ["torch", "onnxruntime"] * 3


def test_networks_take_turns() -> None:
    order = []

    def run(name: str, seconds: float):
        def look(images: torch.Tensor) -> None:
            order.append(name)
            time.sleep(seconds)

        return look

    seconds = turns([run("slow", 0.03), run("fast", 0.002)], torch.zeros(1), 6)
    assert seconds.shape == (2, 6)
    # In every turn the fast one looks as often as fits into it.
    assert (seconds[0] >= 0.03).all()
    assert (seconds[1] >= 0.002).all()
    changes = [name for place, name in enumerate(order) if place == 0 or order[place - 1] != name]
    assert len(changes) > 6
    assert order.count("slow") < order.count("fast")


def test_a_pruned_network_that_failed_is_left_out(timed, family) -> None:
    failed_checkpoint("diverged", family.finetuned, "finetuned", {"method": "lwm", "ratio": 0.5})
    assert set(timed()["method"]) == {"dense"}


def test_a_network_that_lost_single_weights_has_one_form(timed) -> None:
    assert set(timed()["form"]) == {"dense", "masked"}


def test_a_masked_twin_that_cannot_be_had_takes_nothing_from_the_network_itself(timed, without_filters, monkeypatch) -> None:
    def refused(path: Path, loaded: object) -> None:
        raise NetworkError(f"{path}: no twin")

    monkeypatch.setattr(checkpoint, "expanded", refused)
    assert set(timed()["form"]) == {"dense", "compact"}


@pytest.mark.parametrize("which", ["dense", "finetuned"])
def test_a_network_whose_logits_are_no_numbers_is_not_timed(timed, family, which) -> None:
    loaded = checkpoint.load(getattr(family, which))
    for parameter in loaded.model.parameters():
        parameter.data = torch.where(parameter == 0, parameter, torch.tensor(3e38))
    checkpoint.save(getattr(family, which), loaded)
    table = timed()
    if which == "dense":
        assert "logits are not finite" in table.iloc[0, 0]
    else:
        assert set(table["method"]) == {"dense"}


def test_a_runtime_that_gives_other_logits_is_left_out(timed, monkeypatch) -> None:
    monkeypatch.setattr(onnx_file, "TOLERANCE", -1.0)
    assert set(timed(runtimes=["torch", "onnxruntime"], batch_sizes=[2])["runtime"]) == {"torch"}


def test_more_threads_than_the_job_has_are_refused(timed) -> None:
    with pytest.raises(SparrowError) as caught:
        timed(threads=64)
    assert str(caught.value) == "threads: 64, but a job here has 1; valid: no more than that"


def test_of_a_dense_network_that_failed_nothing_is_timed(timed, family) -> None:
    failed_checkpoint("diverged", family.dense, "dense", {})
    table = timed()
    assert list(table.columns) == FAILED
    assert "diverged" in table.iloc[0, 0]


@pytest.fixture
def summary(family: SimpleNamespace, tmp_path: Path) -> Path:
    """The summary of the family's two networks."""
    who = {"dataset": "digits", "model": "cnn-small", "objective": "benign", "seed": 3}
    rows = [
        who | {"method": "dense", "ratio": "0.0", "stage": "dense", "granularity": None},
        who | {"method": "lwm", "ratio": "0.5", "stage": "finetuned", "granularity": "filter"},
    ]
    preserved = {"constant": False, "preserved_era": 0.8, "preserved_era_low": 0.7, "preserved_era_high": 0.9}
    path = tmp_path / "summary.csv"
    of = (origin(network, family.data, Spec(code="test")) for network in (family.dense, family.finetuned))
    rows = [row | preserved | {"network": network, "data": data} for row, (network, data, _) in zip(rows, of, strict=True)]
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


SPECS = {FAMILY: of_spec(SPEC_OF_JOB | {"analysis": {"kind": "latency"} | QUICK})}


def test_latencies_stand_beside_what_is_preserved(timed, without_filters, summary, tmp_path) -> None:
    table, failed, output = timed(), place(tmp_path / "failed"), tmp_path / "all.csv"
    failed.parent.mkdir(parents=True)
    write_failed(failed, "the loss is nan")
    write_timings(summary, [failed, place(tmp_path)], output, CONFIGURED, SPECS)
    found = pd.read_csv(output)
    assert found[SHOWN].equals(table[SHOWN])
    assert set(found["preserved_era"]) == {0.8}
    assert found["granularity"].fillna("").tolist() == [""] * 2 + ["filter"] * 4
    write_timings(summary, [failed], output, CONFIGURED, SPECS)
    assert pd.read_csv(output)[["method", "milliseconds"]].fillna(-1).to_numpy().tolist() == [["dense", -1], ["lwm", -1]]
    failed.write_text("index,label\n1,2\n")
    with pytest.raises(SparrowError, match=r"latency\.csv: has the columns"):
        write_timings(summary, [failed], output, CONFIGURED, SPECS)


def test_a_variant_of_the_dense_network_is_not_timed_and_has_no_row(timed, summary, tmp_path) -> None:
    timed()
    table = pd.read_csv(summary, dtype={"ratio": str})
    rounded = table.iloc[[0]].assign(method="dense+int8", stage="dense+int8", network="123")
    pd.concat([table, rounded]).to_csv(summary, index=False)
    write_timings(summary, [place(tmp_path)], tmp_path / "all.csv", CONFIGURED, SPECS)
    assert set(pd.read_csv(tmp_path / "all.csv")["stage"]) == {"dense", "finetuned"}


SPEC = {"dataset": "digits", "model": "cnn-small", "objectives": ["benign"], "stage": "finetuned", "code": "test"}
SPEC["threats"] = {"benign": {"norm": "linf", "eps": 0.1}}


def test_the_figure_is_the_same_to_the_byte_and_draws_each_form(timed, summary, tmp_path) -> None:
    timed()
    source, folders = tmp_path / "all.csv", [tmp_path / "one", tmp_path / "two"]
    write_timings(summary, [place(tmp_path)], source, CONFIGURED, SPECS)
    for folder in folders:
        folder.mkdir()
        draw(source, folder / "a.svg", folder / "a.png", SPEC)
    assert [(folders[0] / name).read_bytes() == (folders[1] / name).read_bytes() for name in ("a.svg", "a.png")] == [True] * 2
    drawn = Image.open(folders[0] / "a.png").convert("RGB").getcolors(1 << 20)
    # The colour of the only method.
    assert sum(count for count, colour in drawn if colour == (0, 0x72, 0xB2)) > 50
    pd.read_csv(source).iloc[:0].to_csv(source, index=False)
    draw(source, folders[1] / "a.svg", folders[1] / "a.png", SPEC)
    assert (folders[0] / "a.png").read_bytes() != (folders[1] / "a.png").read_bytes()


def test_dense_networks_have_to_be_evaluated() -> None:
    (line,) = complaints(changed(("analyses", {"latency": None}), ("evaluate", ["finetuned"])))
    assert (
        line == "config.yaml: analyses.latency: compares networks with their dense one, which evaluate leaves out; add 'dense'"
    )


@pytest.mark.parametrize(
    ("key", "value"), [("batch_sizes", []), ("batch_sizes", [0]), ("runtimes", ["tflite"]), ("repeats", 5), ("threads", 0)]
)
def test_what_cannot_be_timed_is_refused(key, value) -> None:
    (line,) = complaints(changed(("analyses", {"latency": {key: value}})))
    assert line.startswith(f"config.yaml: analyses.latency.{key}")


def test_another_way_of_timing_times_again_and_another_attack_does_not() -> None:
    def spec(*changes):
        study = load_study(changed(*changes))
        return analyses.spec(study, next(analyses.jobs(study, "latency")))

    base = spec(("analyses", {"latency": None}))
    assert spec(("analyses", {"latency": {"threads": 2}})) != base
    assert spec(("analyses", {"latency": None}), ("attacks.pgd.steps", 3)) == base


def test_of_many_methods_those_without_their_filters_have_their_names_beside_them(tmp_path, monkeypatch) -> None:
    who = {"dataset": "digits", "model": "cnn-small", "objective": "benign", "stage": "finetuned", "seed": 0, "constant": False}
    timed = {"runtime": "torch", "batch_size": 1, "speedup": 1.0, "preserved_era": 0.9, "era": 0.5}
    rows = [
        who | timed | {"method": f"method-{number}", "ratio": ratio, "granularity": "weight", "form": "masked"}
        for number in range(9)
        for ratio in (0.5, 0.9)
    ]
    for form, speedup in (("masked", 1.0), ("compact", 3.0)):
        # The worst of all, and so without a colour.
        slow = {"method": "filters-first", "granularity": "filter", "form": form, "speedup": speedup, "era": 0.1}
        rows += [who | timed | slow | {"ratio": ratio} for ratio in (0.5, 0.9)]
    pd.DataFrame(rows).to_csv(tmp_path / "all.csv", index=False)
    caught: list[Figure] = []
    monkeypatch.setattr(style, "write", lambda figure, svg, png: caught.append(figure))
    draw(tmp_path / "all.csv", tmp_path / "a.svg", tmp_path / "a.png", SPEC)
    texts = [text for text in caught[0].axes[0].texts if text.get_text()]
    assert [text.get_text() for text in texts] == ["filters-first (filters)"]
    assert texts[0].xy == (3.0, pytest.approx(90))
    style.plt.close(caught[0])
