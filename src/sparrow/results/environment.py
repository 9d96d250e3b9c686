"""The environment of this job: the code's commit, packages, device, system."""

from __future__ import annotations

import html
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from sparrow.reproducible import device_name, pick_device
from sparrow.results.tables import write_html
from sparrow.versions import versions

PACKAGES = (
    *("torch", "torchvision", "torchattacks", "auto_LiRPA", "torch-pruning", "numpy", "scipy", "scikit-learn", "pandas"),
    *("safetensors", "matplotlib", "snakemake"),
)
CODE = ("Snakefile", "src", "workflow/rules", "workflow/scripts", "envs")
"""Paths of a checkout that determine results: changes to these make it `dirty`; a study's own file does not."""
UNKNOWN = "unknown"
CAPTION = "What this table was made in; the table of provenance says on what each network was computed."


def environment(root: Path) -> dict[str, Any]:
    """The environment of this job; `root` is the checkout that its code is from."""
    return {
        "git": _git(root),
        "packages": versions(*PACKAGES) | {"torch": str(torch.__version__)},
        "device": device_name(pick_device()),
        "cpus": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "system": platform.platform(),
    }


def environment_table(about: dict[str, Any], output: Path) -> None:
    """Write the environment `about` as an HTML table, with a line for each item."""
    git = about["git"]
    changed = ", ".join(git["changed"])
    lines = {
        "git commit": git["commit"],
        "changed since": {True: changed, False: "no", UNKNOWN: UNKNOWN}[git["dirty"]],
        **{key: about[key] for key in ("device", "cpus", "threads", "system")},
        **{name: version or "not installed" for name, version in about["packages"].items()},
    }
    warning = f"<strong>Warning: the code is not that of the commit: {html.escape(changed)}.</strong><br>" if changed else ""
    table = pd.DataFrame({"what": lines.keys(), "is": [str(value) for value in lines.values()]})
    write_html(table, output, warning + CAPTION)


def _git(root: Path) -> dict[str, Any]:
    """`commit`, whether the code differs from it (`dirty`), and where (`changed`); `unknown` without checkout or git."""
    # `root` must be the top of a checkout, not a folder in another one.
    top = _ask(root, "rev-parse", "--show-toplevel")
    commit = _ask(root, "rev-parse", "HEAD") if top and Path(top.strip()).resolve() == root.resolve() else None
    status = _ask(root, "status", "--porcelain", "--", *CODE) if commit else None
    if commit is None or status is None:
        return {"commit": UNKNOWN, "dirty": UNKNOWN, "changed": []}
    changed = [line[3:] for line in status.splitlines()]
    return {"commit": commit.strip(), "dirty": bool(changed), "changed": changed}


def _ask(root: Path, *question: str) -> str | None:
    # Without locks, which would disturb a commit at the same time.
    command = ["git", "--no-optional-locks", "-C", str(root), *question]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout if done.returncode == 0 else None
