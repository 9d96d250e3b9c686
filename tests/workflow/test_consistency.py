"""What is not of a study is refused by name before a table is written: on files that real jobs have made."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from safetensors import safe_open
from safetensors.numpy import save_file

from sparrow.errors import SparrowError
from sparrow.files import checkpoint
from sparrow.files.content import of_spec
from sparrow.files.lineage import chain
from sparrow.results.consistency import aggregate_consistent
from sparrow.results.figures.curves import draw_curves
from sparrow.results.timings import write_timings
from sparrow.study import analyses, analysis_tables, cells, job_specs
from sparrow.study.expected import expected
from sparrow.study.load import load_study
from tests.workflow.conftest import SWEPT, TINY, Checkout

SEED = Path("results/digits/cnn-small/benign/seed0")
CELL = SEED / "lwm-0.90"
NETWORK = CELL / "finetuned.safetensors"
OTHERWISE = "was made under another configuration:"
TABLES = ("outcomes", "summary", "layers", "recall", "ranking", "security", "intensification", "decisions")


def aggregated(changes: dict | None = None, of: dict = SWEPT) -> None:
    """Aggregate the results in this folder as those of the study, changed at the keys (`a.b.c`) of `changes`."""
    told = yaml.safe_load(yaml.safe_dump(of))  # The order is that of the file.
    for key, value in (changes or {}).items():
        *above, last = key.split(".")
        place = told
        for name in above:
            place[name] = place = dict(place[name] or {})
        place[last] = value
    study, root = load_study(told), Path("results")
    evaluated = list(cells.evaluated(study))
    networks = [root / f"{one.path}.safetensors" for one in evaluated]
    analysed = [root / f"{job.path}.csv" for job in analyses.all_jobs(study, timed=False)]
    summary = Path("tables/summary.csv")
    aggregate_consistent(networks, analysed, summary, job_specs.aggregate_spec(study), expected(study))


def refused(changes: dict | None = None, of: dict = SWEPT) -> str:
    """Why aggregation refuses the results in this folder, before it has written anything."""
    with pytest.raises(SparrowError) as caught:
        aggregated(changes, of)
    assert not Path("tables").exists()
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def results(swept: Checkout, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a copy of the results of the study of several radii, in which the test runs."""
    shutil.copytree(swept.root / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    return tmp_path / "results"


def test_what_is_of_the_study_is_aggregated(results: Path) -> None:
    aggregated()
    for name in TABLES:
        assert Path(f"tables/{name}.csv").read_bytes() == (results / f"{name}.csv").read_bytes()


def test_a_method_that_trains_was_told_how(finished: Checkout, tmp_path: Path, monkeypatch) -> None:
    shutil.copytree(finished.root / "results", tmp_path / "results")
    monkeypatch.chdir(tmp_path)
    aggregated(of=TINY)
    shutil.rmtree("tables")
    said = refused({"training.prune.epochs": 3}, of=TINY)
    assert f"{SEED}/harp-0.90/pruned.safetensors: was made under another configuration: schedule.epochs is 2, " in said


CHANGED = {
    "fine-tuning": (
        {"training.finetune.epochs": 3},
        f"{NETWORK}: {OTHERWISE} schedule.epochs is 2, ",
    ),
    "pre-training": (
        {"training.pretrain.lr": 0.5},
        f"{SEED}/dense.safetensors: {OTHERWISE} schedule.lr",
    ),
    "a method": (
        {"methods.lwm.allocation": "global"},
        f"lwm-0.90/pruned.safetensors: {OTHERWISE} method.allocation is 'uniform', the study says 'global'",
    ),
    "the data set": (
        {"datasets.digits": {"validation": 0.3}},
        "digits/data.safetensors: was prepared under another configuration: dataset.validation is 0.15, the study says 0.3",
    ),
    "its augmentation": ({"datasets.digits": {"augmentation": {"crop": 1}}}, "augmentation.crop is 0, the study says 1"),
    "an attack": (
        {"attacks.pgd.steps": 3},
        f"{SEED}/dense/attacks/pgd-eps0.05.csv: is about another configuration (column spec ",
    ),
    "a verifier": (
        {"verifiers.cascade.bounds": ["ibp"]},
        f"{SEED}/dense/verifiers/cascade-eps0.05.csv: is about another configuration (column spec ",
    ),
    "the images": ({"attacks.fmn.samples": 19}, f"{SEED}/dense/attacks/fmn.csv: is about another configuration"),
    "stable ReLUs": (
        {"analyses.stability.samples": 10},
        f"{SEED}/dense/analyses/stability.csv: is about another configuration (column spec ",
    ),
}


@pytest.mark.parametrize(("changes", "message"), CHANGED.values(), ids=CHANGED)
def test_what_was_made_under_another_configuration_is_refused(results: Path, changes: dict, message: str) -> None:
    """Such as after `--touch`, with `--rerun-triggers mtime`, and where results were copied without `.snakemake`."""
    said = refused(changes)
    assert message in said
    assert "delete what is not of this study and run again" in said


def cut(path: Path, rows: int) -> None:
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:-rows]))


CUT = {
    "an attack": ("attacks/pgd.csv", 8, r"lacks 8 of the 20 test images that the study says \(image \d+\)"),
    "a cascade": ("verifiers/cascade.csv", 4, r"lacks 4 of the 20 test images that the study says \(image \d+\)"),
    "layers": ("analyses/stability.csv", 1, "has 2 rows, and had 3 when it was written"),
}


@pytest.mark.parametrize(("name", "rows", "message"), CUT.values(), ids=CUT)
def test_a_table_that_was_cut_at_a_line_is_refused(results: Path, name: str, rows: int, message: str) -> None:
    path = NETWORK.with_suffix("") / name
    cut(path, rows)
    with pytest.raises(SparrowError, match=rf"^{path}: {message}; delete"):
        aggregated()


def test_latencies_that_were_cut_or_are_about_another_network_are_refused(results: Path) -> None:
    study = load_study(SWEPT)
    told = analysis_tables.collect_spec(study, timed=True)
    specs = {job.place: of_spec(analyses.spec(study, job).model_dump()) for job in analyses.jobs(study, "latency")}
    path = SEED / "analyses/latency.csv"
    write_timings(results / "summary.csv", [path], Path("whole.csv"), told, specs)
    assert Path("whole.csv").read_bytes() == (results / "latency.csv").read_bytes()
    with pytest.raises(SparrowError, match=rf"^{path}: is about another configuration \(column spec \w+, expected other\)"):
        write_timings(results / "summary.csv", [path], Path("cut.csv"), told, dict.fromkeys(specs, "other"))
    whole = path.read_text()
    cut(path, 1)
    with pytest.raises(SparrowError, match=f"^{path}: has 2 rows, and had 3 when it was written; delete it and run again"):
        write_timings(results / "summary.csv", [path], Path("cut.csv"), told, specs)
    network = path.read_text().splitlines()[1].split(",")[-3]
    path.write_text(whole.replace(network, "f" * 16))
    with pytest.raises(SparrowError, match=rf"^{path}: is about another network than lies there now \(column network ffff"):
        write_timings(results / "summary.csv", [path], Path("cut.csv"), told, specs)
    assert not Path("cut.csv").exists()


def test_a_curve_that_was_cut_is_not_drawn(results: Path) -> None:
    path = SEED / "dense.curve.csv"
    spec = {"dataset": "digits", "model": "cnn-small", "objectives": ["benign"], "code": "test", "stage": "finetuned"}
    spec["runs"] = [{"stage": "dense", "objective": "benign", "method": "dense", "ratio": 0.0}]
    draw_curves([path], Path("a.svg"), Path("a.png"), spec)
    cut(path, 1)
    with pytest.raises(SparrowError, match=f"^{path}: not the curve that was written with dense.safetensors"):
        draw_curves([path], Path("b.svg"), Path("b.png"), spec)
    assert not Path("b.svg").exists()


def content_of(path: Path) -> str:
    with safe_open(path, framework="np") as file:
        return json.loads(file.metadata()["sparrow"])["content"]


def changed(path: Path, change: Callable[[dict], None]) -> None:
    """Other tensors behind the same header."""
    with safe_open(path, framework="np") as file:
        tensors, metadata = {name: file.get_tensor(name).copy() for name in file.keys()}, file.metadata()  # noqa: SIM118
    change(tensors)
    save_file(tensors, path, metadata)


def test_a_weight_that_was_changed_is_seen_wherever_the_file_is_read(results: Path) -> None:
    def change(tensors: dict) -> None:
        tensors["weight/7.bias"][3] += 1

    changed(NETWORK, change)
    message = rf"^{NETWORK}: its content is not what its header says \(digest \w+, the header names \w+\): it was changed"
    with pytest.raises(SparrowError, match=message):
        checkpoint.load(NETWORK)
    # What was made of it is not what is blamed.
    assert refused().startswith(f"{NETWORK}: its content is not what its header says")
    assert chain(NETWORK)[-1].state == "CHANGED"


def test_a_dense_network_that_was_changed_is_seen_by_lineage(results: Path) -> None:
    """Such as the entry of the cache that all workflows share, which becomes everyone's dense network."""

    def change(tensors: dict) -> None:
        tensors["weight/0.weight"][0] = 0

    changed(SEED / "dense.safetensors", change)
    assert [link.state for link in chain(SEED / "dense.safetensors")] == ["CHANGED"]


def test_labels_that_were_changed_are_the_data_sets_fault(results: Path) -> None:
    def change(tensors: dict) -> None:
        tensors["test/labels"][:5] = 0

    changed(results / "digits/data.safetensors", change)
    assert "digits/data.safetensors: its content is not what its header says" in refused()


def test_a_table_of_another_network_is_refused(results: Path) -> None:
    shutil.copy(SEED / "dense/attacks/pgd.csv", NETWORK.with_suffix("") / "attacks/pgd.csv")
    said = refused()
    assert f"{NETWORK.with_suffix('')}/attacks/pgd.csv: is about another network than lies there now (column network " in said


def test_a_network_in_anothers_place_is_refused(results: Path) -> None:
    shutil.copy(CELL / "pruned.safetensors", NETWORK)
    said = refused()
    assert f"{NETWORK}: lies where another network belongs: stage is 'pruned', the study says 'finetuned'" in said


def test_another_teacher_than_a_network_learned_from_is_refused(results: Path) -> None:
    with safe_open(NETWORK, framework="np") as file:
        tensors, header = {name: file.get_tensor(name) for name in file.keys()}, json.loads(file.metadata()["sparrow"])  # noqa: SIM118
    header["config"]["distillation"] = {"teacher": "dense", "alpha": 1.0, "temperature": 30.0}
    save_file(tensors, NETWORK, {"sparrow": json.dumps(header | {"teacher": "0" * 64})})
    said = refused({"training.finetune.distillation": {}})
    assert said.startswith(f"{NETWORK}: learned from another {SEED}/dense.safetensors than lies there now (sha256 ")
    assert "its header names 000000" in said


def test_how_many_files_are_wrong_is_said(results: Path, capsys: pytest.CaptureFixture) -> None:
    said = refused({"attacks.pgd.steps": 3})
    found = [line for line in capsys.readouterr().out.splitlines() if "is about another configuration" in line]
    # Two radii of four networks.
    assert len(found) == 8
    assert "(8 such files; the log of aggregate names all)" in said


def test_a_results_folder_that_was_copied_is_refused(swept: Checkout, checkout: Checkout) -> None:
    shutil.copytree(swept.root / "results", checkout.root / "results")
    checkout.write(SWEPT | {"training": SWEPT["training"] | {"finetune": {"epochs": 3, "batch_size": 256}}})
    (checkout.root / "results/summary.csv").unlink()
    done = checkout.snakemake()
    assert done.returncode == 1
    assert "finetuned.safetensors: was made under another configuration: schedule.epochs is 2, the study says 3" in done.stderr
    assert not (checkout.root / "results/summary.csv").exists()
