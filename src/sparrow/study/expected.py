"""How each file of a study must have been made: what aggregation holds headers and tables against. Imports no torch.

It is in the jobs' specs, but for seeds and ratios, which are in the files' paths. So one spec of each kind is kept for each
family of networks (data set, model, objective), and each value of a key once: a study has thousands of networks and few
configurations.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from sparrow.files.paths import Parent, cell_name, family_name, identity_at, variant_of
from sparrow.files.specs import Spec
from sparrow.results.specs.expected import Expected, ExpectedAnalysis, ExpectedFamily, Places
from sparrow.study import analyses, cells, job_specs
from sparrow.study.code_digest import code_digest
from sparrow.study.config import Study

NOT_SHARED = ("cell", "code", "seed", "ratio", "stage")
"""Keys of specs that differ within a family, or that are not configuration."""


class _Pool:
    """All different values of all specs, as JSON, in the order in which they come."""

    def __init__(self) -> None:
        self._places: dict[str, int] = {}

    def place(self, value: Any) -> int:
        """The place of a value, which is taken in if it is new."""
        return self._places.setdefault(json.dumps(value, sort_keys=True), len(self._places))

    def places(self, spec: Spec) -> Places:
        return {key: self.place(value) for key, value in spec.model_dump().items() if key not in NOT_SHARED}

    def by_name(self, specs: Mapping[str, Spec]) -> dict[str, Places]:
        return {name: self.places(spec) for name, spec in specs.items()}

    def values(self) -> list[Any]:
        """All values by their places."""
        return [json.loads(text) for text in self._places]


def expected(study: Study) -> Expected:
    """`datasets` by label; `families` by `dataset/model/objective`; `imports` by the checkpoint's path; `values`; `code`.

    A data set is a place in `values`, an import `Places`. A family has `Places` for `initial` and `dense`; for `pruned` and
    `finetuned` (and `grafted`) by method and ratio, for `variants` by their path below the family's seed, and for `tables` by
    path. Of each of the `analyses` that are not timed, by label, there is the `scope`, and in `specs` the `Places` by the
    labels of what it is about, such as `dataset/model/objective`.
    """
    pool, families = _Pool(), {}
    for parent in cells.parents(study):
        name = family_name(parent._asdict())
        if name not in families:
            families[name] = _family(study, parent, pool)
    return Expected(
        datasets={label: pool.place(job_specs.data_spec(study, label).dataset) for label in study.datasets},
        families=families,
        analyses={label: _analysed(study, label, pool) for label, entry in study.analyses.items() if not entry.timed},
        imports={path: pool.places(job_specs.import_spec(study, path)) for path in study.imports},
        values=pool.values(),
        code=code_digest("sparrow.results.consistency"),
    )


def _family(study: Study, parent: Parent, pool: _Pool) -> ExpectedFamily:
    """What `expected` says of the networks of `parent`'s family."""
    # One of all seeds, whose specs say the same; of imported networks, there may be others at each seed.
    own = {cell_name(cell): cell for cell in cells.cells(study) if cell.parent.labels == parent.labels}
    tables: dict[str, Spec] = {}
    for table in cells.tables(study, "attacks", parent.objective).values():
        tables[table.path] = job_specs.attack_spec(study, parent, table.name)
    for table in cells.tables(study, "verifiers", parent.objective).values():
        tables[table.path] = job_specs.verify_spec(study, parent, table.name)
    return ExpectedFamily(
        initial=pool.places(job_specs.initial_spec(study, parent)),
        dense=pool.places(job_specs.pretrain_spec(study, parent)),
        pruned=pool.by_name(
            {name: job_specs.prune_spec(study, one) for name, one in own.items() if one.method in study.methods}
        ),
        finetuned=pool.by_name({name: job_specs.finetune_spec(study, one) for name, one in own.items()}),
        grafted=pool.by_name({name: job_specs.graft_spec(study, one) for name, one in own.items()} if study.grafting else {}),
        variants=pool.by_name(
            {
                one.path.removeprefix(f"{one.parent.path}/"): job_specs.quantise_spec(study, one)
                for one in cells.evaluated(study)
                if variant_of(one.stage) and one.parent.labels == parent.labels
            }
        ),
        tables=pool.by_name(tables),
    )


def _analysed(study: Study, label: str, pool: _Pool) -> ExpectedAnalysis:
    scope, specs = study.analyses[label].scope, dict[str, Spec]()
    for job in analyses.jobs(study, label):
        name = family_name(identity_at(scope, Path(job.place)))
        if name not in specs:
            specs[name] = analyses.spec(study, job)
    return ExpectedAnalysis(scope=scope, specs=pool.by_name(specs))
