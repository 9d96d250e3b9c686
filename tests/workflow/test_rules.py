"""What the rules hand to the one script is what their stages take."""

from __future__ import annotations

import importlib
import inspect
import json
import runpy
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from jinja2 import Template
from snakemake.iocontainers import InputFiles, Log, OutputFiles, Params, Wildcards

from sparrow import catalogue
from sparrow.jobs import run
from sparrow.study import figure_files, figures
from sparrow.study.load import load_study
from tests.workflow.conftest import REPOSITORY

SCRIPT = REPOSITORY / "workflow/scripts/job.py"
STUDY = load_study(yaml.safe_load((REPOSITORY / "config.yaml").read_text()))
OWN = {"stage", "code", "script"}
"""Params that are the script's, and no arguments."""

TELL = """
import json, sys
from pathlib import Path
from snakemake.api import SnakemakeApi
from snakemake.settings.types import ConfigSettings, OutputSettings, Quietness, ResourceSettings

with SnakemakeApi(OutputSettings(quiet={Quietness.ALL})) as api:
    study, snakefile = map(Path, sys.argv[1:])
    settings = ResourceSettings(cores=1), ConfigSettings(configfiles=[study])
    workflow = api.workflow(*settings, snakefile=snakefile, workdir=Path("."))._workflow
    found = {}
    for rule in workflow.rules:
        if rule.script:
            stage = rule.params.stage
            names = [list(part.keys()) for part in (rule.input, rule.output, rule.params)]
            found[rule.name] = {"stage": stage if isinstance(stage, str) else None, "script": str(rule.script), "names": names}
    print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    """By rule its stage (None where that depends on wildcards), its script, and names of its inputs, outputs and params."""
    command = [sys.executable, "-c", TELL, str(REPOSITORY / "config.yaml"), str(REPOSITORY / "Snakefile")]
    folder = tmp_path_factory.mktemp("rules")
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.strip().splitlines()[-1])


def stages(rule: dict[str, Any]) -> list[str]:
    names = {*figures.known(), *figures.drawn(STUDY)}
    return [rule["stage"]] if rule["stage"] else [figures.stage(STUDY, name) for name in names]


def test_every_rule_has_the_one_script(rules: dict[str, dict[str, Any]]) -> None:
    assert {"data", "pretrain", "prune", "attack_and_keep", "aggregate", "figure"} <= set(rules)
    assert {Path(rule["script"]).name for rule in rules.values()} == {SCRIPT.name}
    assert [path.name for path in SCRIPT.parent.glob("*.py")] == [SCRIPT.name]


def test_what_a_rule_names_is_what_its_stage_takes(rules: dict[str, dict[str, Any]]) -> None:
    for name, rule in rules.items():
        inputs, outputs, params = rule["names"]
        assert {"stage", "script"} <= set(params), name
        arguments = [*inputs, *outputs, *(key for key in params if key not in OWN)]
        for stage in stages(rule):
            module, _, function = stage.partition(":")
            # Raises TypeError if one is missing, unknown or there twice.
            inspect.signature(getattr(importlib.import_module(module), function)).bind(**dict.fromkeys(arguments))
            assert len(set(arguments)) == len(arguments), f"{name}: a name is there twice"


@pytest.mark.parametrize(
    ("wildcards", "words"),
    [({"collected": "mine"}, "Of mine."), ({"collected": "mine.sizes"}, "Of mine."), ({"analysis": "timed"}, "Of timed.")],
)
def test_a_table_of_an_analysis_has_its_own_words_in_the_report(wildcards: dict[str, str], words: str) -> None:
    captions = {label: {"table": f"Of {label}.", "figure": ""} for label in ("mine", "other", "timed")}
    shown = SimpleNamespace(wildcards=Wildcards(fromdict=wildcards), config={"captions": captions})
    text = (REPOSITORY / "reports/captions/analysis.rst").read_text()
    assert Template(text).render(snakemake=shown).strip() == words


@pytest.mark.parametrize("figure", figure_files.known())
def test_a_figure_has_words_in_the_report(figure: str) -> None:
    captions = {name: {"figure": one.caption} for name, one in figure_files.known().items()}
    shown = SimpleNamespace(wildcards=Wildcards(fromdict={"figure": figure}), config={"captions": captions})
    words = Template((REPOSITORY / "reports/captions/figure.rst").read_text()).render(snakemake=shown).strip()
    assert words.endswith(".")
    assert words == captions[figure]["figure"]


@pytest.mark.parametrize("kind", catalogue.kinds("analyses"))
def test_an_analysis_has_words_in_the_report(kind: str) -> None:
    entry = catalogue.load("analyses", kind)
    assert (inspect.getdoc(entry) or "").strip()
    assert not hasattr(entry, "draw") or (inspect.getdoc(entry.draw) or "").endswith(".")


def called(monkeypatch: pytest.MonkeyPatch, **parts: Any) -> tuple[tuple, dict[str, Any]]:
    """What the script calls a stage with, of a rule with these named parts."""
    calls: list[tuple[tuple, dict[str, Any]]] = []
    monkeypatch.setattr(run, "run", lambda *args, **kwargs: calls.append((args, kwargs)))
    kinds = {"input": InputFiles, "output": OutputFiles, "params": Params}
    named = {name: kind(fromdict=parts.get(name, {})) for name, kind in kinds.items()}
    runpy.run_path(str(SCRIPT), {"snakemake": SimpleNamespace(**named, log=Log(["a.log"]), threads=3)})
    (call,) = calls
    return call


def test_the_script_hands_on_names_and_keeps_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    found = called(
        monkeypatch,
        input={"network": "dense.safetensors", "proofs": ["ibp.csv"], "examples": []},
        output={"output": "pgd.csv"},
        params={"stage": "module:function", "script": "1234", "code": "5678", "spec": {"seed": 0}},
    )
    files = {"network": "dense.safetensors", "proofs": ["ibp.csv"], "examples": [], "output": "pgd.csv"}
    assert found == (("module:function", "a.log", 3), {**files, "spec": {"seed": 0}})
    # Plain lists: what is handed to another process is JSON.
    assert {type(found[1][name]) for name in ("proofs", "examples")} == {list}
