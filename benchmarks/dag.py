"""What Snakemake itself takes over a large study: time and memory of building its DAG, and its own share of running jobs.

    python benchmarks/dag.py plan 100 1000       dry runs of studies of 100 and 1,000 cells, of which nothing is there yet
    python benchmarks/dag.py quiet 1000          the same, with `--quiet`: jobs are not even put into words (nor counted)
    python benchmarks/dag.py batch 1000          a dry run of a tenth of the study
    python benchmarks/dag.py job 1000            a dry run as in a job elsewhere, which starts a Snakemake of its own
    python benchmarks/dag.py run,done 100        all jobs, each of which makes empty files; then a dry run, of nothing to do
    python benchmarks/dag.py ready 3000          a minute of a run in which all networks are there, and all evaluations ready

More for Snakemake follows `--`. Each line of the CSV is one call. CPU seconds and memory are those of Snakemake's own process,
without its jobs; they tell more than the wall's clock on a machine that others use. (Linux: both are read from /proc.)

A cell has six jobs: it is pruned, fine-tuned, attacked twice and verified twice. In its place, `run` sleeps `--seconds`.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

REPOSITORY = Path(__file__).parents[1]
sys.path.insert(0, str(REPOSITORY / "src"))

from sparrow.study.cells import trainings  # noqa: E402
from sparrow.study.load import load_study  # noqa: E402

PARTS = ["Snakefile", "config.yaml", "CITATION.cff", "workflow", "src", "envs", "reports"]
METHODS = {
    "random": {},
    "lwm": {},
    "lwm-global": {"kind": "lwm", "allocation": "global"},
    "lwm-erk": {"kind": "lwm", "allocation": "erk"},
    "snip": {},
    "hydra": {},
    "hydra-lamp": {"kind": "hydra", "allocation": "lamp"},
    "harp": {},
    "admm": {},
    "deadwooding": {},
}
RATIOS = [0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.96, 0.97, 0.98, 0.99]
STEP = 2 * 5 * len(METHODS)
WILDCARDS = "dataset=digits,model=cnn-small,objective=benign,seed=0,checkpoint=lwm-0.50/finetuned,verifier=cascade"
STAND_IN = """import time
from pathlib import Path

time.sleep({seconds})
for file in snakemake.output:
    Path(file).touch()
"""
COLUMNS = ["revision", "what", "cells", "jobs", "wall_s", "cpu_s", "peak_mib", "python", "snakemake"]


def study(cells: int) -> dict[str, Any]:
    """A study of so many cells: two models, five objectives, ten methods, and as many ratios and seeds as it takes.

    Raises ValueError if `cells` is no multiple of a hundred.
    """
    repeats, rest = divmod(cells, STEP)
    if rest or repeats < 1:
        raise ValueError(f"{cells} cells: valid are multiples of {STEP}")
    ratios = math.gcd(repeats, len(RATIOS))
    return {
        "seeds": list(range(repeats // ratios)),
        "threat": {"eps": 0.1},
        "datasets": {"digits": {}},
        "models": {"cnn-small": {}, "cnn-large": {}},
        "objectives": {"benign": {}, "adversarial": {}, "trades": {}, "ibp": {}, "crown-ibp": {}},
        "methods": METHODS,
        "ratios": RATIOS[:ratios],
        "training": {stage: {"epochs": 10} for stage in ("pretrain", "prune", "finetune")},
        "attacks": {"pgd": {}, "fmn": {}},
        "verifiers": {"crown": {}, "cascade": {"attacks": ["pgd"]}},
    }


def checkout(root: Path, cells: int, seconds: float) -> None:
    """A copy of the workflow, whose scripts do nothing but sleep and make empty files; and a study."""
    for part in PARTS:
        (shutil.copytree if (REPOSITORY / part).is_dir() else shutil.copy2)(REPOSITORY / part, root / part)
    for file in (root / "workflow/scripts").glob("*.py"):
        file.write_text(STAND_IN.format(seconds=seconds))
    (root / "study.yaml").write_text(yaml.safe_dump(study(cells)))


def command(*arguments: str) -> list[str]:
    """A call of Snakemake, in the folder of a checkout."""
    return [sys.executable, "-m", "snakemake", "--cores", "2", "--configfile", "study.yaml", *arguments]


def snakemake(root: Path, *arguments: str) -> tuple[dict[str, float], str]:
    """Call Snakemake there: what its process has cost, and what it said. Raises RuntimeError if it fails."""
    begin = time.perf_counter()
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(command(*arguments), cwd=root, stdout=said, stderr=subprocess.STDOUT)
        cpu = peak = 0.0
        while process.poll() is None:
            cpu, peak = _cost(process.pid) or (cpu, peak)
            time.sleep(0.05)
        wall = time.perf_counter() - begin
        said.seek(0)
        text = said.read()
    if process.returncode:
        raise RuntimeError(f"{' '.join(command(*arguments))} failed:\n{text[-3000:]}")
    return {"wall_s": round(wall, 2), "cpu_s": round(cpu, 2), "peak_mib": round(peak)}, text


def minute(root: Path, cells: int, *arguments: str) -> dict[str, float]:
    """A minute of running, from the first job that ends: how many have ended, and what they have cost Snakemake's process."""
    _make_networks(root, cells)
    with tempfile.NamedTemporaryFile("w+") as said:
        process = subprocess.Popen(command(*arguments), cwd=root, stdout=said, stderr=subprocess.STDOUT)

        def ended() -> int:
            return Path(said.name).read_text().count("Finished jobid")

        while not ended():
            if process.poll() is not None:
                raise RuntimeError(f"{' '.join(command(*arguments))} failed:\n{Path(said.name).read_text()[-3000:]}")
            time.sleep(0.5)
        begin, jobs_before, (cpu_before, peak) = time.perf_counter(), ended(), _cost(process.pid) or (0, 0)
        cpu, wall = cpu_before, 0.0
        while process.poll() is None and wall < 60:
            time.sleep(0.5)
            cpu, peak = _cost(process.pid) or (cpu, peak)
            wall = time.perf_counter() - begin
        found = {"jobs": ended() - jobs_before, "wall_s": round(wall, 2), "cpu_s": round(cpu - cpu_before, 2)}
        process.terminate()
        process.wait()
    return found | {"peak_mib": round(peak)}


def _make_networks(root: Path, cells: int) -> None:
    """Empty files for the data set and all networks, each younger than those it comes from."""
    networks = list(trainings(load_study(study(cells))))
    stages = {"dense": ["curve.csv"], "pruned": ["curve.csv", "trace.csv"], "finetuned": ["curve.csv"]}
    found = {"data": ["digits/data"]} | {stage: [one.path for one in networks if one.stage == stage] for stage in stages}
    for stage, paths in found.items():
        for path in paths:
            for suffix in ("safetensors", "cost.json", *stages.get(stage, ())):
                file = root / "results" / f"{path}.{suffix}"
                file.parent.mkdir(parents=True, exist_ok=True)
                file.touch()
        time.sleep(0.1)


def _cost(pid: int) -> tuple[float, float] | None:
    """CPU seconds of a running process, without its children, and its largest size in MiB; None if it has ended."""
    try:
        # utime and stime are the 14th and 15th field; the second may have spaces, and ends with a bracket.
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11:13]
        peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text())
    except (FileNotFoundError, ProcessLookupError):
        return None
    return peak and (sum(map(int, ticks)) / os.sysconf("SC_CLK_TCK"), int(peak[1]) / 1024)


def jobs(said: str) -> int | None:
    """The number of jobs in the statistics that Snakemake prints; None if it prints none."""
    if "Nothing to be done" in said:
        return 0
    found = re.search(r"^total +(\d+)$", said, flags=re.MULTILINE)
    return int(found[1]) if found else None


DRY = ["--dry-run", "--quiet", "rules", "host", "reason"]
RUN = ["--workflow-profile", "workflow/profiles/default", "--quiet", "rules", "host", "reason"]
CALLS = {
    "plan": DRY,
    "quiet": ["--dry-run", "--quiet"],
    "batch": [*DRY, "--batch", "aggregate=1/10", "aggregate"],
    "job": [*DRY, "--mode", "remote", "--force", "--allowed-rules", "verify", "--target-jobs", f"verify:{WILDCARDS}"],
    "run": RUN,
    "done": DRY,
    # Files that no job has made have no record: their times alone count.
    "ready": [
        "--workflow-profile",
        "workflow/profiles/default",
        "--quiet",
        "rules",
        "host",
        "reason",
        "--rerun-triggers",
        "mtime",
    ],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", help=f"calls, in this order, with commas between them: {', '.join(CALLS)}")
    parser.add_argument("cells", nargs="+", type=int, help=f"sizes of the studies, multiples of {STEP}")
    parser.add_argument("--seconds", type=float, default=0, help="how long each job of `run` sleeps")
    parser.add_argument("--output", type=Path, help="CSV to append to; standard output without it")
    given = sys.argv[1:]
    cut = given.index("--") if "--" in given else len(given)
    options, extra = parser.parse_args(given[:cut]), given[cut + 1 :]
    git = ["git", "-C", str(REPOSITORY), "describe", "--always", "--dirty"]
    about = {
        "revision": subprocess.run(git, capture_output=True, text=True, check=True).stdout.strip(),
        "python": platform.python_version(),
        "snakemake": version("snakemake"),
    }
    with options.output.open("a") if options.output else os.fdopen(os.dup(1), "w") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        if not options.output or not file.tell():
            writer.writeheader()
        for cells in options.cells:
            with tempfile.TemporaryDirectory(prefix="sparrow-dag-") as folder:
                checkout(Path(folder), cells, options.seconds)
                for what in options.what.split(","):
                    if what == "ready":
                        cost = minute(Path(folder), cells, *CALLS[what], *extra)
                    else:
                        cost, said = snakemake(Path(folder), *CALLS[what], *extra)
                        cost["jobs"] = jobs(said)
                    writer.writerow({**about, "what": what, "cells": cells, **cost})
                    file.flush()


if __name__ == "__main__":
    main()
