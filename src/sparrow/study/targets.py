"""The files of a study, by what the rules need of which. Paths begin with the study's results folder. Imports no torch."""

from __future__ import annotations

from typing import Literal

from sparrow.files.paths import (
    COST,
    DENSE,
    EXAMPLES,
    NETWORK,
    TABLE,
    Cell,
    Checkpoint,
    Parent,
    corrupted_job,
    data_job,
    outputs_job,
    study_page,
    study_table,
)
from sparrow.study import analyses, cells
from sparrow.study.analysis_tables import collected
from sparrow.study.config import Study


def networks(study: Study) -> list[str]:
    """The checkpoints that are attacked and verified."""
    return [f"{study.results}/{one.path}{NETWORK}" for one in cells.evaluated(study)]


def pruned_from(study: Study, cell: Cell) -> str:
    """The checkpoint that a pruned network is made from."""
    return f"{study.results}/{Checkpoint(cell.parent, None, cells.pipeline_of(study, cell).parent).path}{NETWORK}"


def outcome_tables(study: Study) -> list[str]:
    """The tables of all attacks and verifiers, network by network."""
    tables = {
        objective: [table.path for room in ("attacks", "verifiers") for table in cells.tables(study, room, objective).values()]
        for objective in study.objectives
    }
    evaluated = cells.evaluated(study)
    return [f"{study.results}/{one.path}/{path}{TABLE}" for one in evaluated for path in tables[one.parent.objective]]


def analysis_tables(study: Study, timed: bool | None = None, label: str | None = None) -> list[str]:
    """The tables of all jobs of analyses; only of the `timed` ones, of the others, or of the one with that label."""
    found = analyses.all_jobs(study, timed) if label is None else analyses.jobs(study, label)
    return [f"{study.results}/{job.path}{TABLE}" for job in found]


def tables_read(study: Study, label: str) -> list[str]:
    """The tables of all jobs of the analyses that the one with that label reads."""
    return [table for other in analyses.read_by(study, label) for table in analysis_tables(study, label=other)]


def analysed(study: Study, job: analyses.Job, what: Literal["networks", "dense"]) -> list[str]:
    """The checkpoints that an analysis is about, or those that they come from."""
    return [f"{study.results}/{one.path}{NETWORK}" for one in getattr(job, what)]


def outputs(study: Study) -> list[str]:
    """The logits of all evaluated networks; none, if nobody asks for them."""
    asked = study.recorded_outputs is not None
    return [f"{study.results}/{outputs_job(one.path)}{NETWORK}" for one in cells.evaluated(study)] if asked else []


def outputs_read(study: Study, job: analyses.Job) -> list[str]:
    """The logits that a job of an analysis reads."""
    if "outputs" not in study.analyses[job.label].needs:
        return []
    return [f"{study.results}/{outputs_job(one.path)}{NETWORK}" for one in dict.fromkeys((*job.dense, *job.networks))]


def corrupted(study: Study, job: analyses.Job) -> list[str]:
    """The corrupted test images that a job of an analysis reads: one file, or none."""
    asked = "corrupted" in study.analyses[job.label].needs
    return [f"{study.results}/{corrupted_job(job.networks[0].parent.dataset)}{NETWORK}"] if asked else []


def examples_read(study: Study, job: analyses.Job) -> list[str]:
    """The adversarial examples of its networks that a job of an analysis reads."""
    params = study.analyses[job.label]
    if "examples" not in params.needs:
        return []
    named = getattr(params, "attacks", None)
    return [
        f"{study.results}/{one.path}/{attack.path}{EXAMPLES}"
        for one in dict.fromkeys((*job.dense, *job.networks))
        for attack in cells.attacks_to_try(study, named, one.parent.objective)
    ]


def timings(study: Study) -> list[str]:
    """The tables of what was timed, each beside what is preserved."""
    return [f"{study.results}/{study_table(label)}" for label in analyses.labels(study, timed=True)]


def collected_tables(study: Study) -> list[str]:
    """The tables of analyses that are not timed, each over all jobs."""
    return [f"{study.results}/{name}{TABLE}" for name in collected(study)]


def costs(study: Study) -> list[str]:
    """What all jobs of the study cost, each beside what it made."""
    made = [f"{study.results}/{data_job(dataset)}" for dataset in study.datasets]
    made += [f"{study.results}/{corrupted_job(dataset)}" for dataset in analyses.corrupted(study)]
    made += [f"{study.results}/{one.path}" for one in cells.made(study)]
    made_besides = outcome_tables(study) + outputs(study) + analysis_tables(study)
    return [f"{path}{COST}" for path in made] + [cost_beside(file) for file in made_besides]


def cost_beside(file: str) -> str:
    """The cost of the job that made `file`, a table or a network."""
    return file.removesuffix(TABLE).removesuffix(NETWORK) + COST


def teachers(study: Study, cell: Cell) -> list[str]:
    """The checkpoint that fine-tuning a network learns from, alone; none where it learns from the labels."""
    found = cells.teacher_of(study, Checkpoint(cell.parent, cell, "finetuned"))
    return [f"{study.results}/{found.path}{NETWORK}"] if found else []


def examples(study: Study, parent: Parent, checkpoint: str, verifier: str) -> list[str]:
    """The adversarial examples that a verifier of `checkpoint` (`dense`, `METHOD-RATIO/pruned`, ...) classifies again.

    Raises SparrowError if networks of `parent`'s objective have no table `verifier`.
    """
    table = cells.table(study, "verifiers", parent.objective, verifier)
    attacks = cells.attacks_rechecked_by(study, table, parent.objective)
    return [f"{study.results}/{parent.path}/{checkpoint}/{attack.path}{EXAMPLES}" for attack in attacks]


def transferred(study: Study, parent: Parent, attack: str) -> list[str]:
    """The adversarial examples of the dense network that an attack on its family tries; none if it searches by itself.

    Raises SparrowError if networks of `parent`'s objective have no table `attack`.
    """
    table = cells.table(study, "attacks", parent.objective, attack)
    found = cells.attacks_transferred_by(study, table, parent.objective)
    return [f"{study.results}/{parent.path}/{DENSE}/{source.path}{EXAMPLES}" for source in found]


def proofs(study: Study, parent: Parent, checkpoint: str, attack: str) -> list[str]:
    """The verifiers' tables that tell an attack on `checkpoint` which images no attack can break.

    Raises SparrowError if networks of `parent`'s objective have no table `attack`.
    """
    table = cells.table(study, "attacks", parent.objective, attack)
    verifiers = cells.verifiers_trusted_by(study, table, parent.objective)
    return [f"{study.results}/{parent.path}/{checkpoint}/{verifier.path}{TABLE}" for verifier in verifiers]


def published_tables(study: Study) -> list[str]:
    """The tables that set the study beside published results: none, if it is not to be."""
    if not study.published:
        return []
    names = ["published", *(["headline"] if study.published.headline else [])]
    return [f"{study.results}/{study_page(name)}" for name in names]
