"""What a run leaves behind, and what it does with bad input."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import pty
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import pandas as pd
import pytest

from sparrow.files import checkpoint
from sparrow.files.headers import read_header, sha256
from sparrow.files.lineage import chain
from sparrow.study import cells, job_specs
from sparrow.study.load import load_study
from tests.workflow.conftest import REPOSITORY, TINY, Checkout

DENSE = "results/digits/cnn-small/benign/seed0/dense"


def test_all_results_are_there(finished: Checkout) -> None:
    summary = pd.read_csv(finished.root / "results/summary.csv")
    assert sorted(summary["method"]) == ["dense", "harp", "hydra", "lwm"]
    assert {"benign", "era", "era_fgsm", "vra", "vra_alpha-crown", "preserved_era"} <= set(summary.columns)
    costs = pd.read_csv(finished.root / "results/costs.csv")
    # The data set, an initial and a dense network, three pruned and fine-tuned, four evaluated in four ways.
    assert len(costs) == 1 + 2 + 3 * 2 + 4 * 4
    figures = ["accuracy", "preservation", "sparsity", "ranking", "recall", "robustness", "decisions", "curves", "traces"]
    for figure in figures:
        for suffix in ("svg", "png", "pdf"):
            assert (finished.root / f"results/figures/digits.cnn-small.{figure}.{suffix}").stat().st_size > 1000
    # At one radius there is no curve to draw, and nobody has counted ReLUs.
    assert len(list((finished.root / "results/figures").iterdir())) == 3 * len(figures)
    for table in ("summary", "costs", "ranking", "provenance", "environment"):
        assert "</table>" in (finished.root / f"results/tables/{table}.html").read_text(encoding="utf-8")


def test_the_page_of_the_study_carries_its_figures_and_tables_and_is_small(finished: Checkout) -> None:
    page = (finished.root / "results/tables/report.html").read_text(encoding="utf-8")
    assert "What was found" in page
    assert page.count("data-svg=") == 9
    assert {f'data-file="{name}.csv"' for name in ("summary", "ranking", "costs")} <= set(
        re.findall(r'data-file="[^"]+"', page)
    )
    assert {"datatables.js", "vega.js"} <= set(re.findall(r'data-library="([^"]+)"', page))
    assert len(page) < 3_000_000


def test_a_study_without_gaps_has_no_warning_but_of_what_two_epochs_are_too_few_for(finished: Checkout) -> None:
    search, network = [line for line in finished.said.splitlines() if "warning:" in line]
    assert search.startswith(f"warning: {DENSE.removesuffix('dense')}harp-0.90/pruned.safetensors: methods.harp: ")
    assert network.startswith("warning: the dense networks of digits/cnn-small/benign are not told from chance")
    assert pd.read_csv(finished.root / "results/summary.csv")["failed"].isna().all()


def test_every_method_is_ranked_by_both_metrics(finished: Checkout) -> None:
    ranking = pd.read_csv(finished.root / "results/ranking.csv")
    methods = ["harp", "hydra", "lwm"]
    assert ranking.groupby("metric")["method"].apply(sorted).to_dict() == {"era": methods, "vra": methods}
    # HARP's filters are ranked apart from the others' weights.
    for (_, part), rows in ranking.groupby(["metric", "granularity"]):
        # Of two epochs, methods may be level: then they share the first rank.
        level = len(rows) > 1 and rows["mean"].nunique() == 1
        assert sorted(rows["rank"]) == ([1] if part == "filter" else [1, 1] if level else [1, 2])
        assert set(rows["verdict"]) == {"level"} if level else "level" not in set(rows["verdict"])


def test_every_network_has_the_recall_of_ten_classes(finished: Checkout) -> None:
    recall = pd.read_csv(finished.root / "results/recall.csv")
    found = {method: (rows["class"].tolist(), rows["recall_era_n"].sum()) for method, rows in recall.groupby("method")}
    # The attacks have seen 40 images.
    assert found == {method: (list(range(10)), 40) for method in ("dense", "harp", "hydra", "lwm")}


def test_the_network_without_filters_is_smaller(finished: Checkout) -> None:
    summary = pd.read_csv(finished.root / "results/summary.csv").set_index("method")
    assert summary["compact_parameters"].notna().to_dict() == {"dense": False, "harp": True, "hydra": False, "lwm": False}
    harp = summary.loc["harp"]
    # A tenth of the filters of each layer would leave 2 of 16, 3 of 32 and 10 of 100: of the multiply-adds,
    # 16 * 2 * 16 + 4 * 3 * 2 * 16 + 10 * 3 * 4 + 10 * 10. HARP may leave as many, elsewhere.
    assert harp["compact_multiply_adds"] <= 512 + 384 + 120 + 100 < harp["multiply_adds"] == 50664
    assert 0 < harp["compact_parameters"] < harp["parameters"] / 10
    # So is its file, from pruning on: what it holds is what is left, and which filters these are.
    folder = finished.root / DENSE.removesuffix("dense")
    sizes = {name: (folder / f"{name}.safetensors").stat().st_size for name in ("dense", "harp-0.90/pruned", "lwm-0.90/pruned")}
    assert sizes["harp-0.90/pruned"] < sizes["dense"] / 4 < sizes["lwm-0.90/pruned"]
    loaded = checkpoint.load(folder / "harp-0.90/finetuned.safetensors")
    assert sum(parameter.numel() for parameter in loaded.model.parameters()) == harp["compact_parameters"]
    twin = checkpoint.expanded(folder / "harp-0.90/finetuned.safetensors", loaded)
    assert sum(parameter.numel() for parameter in twin.model.parameters()) == harp["parameters"]
    assert sum(int(parameter.count_nonzero()) for parameter in twin.model.parameters()) == harp["nonzero"]


def test_every_row_of_the_summary_says_where_it_comes_from(finished: Checkout) -> None:
    who = ["dataset", "model", "objective", "method", "ratio", "seed", "stage"]
    summary, provenance = (pd.read_csv(finished.root / f"results/{name}.csv") for name in ("summary", "provenance"))
    assert provenance[who].equals(summary[who])
    assert set(provenance["lineage"]) == {"ok"}
    lwm = provenance.set_index("method").loc["lwm"]
    for stage in ("pruned", "finetuned"):
        assert lwm[f"{stage}_sha256"] == sha256(finished.root / f"{DENSE}/../lwm-0.90/{stage}.safetensors")
    # One dense network, trained once.
    assert provenance["dense_sha256"].unique().tolist() == [sha256(finished.root / f"{DENSE}.safetensors")]


def test_headers_hold_what_the_jobs_were_told(finished: Checkout) -> None:
    study, results = load_study(copy.deepcopy(TINY)), finished.root / "results"
    cell = cells.cells(study)[0]
    told = job_specs.finetune_spec(study, cell).model_dump()
    header = read_header(results / f"{cell.path}/finetuned.safetensors")
    assert {key: header[key] for key in ("cell", "code", "model")} == {key: told[key] for key in ("cell", "code", "model")}
    assert header["config"] == {key: value for key, value in told.items() if key not in ("cell", "code", "model")}
    data = read_header(results / "digits/data.safetensors", "sparrow-data/3")
    assert {key: data[key] for key in ("dataset", "code")} == job_specs.data_spec(study, "digits").model_dump()
    # The command finds all of it, from a table at the very end.
    links = chain(results / f"{cell.path}/finetuned/attacks/pgd.csv")
    assert [(link.what, link.state) for link in links] == [
        ("data set", "ok"),
        ("initial", "ok"),
        ("dense", "ok"),
        ("pruned", "ok"),
        ("finetuned", "ok"),  # A table names its network.
        ("table", ""),
    ]


def test_the_environment_is_that_of_the_job(finished: Checkout) -> None:
    found = json.loads((finished.root / "results/environment.json").read_text())
    # The copy is no repository.
    assert found["git"] == {"commit": "unknown", "dirty": "unknown", "changed": []}
    assert found["packages"]["snakemake"] == version("snakemake")


def test_a_method_with_a_state_of_its_own_leaves_a_trace(finished: Checkout) -> None:
    traces = {
        method: pd.read_csv(finished.root / f"results/digits/cnn-small/benign/seed0/{method}-0.90/pruned.trace.csv")
        for method in ("lwm", "hydra", "harp")
    }
    assert [list(table.columns) for table in traces.values()] == [["epoch", "name", "value"]] * 3
    assert {method: sorted(set(table["epoch"])) for method, table in traces.items()} == {"lwm": [], "hydra": [], "harp": [1, 2]}


def test_verified_implies_robust_implies_correct(finished: Checkout) -> None:
    for table in (finished.root / "results").rglob("attacks/*.csv"):
        attacked = pd.read_csv(table)
        robust = attacked[attacked["status"] == "robust"]
        assert (robust["prediction"] == robust["label"]).all()


def test_second_run_gives_the_same_bytes(finished: Checkout, checkout: Checkout) -> None:
    # On one core, and with every job importing for itself: neither may make a difference.
    checkout.run("--cores", "1", "--no-hooks")
    files = [f"{table}.csv" for table in ("summary", "outcomes", "layers", "ranking", "recall", "security", "decisions")]
    files += [
        f"figures/digits.cnn-small.{figure}.svg"
        for figure in ("accuracy", "ranking", "recall", "robustness", "decisions", "traces")
    ]
    files += [str(path.relative_to(finished.root / "results")) for path in (finished.root / "results").rglob("*.trace.csv")]
    files += [str(path.relative_to(finished.root / "results")) for path in (finished.root / "results").rglob("*.safetensors")]
    assert {"pruned.safetensors", "pruned.trace.csv", "dense.safetensors"} <= {Path(file).name for file in files}
    for file in files:
        assert (checkout.root / "results" / file).read_bytes() == (finished.root / "results" / file).read_bytes(), file


def test_pretraining_comes_from_the_cache(checkout: Checkout, tmp_path: Path) -> None:
    environment = {**os.environ, "SNAKEMAKE_OUTPUT_CACHE": str(tmp_path / "cache")}
    (tmp_path / "cache").mkdir()
    for place in ("first", "second"):
        (tmp_path / place).mkdir()
        checkout.run(f"{DENSE}.safetensors", "--cache", "pretrain", "--directory", place, environment=environment)
    first, second = (tmp_path / place / f"{DENSE}.cost.json" for place in ("first", "second"))
    # No two trainings take the same time to the millisecond: equal costs mean one training.
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"methods": {"hidra": None}}, ["methods.hidra", "'hidra'", "'hydra'?"]),
        ({"ratios": [1.0]}, ["ratios.0", "1.0", "less than 1"]),
        ({"seeds": [0, 0]}, ["seeds", "0 appears 2 times"]),
    ],
)
def test_bad_config_is_one_line_before_any_job(checkout: Checkout, change: dict, words: list[str]) -> None:
    checkout.write(copy.deepcopy(TINY) | change)
    done = checkout.snakemake()
    assert done.returncode != 0
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("study.yaml: ")]
    assert all(word in line for word in words)
    assert "Traceback" not in done.stderr
    assert not (checkout.root / "results").exists()


def test_truncated_checkpoint_is_refused_by_name(checkout: Checkout) -> None:
    checkout.run(f"{DENSE}.safetensors")
    file = checkout.root / f"{DENSE}.safetensors"
    file.write_bytes(file.read_bytes()[:-100])
    done = checkout.snakemake(f"{DENSE}/attacks/fgsm.csv", "--rerun-triggers", "mtime")
    assert done.returncode != 0
    assert re.search(rf"error: {DENSE}.safetensors: truncated", done.stderr)
    assert "Traceback" not in (checkout.root / "results/logs/digits/cnn-small/benign/seed0/dense/attacks/fgsm.log").read_text()


def test_every_rule_declares_its_resources_and_environment() -> None:
    for file in (REPOSITORY / "workflow/rules").glob("*.smk"):
        for rule in re.split(r"^rule ", file.read_text(), flags=re.MULTILINE)[1:]:
            for directive in ("threads:", "mem_mb=", "runtime=", "conda:", "log:", "message:"):
                assert directive in rule, f"{file.name}, rule {rule.split(':')[0]}: no {directive}"


def test_gpu_jobs_say_so() -> None:
    declared = {f.stem for f in (REPOSITORY / "workflow/rules").glob("*.smk") if "gpu=1" in f.read_text()}
    assert declared == {"pretrain", "prune", "finetune", "graft", "quantise", "attack", "verify", "outputs", "analyses"}


def test_readme_example_is_a_method_in_one_file(checkout: Checkout) -> None:
    readme = (REPOSITORY / "README.md").read_text()
    name, code = re.search(r"<!-- example: (\w+)\.py -->\n```python\n(.*?)```", readme, re.DOTALL).groups()
    (checkout.root / f"src/sparrow/methods/{name}.py").write_text(code)
    label = name.replace("_", "-")
    checkout.write(TINY | {"methods": {label: None}})
    pruned = f"results/digits/cnn-small/benign/seed0/{label}-0.90/pruned.safetensors"
    checkout.run(pruned)
    assert (checkout.root / pruned).is_file()


def test_a_terminal_shows_how_far_the_study_is(finished: Checkout) -> None:
    command = [sys.executable, "-m", "sparrow", "run", "study.yaml", "--cores", "1"]
    shown = _in_a_terminal([*command, "--forcerun", "provenance"], finished.root)
    assert "planning the study ..." in shown
    assert re.search(r"█{24}  (\d+) of \1 steps", shown)
    assert re.search(r"█{24}  finetune 3 of 3", shown)
    assert "Job " not in shown
    own = os.environ | {"PYTHONPATH": "src"}
    plain = subprocess.run([*command, "--dry-run"], cwd=finished.root, env=own, capture_output=True, text=True, check=True)
    assert "Nothing to be done" in plain.stdout + plain.stderr


def _in_a_terminal(command: list[str], folder: Path) -> str:
    """What a command writes to a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command, cwd=folder, stdin=theirs, stdout=theirs, stderr=theirs, env=os.environ | {"PYTHONPATH": "src"}
    ):
        os.close(theirs)
        said = b""
        with contextlib.suppress(OSError):  # The other end is closed.
            while some := os.read(ours, 65536):
                said += some
    os.close(ours)
    return said.decode()
