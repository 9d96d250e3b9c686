"""The jobs of a study's analyses, and what each of them reads. Imports no torch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from sparrow import catalogue
from sparrow.files import paths
from sparrow.files.paths import DENSE, Checkpoint
from sparrow.settings import Analysis, Scope
from sparrow.stages.specs.analysis import AnalysisSpec, NetworksAnalysisSpec
from sparrow.stages.specs.tables_analysis import ReadAnalysis, TablesAnalysisSpec
from sparrow.study import cells, job_specs
from sparrow.study.code_digest import code_digest, function_digest
from sparrow.study.config import Study


class Job(NamedTuple):
    """One job of an analysis: what it is about, and where that lies (see `paths.subject_folder`)."""

    label: str
    place: str
    networks: tuple[Checkpoint, ...]
    """The networks that it measures: of a pair the pruned one, of a family the pruned ones, of a data set none."""
    dense: tuple[Checkpoint, ...]
    """The dense networks that `networks` were pruned from."""

    @property
    def path(self) -> str:
        """The path of its table below the results, without the suffix."""
        return f"{self.place}/{paths.ANALYSIS}".format(analysis=self.label).removeprefix("/")


def jobs(study: Study, label: str) -> Iterator[Job]:
    """All jobs of one analysis, in the order of the study's networks."""
    params = study.analyses[label]
    if params.scope == "dataset":
        yield from (Job(label, dataset, (), ()) for dataset in study.datasets)
        return
    found: dict[str, list[Checkpoint]] = {}
    for one in cells.evaluated(study):
        if one.cell or params.scope not in ("pair", "family"):
            found.setdefault(paths.subject_folder(params.scope, one), []).append(one)
    for place, networks in found.items():
        dense = [Checkpoint(one.parent, None, DENSE) for one in networks]
        if params.scope == "family":
            dense = dense[:1]
        elif params.scope in ("network", "tables") or (params.scope == "seeds" and DENSE not in study.evaluate):
            dense = []
        yield Job(label, place, tuple(networks), tuple(dense))


def labels(study: Study, scope: Scope | None = None, timed: bool | None = None) -> list[str]:
    """The analyses of that scope, or of all; only those that are `timed`, or only the others."""
    return [
        label for label, params in study.analyses.items() if scope in (None, params.scope) and timed in (None, params.timed)
    ]


def read_by(study: Study, label: str) -> list[str]:
    """The analyses of the study whose tables one of them is given."""
    return [other for other, params in study.analyses.items() if params.kind in study.analyses[label].reads]


def corrupted(study: Study) -> list[str]:
    """The data sets whose test images are corrupted: all, if an analysis asks for that."""
    return list(study.datasets) if any("corrupted" in params.needs for params in study.analyses.values()) else []


def all_jobs(study: Study, timed: bool | None = None) -> Iterator[Job]:
    """The jobs of all analyses; only of those that are `timed`, or only of the others."""
    for label in labels(study, timed=timed):
        yield from jobs(study, label)


def spec(study: Study, job: Job) -> AnalysisSpec:
    """What a job of an analysis reads."""
    params = study.analyses[job.label]
    entry, module = params.model_dump(), catalogue.module_name("analyses", params.kind)
    own = function_digest(module, "Params", "analyse")
    if params.scope == "tables":
        code = f"{code_digest('sparrow.stages.analyse_tables')} {own}"
        reads = {label: _read(study, label) for label in read_by(study, job.label)}
        return TablesAnalysisSpec(
            code=code,
            analysis=entry,
            seed=0,
            outputs=_outputs(study, params, next(iter(study.models))),
            objectives=job_specs.outcome_tables(study),
            reads=reads or None,
        )
    if not job.networks:
        return NetworksAnalysisSpec(code=f"{code_digest('sparrow.stages.analyse')} {own}", analysis=entry, seed=0)
    one = job.networks[0].parent
    model = job_specs.entry_spec(study, "models", one.model)
    return NetworksAnalysisSpec(
        code=f"{code_digest('sparrow.stages.analyse', catalogue.module_name('models', model['kind']))} {own}",
        analysis=entry,
        seed=0 if params.scope == "seeds" else one.seed,
        model=model,
        threat=study.threat_of(one.objective) if {"threat", "examples"} & set(params.needs) else None,
        outputs=_outputs(study, params, one.model),
        corruptions=job_specs.corrupted_images(study, one.dataset) if "corrupted" in params.needs else None,
    )


def _outputs(study: Study, params: Analysis, model: str) -> dict[str, Any] | None:
    """How the logits that an analysis reads were written down, which is the same for all models; None if it reads none."""
    return job_specs.outputs_spec(study, model).config() if "outputs" in params.needs else None


def _read(study: Study, label: str) -> ReadAnalysis:
    """What an analysis is told of another one whose tables it reads."""
    params = study.analyses[label]
    tables = {table: list(columns) for table, columns in params.tables.items()}
    return ReadAnalysis(kind=params.kind, scope=params.scope, tables=tables, analysis=params.model_dump())
