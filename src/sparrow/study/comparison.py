"""Specs of the tables that set a study beside published results, and what there is to draw of them. Imports no torch."""

from __future__ import annotations

from itertools import product
from typing import Any

from sparrow import radius
from sparrow.catalogue import EvaluatedRoom
from sparrow.files import published_figures
from sparrow.files.paths import DENSE, GRAFTED, parse
from sparrow.results.specs.comparison import HeadlineSpec, Kinds, MethodKind, PublishedSpec
from sparrow.study import cells
from sparrow.study.code_digest import code_digest
from sparrow.study.config import Study
from sparrow.study.pipelines import PIPELINES
from sparrow.study.sections import Published


def published_spec(study: Study) -> PublishedSpec:
    """What the table of published figures reads: which sources, and of what kind each of the study's labels is."""
    kinds = _kinds(study)
    return PublishedSpec(
        **dict(kinds),
        sources=_sources(study),
        ratios=sorted(_ratios(study)),
        attacks={objective: _evaluations(study, "attacks", objective) for objective in study.objectives},
        verifiers={objective: _evaluations(study, "verifiers", objective) for objective in study.objectives},
        nonstandard={label: said for label, attack in study.attacks.items() if (said := _nonstandard(attack))},
        not_in_era=[label for label, attack in study.attacks.items() if not attack.in_era],
        epochs={label: {method: _epochs(study, label, method) for method in kinds.methods} for label in study.objectives},
        code=code_digest("sparrow.results.published"),
    )


def headline_spec(study: Study) -> HeadlineSpec:
    """What the table of a published average reads. The study names its source."""
    published = _published(study)
    assert published.headline is not None, "the rule is there for a study that names one"
    return HeadlineSpec(
        **dict(_kinds(study)),
        sources=published_figures.sources_matching(published.headline, published_figures.headlines()),
        code=code_digest("sparrow.results.headline"),
    )


def compared(study: Study) -> set[tuple[str, str]]:
    """The pairs of data set and model that have a published figure which the study measures, too."""
    if study.published is None:
        return set()
    kinds, sources, ratios = _kinds(study), _sources(study), _ratios(study)
    methods = {(method.kind, method.granularity) for method in kinds.methods.values()}
    rows = [row for row in published_figures.figures() if row["source"] in sources]
    known = {key for row in rows for key in published_figures.comparable_networks(row)}
    known = {key[:3] for key in known if key[3:5] in methods and key[5] in ratios}
    return {
        (dataset, model)
        for dataset, model, objective in product(study.datasets, study.models, study.objectives)
        if cells.is_trained_on(study, model, objective)
        and (kinds.datasets[dataset], kinds.models[model], kinds.objectives[objective]) in known
    }


def _published(study: Study) -> Published:
    """The section `published` of a study that has one."""
    assert study.published is not None, "nothing is compared in a study without it"
    return study.published


def _sources(study: Study) -> list[str]:
    """Full names of the sources that the study is set beside."""
    rows = published_figures.figures()
    return sorted(
        {name for text in _published(study).sources or [""] for name in published_figures.sources_matching(text, rows)}
    )


def _ratios(study: Study) -> set[float]:
    """All ratios of the networks that are evaluated."""
    own = {ratio for method in study.methods.values() for ratio in method.ratios or study.ratios}
    own |= {cell.ratio for cell in (parse(path).cell for path in study.imports) if cell}
    return own | ({0.0} if DENSE in study.evaluate else set())


def _kinds(study: Study) -> Kinds:
    """Labels by kind, of data sets the kind that they stand in for; and the stage at which pruned networks are compared."""
    methods = {DENSE: MethodKind(kind=DENSE, granularity="", settings="")}
    for label, entry in study.methods.items():
        own = entry.model_dump(exclude={"kind", "granularity", "ratios", "training"}, exclude_defaults=True)
        settings = ", ".join(f"{key} {radius.text(value) if key == 'eps' else value}" for key, value in own.items())
        methods[label] = MethodKind(kind=entry.kind, granularity=getattr(entry, "granularity", "weight"), settings=settings)
    for path, entry in study.imports.items():
        cell = parse(path).cell
        if cell and cell.method not in methods:
            # A network of others, by a method that this study has not: what it is called is all that is known of it.
            methods[cell.method] = MethodKind(kind=cell.method, granularity=entry.granularity, settings="")
    stand_ins = _published(study).datasets
    return Kinds(
        datasets={label: stand_ins.get(label, entry.kind) for label, entry in study.datasets.items()},
        stand_ins=sorted(label for label, kind in stand_ins.items() if kind != study.datasets[label].kind),
        models={label: entry.kind for label, entry in study.models.items()},
        objectives={label: entry.kind for label, entry in study.objectives.items()},
        methods=methods,
        stage=cells.shown_stage(study),
    )


def _evaluations(study: Study, room: EvaluatedRoom, objective: str) -> dict[str, str]:
    """Kinds of the attacks or verifiers of an objective's networks, by label."""
    return {label: entry.kind for label, entry in study.evaluations(room, objective).items()}


def _nonstandard(attack: Any) -> str:
    """The settings in which an AutoAttack is not the standard version, which is meant where one is published; or nothing."""
    if attack.kind != "autoattack":
        return ""
    own = attack.model_dump(include={"steps", "queries", "precision", "skip_verified"}, exclude_defaults=True)
    return ", ".join(f"{key} {' and '.join(value) if isinstance(value, list) else value}" for key, value in own.items())


def _epochs(study: Study, objective: str, method: str) -> str:
    """Epochs of training, pruning and fine-tuning, such as `100 + 20 + 100`; empty for a method that is not the study's."""
    if method not in (DENSE, *study.methods):
        return ""
    stages = [study.schedule(objective, "pretrain")]
    if method != DENSE:
        entry = study.methods[method]
        pipeline = PIPELINES[entry.pipeline]
        stages = stages if pipeline.parent == DENSE else []
        # Ratios may differ in it; the first is told.
        ratio = (entry.ratios or study.ratios)[0]
        stages += [study.pruning_schedule(objective, method, ratio)] if entry.needs != "nothing" else []
        shown = cells.shown_stage(study)
        stages += [study.schedule(objective, pipeline.afterwards, method)] if shown != "pruned" else []
        stages += [study.grafting.schedule] if study.grafting and shown == GRAFTED else []
    return " + ".join(str(schedule.epochs) for schedule in stages)
