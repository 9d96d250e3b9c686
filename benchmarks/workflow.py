"""A whole study by the workflow, against the same computations one after the other in one Python process: the floor.

    python benchmarks/workflow.py                                a small study, five times each
    python benchmarks/workflow.py config.yaml --repeats 1        the default study, once (half an hour)

The floor has no jobs: it calls the stages in a loop, each of its libraries imported once. Both write the same tables, to the
byte. With `--cores` n the workflow should take little more than an n-th of the floor. Needs a machine that nobody else uses.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml
from _paired import REPEATS, REPOSITORY, about, write

from sparrow.study import analyses, cells, figures, job_specs
from sparrow.study.config import Study
from sparrow.study.load import load_study

SMALL: dict[str, Any] = {
    "seeds": [0],
    "threat": {"eps": 0.1},
    "datasets": {"digits": None},
    "models": {"cnn-small": None},
    "objectives": {"benign": None, "adversarial": {"steps": 7}},
    "methods": {"random": None, "lwm": None, "hydra": None},
    "ratios": [0.9],
    "training": {stage: {"epochs": 8, "batch_size": 64, "lr": 0.1} for stage in ("pretrain", "prune", "finetune")},
    "attacks": {"pgd": {"samples": 150, "steps": 20}, "autoattack": {"samples": 30}},
    "verifiers": {"cascade": {"samples": 30, "iterations": 3, "attacks": ["pgd"]}},
}
TABLES = ("outcomes.csv", "summary.csv", "ranking.csv", "recall.csv", "security.csv", "decisions.csv")
COLUMNS = ["study", "cells", "jobs", "cores", "floor_s", "workflow_s", "times_the_share", "lowest", "highest"]
COLUMNS += ["floor_stages_s", "workflow_stages_s", "repeats", "device", "torch", "snakemake", "revision"]


def floor(study: Study, root: Path) -> None:
    """All stages of `study` in this process, into the folder `root`."""
    from sparrow.results.aggregate import aggregate
    from sparrow.stages.analyse import analyse
    from sparrow.stages.attack import attack
    from sparrow.stages.data import prepare_data
    from sparrow.stages.finetune import finetune
    from sparrow.stages.initial import initial
    from sparrow.stages.pretrain import pretrain
    from sparrow.stages.prune import prune
    from sparrow.stages.verify import verify

    for dataset in study.datasets:
        spec = job_specs.data_spec(study, dataset)
        path = _made(root / dataset / "data")
        prepare_data(path(".safetensors"), path(".cost.json"), spec)
    for one in cells.made(study):
        data, path = root / one.parent.dataset / "data.safetensors", _made(root / one.path)
        files = path(".safetensors"), path(".curve.csv")
        if one.stage == "initial":
            initial(files[0], path(".cost.json"), job_specs.initial_spec(study, one.parent))
        elif one.stage == "dense":
            parent = root / one.parent.path / "initial.safetensors"
            pretrain(parent, data, *files, path(".cost.json"), job_specs.pretrain_spec(study, one.parent))
        elif one.stage == "pruned":
            parent, spec = root / cells.parent_of(study, one).path, job_specs.prune_spec(study, one.cell)
            parent = parent.with_name(f"{parent.name}.safetensors")
            prune(parent, data, *files, path(".trace.csv"), path(".cost.json"), spec)
        else:
            parent = root / one.cell.path / "pruned.safetensors"
            finetune(parent, data, *files, path(".cost.json"), job_specs.finetune_spec(study, one.cell))
    counted = []
    for one in cells.evaluated(study):
        inputs = root / f"{one.path}.safetensors", root / one.parent.dataset / "data.safetensors"
        kept = cells.attacks_with_examples(study)
        for table in cells.tables(study, "attacks", one.parent.objective).values():
            path = _made(root / one.path / table.path)
            examples = path(".examples.safetensors") if table.name in kept else None
            attack(*inputs, path(".csv"), path(".cost.json"), job_specs.attack_spec(study, one.parent, table.name), examples)
        for table in cells.tables(study, "verifiers", one.parent.objective).values():
            path = _made(root / one.path / table.path)
            looked_at = cells.attacks_rechecked_by(study, table, one.parent.objective)
            examples = [root / one.path / f"{tried.path}.examples.safetensors" for tried in looked_at]
            verify(*inputs, path(".csv"), path(".cost.json"), job_specs.verify_spec(study, one.parent, table.name), examples)
    for job in analyses.all_jobs(study):
        path = _made(root / job.path)
        counted.append(path(".csv"))
        networks, dense = ([root / f"{one.path}.safetensors" for one in found] for found in (job.networks, job.dense))
        data = root / job.place.split("/")[0] / "data.safetensors"
        analyse(path(".csv"), path(".cost.json"), analyses.spec(study, job), data, networks, dense)
    networks = [root / f"{one.path}.safetensors" for one in cells.evaluated(study)]
    aggregate(networks, counted, root, job_specs.aggregate_spec(study))
    _draw(study, root)


def _draw(study: Study, root: Path) -> None:
    """The figures that every study has."""
    from importlib import import_module

    (root / "figures").mkdir()
    for dataset in study.datasets:
        for model in study.models:
            runs = [one for one in cells.trainings(study) if (one.parent.dataset, one.parent.model) == (dataset, model)]
            sources = dict.fromkeys(("accuracy", "preservation", "robustness"), root / "summary.csv")
            sources |= {name: root / f"{name}.csv" for name in ("decisions", "ranking")}
            several = {"sparsity": ("layers", "summary"), "recall": ("recall", "intensification", "summary")}
            sources |= {name: [root / f"{table}.csv" for table in tables] for name, tables in several.items()}
            sources["curves"] = [root / f"{one.path}.curve.csv" for one in runs]
            for name, source in sources.items():
                drawn = [root / "figures" / f"{dataset}.{model}.{name}.{suffix}" for suffix in ("svg", "png")]
                draw = getattr(import_module(f"sparrow.results.figures.{name}"), f"draw_{name}")
                draw(source, *drawn, figures.spec(study, dataset, model, name))


def _made(path: Path) -> Callable[[str], Path]:
    """Names of files beside each other, in a folder that is there."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return lambda suffix: path.with_name(path.name + suffix)


def run_floor(config: Path, folder: Path) -> None:
    """The floor in a process of its own, imports and all."""
    command = [sys.executable, __file__, "--floor", str(config), str(folder)]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def run_workflow(config: Path, folder: Path, cores: int) -> None:
    """The workflow in an empty folder, as `make run` starts it."""
    folder.mkdir()
    profile = str(REPOSITORY / "workflow" / "profiles" / "default")
    command = [sys.executable, "-m", "snakemake", "--snakefile", str(REPOSITORY / "Snakefile"), "--workflow-profile", profile]
    command += ["--cores", str(cores), "--configfile", str(config), "--quiet", "all", "--directory", str(folder)]
    subprocess.run(command, check=True, capture_output=True)


def seconds(one: Callable[[], None]) -> float:
    """How long it takes."""
    begin = time.perf_counter()
    one()
    return time.perf_counter() - begin


def in_stages(results: Path) -> float:
    """What all stages took by their own clocks: without imports, start-up, and cores that wait."""
    return sum(json.loads(path.read_text())["seconds"] for path in results.rglob("*cost.json"))


def compare(config: Path, repeats: int, cores: int) -> dict[str, Any]:
    """Run both in turn; the row of the table."""
    raw = yaml.safe_load(config.read_text())
    study = load_study(raw, str(config))
    if any(entry.timed or entry.scope == "tables" for entry in study.analyses.values()):
        sys.exit(f"{config}: the floor knows no analysis that is timed, or that is about tables; valid: a study without these")
    if study.published or any(getattr(attack, "skip_verified", ()) for attack in study.attacks.values()):
        sys.exit(f"{config}: the floor knows no published or skip_verified; valid: a study without these")
    times, stages = [], []
    for number in range(repeats):
        with tempfile.TemporaryDirectory() as name:
            floors, flows = Path(name, "floor"), Path(name, "flow")
            both = [lambda f=floors: run_floor(config, f), lambda f=flows: run_workflow(config, f, cores)]
            order = (0, 1) if number % 2 == 0 else (1, 0)
            taken = {which: seconds(both[which]) for which in order}
            times.append((taken[0], taken[1]))
            for table in TABLES:
                one, other = (floors / table).read_bytes(), (flows / study.results / table).read_bytes()
                assert one == other, f"{table} differs"
            stages.append((in_stages(floors), in_stages(flows / study.results)))
            jobs = len([*(flows / study.results).rglob("*.log")])
    shares = sorted(flow * cores / one for one, flow in times)
    row = {"study": config.name, "cells": len(cells.cells(study)), "jobs": jobs, "cores": cores}
    row |= {"floor_s": statistics.median(one for one, _ in times), "workflow_s": statistics.median(flow for _, flow in times)}
    row |= {"floor_stages_s": statistics.median(one for one, _ in stages)}
    row |= {"workflow_stages_s": statistics.median(flow for _, flow in stages)}
    row |= {"times_the_share": statistics.median(shares), "lowest": shares[0], "highest": shares[-1]}
    row = {key: float(f"{value:.3g}") if isinstance(value, float) else value for key, value in row.items()}
    here = about()
    return (
        row
        | {"repeats": repeats, "snakemake": version("snakemake")}
        | {key: here[key] for key in ("device", "torch", "revision")}
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", nargs="?", type=Path, help="a study; a small one if none is given")
    parser.add_argument("--repeats", type=int, default=REPEATS, help="pairs for the clock")
    parser.add_argument("--cores", type=int, default=os.cpu_count())
    parser.add_argument("--floor", nargs=2, metavar=("STUDY", "FOLDER"), help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.floor:
        config, folder = map(Path, options.floor)
        with contextlib.redirect_stdout(io.StringIO()):
            floor(load_study(yaml.safe_load(config.read_text())), folder)
        return
    with tempfile.TemporaryDirectory() as name:
        config = options.config or Path(name, "small.yaml")
        if not options.config:
            config.write_text(yaml.safe_dump(SMALL))
        row = compare(config.resolve(), options.repeats, options.cores)
    print("{study}, {cells} cells, {jobs} jobs, {cores} cores".format(**row))
    print("floor {floor_s} s, workflow {workflow_s} s; in stages {floor_stages_s} and {workflow_stages_s} s".format(**row))
    print("{times_the_share} times its share ({lowest} to {highest} in {repeats} pairs)".format(**row))
    print(f"written to {write('workflow', [row], COLUMNS, ('study',))}")


if __name__ == "__main__":
    main()
