"""What a study says of each of its files: what aggregation holds headers and tables against. Imports no torch.

The specs of the jobs say it, but for seeds and ratios, which are in the files' paths: so much for each family of networks
(data set, model, objective), with each piece of configuration once, as a study has thousands of networks and few
configurations.
"""

from __future__ import annotations

import json
from typing import Any

from sparrow.files.paths import Cell, Parent
from sparrow.study import analyses, cells, job_specs
from sparrow.study.code_digest import code_digest
from sparrow.study.config import Study

APART = ("cell", "code", "seed", "ratio", "stage")
"""Keys of specs that are not the same in a family, or that are not configuration."""


def expected(study: Study) -> dict[str, Any]:
    """`datasets` by label; `families` by `dataset/model/objective`; `imports` by the checkpoint's path.

    A family has what its networks are made by (`dense`, `finetuned` and, by method, `pruned`), and its `tables` by path. Of
    each of the `analyses` that are not timed, by label, there is the `scope`, and the `specs` by the labels of what it is
    about, such as `dataset/model/objective`. Each is a table of keys; their values are places in the list `values`.
    """
    pool: dict[str, int] = {}

    def packed(spec: dict[str, Any]) -> dict[str, int]:
        texts = {key: json.dumps(value, sort_keys=True) for key, value in spec.items() if key not in APART}
        return {key: pool.setdefault(text, len(pool)) for key, text in texts.items()}

    families = {}
    for parent in cells.parents(study):
        name = "/".join(parent[:3])
        if name not in families:
            families[name] = {key: _packed(value, packed) for key, value in _family(study, parent).items()}
    return {
        "datasets": {label: packed({"kind": job_specs.data_spec(study, label)["dataset"]})["kind"] for label in study.datasets},
        "families": families,
        "analyses": {label: _analysed(study, label, packed) for label, entry in study.analyses.items() if not entry.timed},
        "imports": {path: packed(job_specs.import_spec(study, path)) for path in study.imports},
        "values": [json.loads(text) for text in pool],
        "code": code_digest("sparrow.results.consistency"),
    }


def _packed(value: dict[str, Any], packed: Any) -> dict[str, Any]:
    """`dense` and `finetuned` are one specification, the others one by name."""
    return packed(value) if "model" in value else {name: packed(spec) for name, spec in value.items()}


def _family(study: Study, parent: Parent) -> dict[str, dict[str, Any]]:
    tables = {}
    for room, of in (("attacks", job_specs.attack_spec), ("verifiers", job_specs.verify_spec)):
        for name, table in cells.tables(study, room, parent.objective).items():
            tables[table.path] = of(study, parent, name)
    return {
        "dense": job_specs.pretrain_spec(study, parent),
        # Nothing of the method is in it, and of a ratio nothing but itself in what pruning reads.
        "finetuned": job_specs.finetune_spec(study, Cell(parent, "any", 0.5)),
        "pruned": {label: job_specs.prune_spec(study, Cell(parent, label, 0.5)) for label in study.methods},
        "tables": tables,
    }


def _analysed(study: Study, label: str, packed: Any) -> dict[str, Any]:
    specs = {}
    for job in analyses.jobs(study, label):
        name = "/".join(job.place.split("/")[:3])
        if name not in specs:
            specs[name] = packed(analyses.spec(study, job))
    return {"scope": study.analyses[label].scope, "specs": specs}
