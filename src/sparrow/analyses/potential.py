"""Prune potential: the largest ratio at which pruned networks lose no more than `delta` of their dense parent's accuracy.

For each distribution of images: `benign`, `era`, `vra` and, where the study has the analysis `corruptions`, `corrupted` (mean
over kinds) and each kind at each severity. Three readings, by the loss of the same images and seeds, at a level of 95 %,
one-sided: `shown` is the largest ratio whose loss is below `delta` with confidence, `point` the largest one whose loss is
measured below it, `not_refuted` the largest one that is not shown to lose more. 0 is none of the ratios tried, and as in the
paper's code a smaller ratio may fail where a larger one does not. No number of images that is below three over `delta` can
show anything, even without a single change. Empty where the dense network has hardly anything to lose: there every ratio would
do. The second table has what pruning costs besides benign accuracy: `preserved` is the share of the dense accuracy that is
left, `excess` by how much the step from benign accuracy down to that of a distribution has grown (`relative`: the same as a
quotient; for `corrupted` it is the relative corruption error against the dense parent). Where benign accuracy collapses the
step shrinks, and an excess below zero is no gain: read it where `kept`, the share of benign accuracy that is left, is near 1.

Source: L. Liebenwein et al., "Lost in Pruning: The Effects of Pruning Neural Networks beyond Test Accuracy", MLSys 2021:
potential (with a delta of 0.005) and excess error, and their code (https://github.com/lucaslie/torchprune, commit 14b392c),
which takes the largest ratio that satisfies it. D. Hendrycks and T. Dietterich, "Benchmarking Neural Network Robustness to
Common Corruptions and Perturbations", ICLR 2019: relative corruption error. Ours: the readings, which the paper does not tell
apart, with the intervals of the ranking, over images and seeds together (theirs is a mean over networks); era and vra as
distributions; the dense parent in the place of AlexNet.

BibTeX:

@inproceedings{liebenwein2021lost,
  author = {Liebenwein, Lucas and Baykal, Cenk and Carter, Brandon and Gifford, David and Rus, Daniela},
  title = {Lost in Pruning: The Effects of Pruning Neural Networks beyond Test Accuracy},
  booktitle = {Proceedings of Machine Learning and Systems},
  year = {2021},
}

@inproceedings{hendrycks2019benchmarking,
  author = {Hendrycks, Dan and Dietterich, Thomas},
  title = {Benchmarking Neural Network Robustness to Common Corruptions and Perturbations},
  booktitle = {International Conference on Learning Representations},
  year = {2019},
}
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from pydantic import Field

from sparrow.files.corruption_kinds import KINDS
from sparrow.files.paths import IDENTITY, LABEL_COLUMNS, SCOPE_COLUMNS, is_in_family
from sparrow.files.specs import opened
from sparrow.results.specs.figures import FigureSpec
from sparrow.settings import Analysis, Columns, Requirement, Scope

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from sparrow.results.study_tables import Tables

CELL = tuple(column for column in SCOPE_COLUMNS["seeds"] if column != "ratio")
"""Columns that say whose potential it is."""
LEVEL = 0.9
"""Of a two-sided interval whose ends are one-sided bounds of 95 %."""


class Params(Analysis):
    """What may be lost."""

    scope: ClassVar[Scope] = "tables"
    requires: ClassVar[tuple[Requirement, ...]] = ("dense",)
    reads: ClassVar[tuple[str, ...]] = ("corruptions",)
    tables: ClassVar[Columns] = {
        "potential": (
            *CELL,
            *("distribution", "severity", "delta", "dense", "shown", "point", "not_refuted", "ratios", "seeds", "images"),
        ),
        "excess": (
            *CELL,
            *("ratio", "distribution", "severity", "kept", "preserved", "excess", "low", "high", "relative", "seeds", "images"),
        ),
    }

    delta: float = Field(0.005, ge=0, lt=1)
    """Accuracy, of 1, that may be lost."""


class Distribution(NamedTuple):
    """A distribution of test images, or what counts as right on them."""

    name: str
    severity: int | None = None


BENIGN = Distribution("benign")
Hits = dict[Distribution, "pd.Series"]
"""For each distribution, how often each image (index) is right: 0, 1 or a mean over kinds of corruptions."""


def analyse(subject: Tables, params: Params) -> dict[str, list[tuple[Any, ...]]]:
    """A row for each method and distribution, and one for each of these and each ratio."""
    corrupted = _corrupted(subject)
    dense: dict[tuple[Any, ...], dict[int, Hits]] = {}
    pruned: dict[tuple[Any, ...], dict[float, dict[int, Hits]]] = {}
    for one in subject.networks:
        who = one.identity
        hits: Hits = {
            BENIGN: one.outcomes.correct(),
            Distribution("era"): one.outcomes.robust(),
            Distribution("vra"): one.outcomes.verified(),
        } | corrupted.get(tuple(who.values()), {})
        if who["stage"] == "dense":
            dense.setdefault(tuple(who[name] for name in LABEL_COLUMNS), {})[who["seed"]] = hits
        elif is_in_family(who["stage"]):  # A variant of the dense network has no ratio.
            cell = tuple(who[name] for name in CELL)
            pruned.setdefault(cell, {}).setdefault(who["ratio"], {})[who["seed"]] = hits
    tables: dict[str, list[tuple[Any, ...]]] = {"potential": [], "excess": []}
    for cell, by_ratio in pruned.items():
        parents = dense.get(cell[: len(LABEL_COLUMNS)], {})
        tables["potential"] += [(*cell, *row) for row in potentials(parents, by_ratio, params.delta)]
        tables["excess"] += [(*cell, *row) for row in excesses(parents, by_ratio)]
    return tables


def _corrupted(subject: Tables) -> dict[tuple[Any, ...], Hits]:
    """What each network, by its identity, gets right under corruptions; nothing without that analysis."""
    found: dict[tuple[Any, ...], Hits] = {}
    # Of several analyses of this kind, which differ in the size of their batches alone, any will do.
    for table in [one.tables["images"] for one in subject.analysed][:1]:
        for (*who, severity), rows in table.groupby([*IDENTITY, "severity"]):
            kinds = [kind for kind in KINDS if rows[kind].notna().all()]
            hits = rows.set_index("image")[kinds].eq(rows.set_index("image")["label"], axis=0)
            level = int(str(severity))
            own = {Distribution("corrupted", level): hits.mean(axis=1)}
            found.setdefault(tuple(who), {}).update(own | {Distribution(kind, level): hits[kind] for kind in kinds})
    return found


def potentials(parents: dict[int, Hits], by_ratio: dict[float, dict[int, Hits]], delta: float) -> Iterator[tuple[Any, ...]]:
    """For each distribution the columns of the first table behind `CELL`; `parents` are the dense networks by seed."""
    for distribution in _distributions(parents):
        found = _frames(parents, distribution)
        if found is None:
            continue
        (before,) = found
        losses = {}
        for ratio, seeds in by_ratio.items():
            if frames := _both(parents, seeds, distribution):
                losses[ratio] = loss(*frames)
        readings: list[float | None] = [None, None, None]
        # A network that is never right would pass as well.
        if losses and loss(before, before * 0)[0] > delta:
            # Of the upper end, the mean and the lower end.
            readings = [max((ratio for ratio in losses if losses[ratio][end] <= delta), default=0.0) for end in (2, 1, 0)]
        yield *distribution, delta, float(before.to_numpy().mean()), *readings, len(losses), before.shape[1], len(before)


def loss(before: pd.DataFrame, after: pd.DataFrame) -> tuple[float, float, float]:
    """One-sided lower bound, mean and upper bound of `before - after` (images x seeds).

    The bounds are at least as far away as those of as many images without a single change, `1 - 0.05^(1/n)`, of which the
    variance says nothing.
    """
    from sparrow.results.ranking import difference

    mean, low, high, _ = difference(before, after, LEVEL)
    least = 1 - (0.5 - LEVEL / 2) ** (1 / len(before))
    return min(low, mean - least), mean, max(high, mean + least)


def excesses(parents: dict[int, Hits], by_ratio: dict[float, dict[int, Hits]]) -> Iterator[tuple[Any, ...]]:
    """For each ratio and distribution but the benign one the columns of the second table behind `CELL`."""
    from sparrow.results.ranking import difference

    for ratio, seeds in sorted(by_ratio.items()):
        for distribution in _distributions(parents):
            frames = distribution != BENIGN and _both(parents, seeds, BENIGN, distribution)
            if not frames:
                continue
            benign, there, pruned_benign, pruned_there = frames
            before, after = benign - there, pruned_benign - pruned_there
            excess, low, high, _ = difference(after, before)
            steps = [float(step.to_numpy().mean()) for step in (before, after)]
            means = [float(hits.to_numpy().mean()) for hits in frames]
            kept, preserved = (means[place + 2] / means[place] if means[place] else None for place in (0, 1))
            relative = steps[1] / steps[0] if steps[0] > 0 else None
            yield repr(ratio), *distribution, kept, preserved, excess, low, high, relative, before.shape[1], len(before)


def _distributions(parents: dict[int, Hits]) -> list[Distribution]:
    """Those that a dense network has, in their order."""
    return list(dict.fromkeys(one for hits in parents.values() for one in hits))


def _both(parents: dict[int, Hits], pruned: dict[int, Hits], *wanted: Distribution) -> list[pd.DataFrame] | None:
    """Images by seeds of the dense networks, in each distribution, and of the pruned ones; all of the same images and seeds.

    None if those of a seed are not all there, as where a network failed, or no image is in all of them.
    """
    before, after = _frames(parents, *wanted), _frames(pruned, *wanted)
    if not before or not after or list(before[0].columns) != list(after[0].columns):
        return None
    images = before[0].index.intersection(after[0].index)
    return [frame.loc[images] for frame in (*before, *after)] if len(images) else None


def _frames(networks: dict[int, Hits], *wanted: Distribution) -> list[pd.DataFrame] | None:
    """Images by seeds in each distribution, of the images that are in all of them; None if a network has no hits in one."""
    import pandas as pd

    if not networks or not all(len(hits.get(one, ())) for hits in networks.values() for one in wanted):
        return None
    frames = [pd.DataFrame({seed: networks[seed][one] for seed in sorted(networks)}).dropna().astype(float) for one in wanted]
    images = frames[0].index
    for frame in frames[1:]:
        images = images.intersection(frame.index)
    return [frame.loc[images.sort_values()] for frame in frames] if len(images) else None


@opened(FigureSpec)
def draw(source: list[Path], svg: Path, png: Path, spec: FigureSpec) -> None:
    """Prune potential of each distribution of images: a bar up to the largest ratio that is shown to lose no more than delta, a
    mark at what is measured, a line to the largest ratio that is not refuted. No bar: nothing is shown. Of kinds of
    corruptions, at the middle one of the severities. Below: excess error against the ratio, with its 95 % interval, where at
    least 90 % of benign accuracy is kept; full: of the threat (era), hollow: of corruptions."""
    import pandas as pd

    from sparrow.results.figures import style

    of_study = [pd.read_csv(path) for path in source]
    looks = style.looks(svg, spec, of_study[1])
    potential, excess = (style.select(table, dataset=spec.dataset, model=spec.model, stage=spec.stage) for table in of_study)
    severities = sorted(potential["severity"].dropna().unique())
    middle = severities[(len(severities) - 1) // 2] if severities else None
    of_a_kind = potential["distribution"].isin(KINDS)
    shown = pd.concat([potential[~of_a_kind], potential[of_a_kind & (potential["severity"] == middle)]])
    names = [f"{name}" if pd.isna(severity) else f"{name} {severity:g}" for name, severity in _named(shown)]
    methods, ratios = looks.order(excess["method"].unique()), sorted(excess["ratio"].unique())
    tall = max(len(names) * (0.09 * len(methods) + 0.12), 1.5)
    ratio_of_heights: dict[str, Any] = {"gridspec_kw": {"height_ratios": [tall, 2.0]}}
    figure, grid = style.panels(2, len(spec.objectives), height=(tall + 2) / 2, sharex=True, sharey="row", **ratio_of_heights)
    # Points of one ratio stand side by side, well apart from those of the next.
    places = [style.position(ratio) for ratio in [0.0, *ratios]]
    room = min([0.12, *(0.5 * (after - before) for before, after in pairwise(places))])
    for column, objective in enumerate(spec.objectives):
        above, below = grid[:, column]
        for place, method in enumerate(methods):
            look, rows = looks.of(method), style.select(shown, objective=objective, method=method)
            _bars(above, rows, [*_named(shown)], (place + 0.5) / len(methods), 0.8 / len(methods), look)
            lines = style.select(excess, objective=objective, method=method)
            for shift, (name, fill) in enumerate((("era", "full"), ("corrupted", "none"))):
                own = lines[(lines["distribution"] == name) & (lines["severity"].isna() | (lines["severity"] == middle))]
                own = own[own["kept"] >= 0.9]
                aside = room * ((2 * place + shift + 0.5) / (2 * len(methods)) - 0.5)
                points = 100 * own.set_index("ratio")[["excess", "low", "high"]].rename(columns={"excess": "mean"})
                below.errorbar(
                    [style.position(ratio) + aside for ratio in points.index],
                    points["mean"],
                    looks.errors(method, points),
                    label=looks.label(method) if name == "era" else None,
                    fillstyle=fill,
                    elinewidth=0.6,
                    **look | {"linewidth": 0.8},
                )
        for number, (name, severity) in enumerate(_named(shown)):
            own = style.select(shown, objective=objective, distribution=name)
            own = own if pd.isna(severity) else own[own["severity"] == severity]
            if own["shown"].isna().all():
                words = "nothing to lose" if len(own) else "not measured"
                above.text(
                    0.02, number + 0.5, words, transform=above.get_yaxis_transform(), color="grey", va="center", fontsize=7
                )
        if not (style.select(excess, objective=objective)["kept"] >= 0.9).any():
            words = "no network keeps\n90 % of benign accuracy"
            below.text(0.5, 0.7, words, transform=below.transAxes, **style.MESSAGE)
        below.axhline(0, color="grey", linestyle="--", linewidth=1)
        above.set_yticks([number + 0.5 for number in range(len(names))], names, fontsize=7)
        for number in range(1, len(names)):
            above.axhline(number, color="grey", linewidth=0.3)
        above.grid(axis="y", visible=False)
        above.set_title(style.title(spec, objective))
        below.set_xlabel("pruning ratio")
        style.compression_axis(below, [0.0, *ratios])
        below.tick_params(axis="x", labelrotation=90 if len(ratios) > 3 else 0)
    grid[0, 0].set_ylim(max(len(names), 1), 0)
    grid[1, 0].set_ylabel("excess error (points)")
    style.legend_below(figure, grid[1, 0])
    style.write(figure, svg, png)


def _named(table: pd.DataFrame) -> list[tuple[str, float]]:
    """The distributions of a table with their severities, in their order."""
    return list(table[["distribution", "severity"]].drop_duplicates().itertuples(index=False, name=None))


def _bars(
    axes: Axes, rows: pd.DataFrame, names: list[tuple[str, float]], at: float, height: float, look: dict[str, str]
) -> None:
    """One method's bars, `at` a share of each distribution's place."""
    import pandas as pd

    from sparrow.results.figures import style

    found = {str(name): row for name, row in zip(_named(rows), rows.to_dict("records"), strict=True)}
    for number, name in enumerate(names):
        row = found.get(str(name))
        if row is None or pd.isna(row["shown"]):
            continue
        ends = [style.position(row[reading]) for reading in ("shown", "point", "not_refuted")]
        axes.barh(number + at, ends[0], height, color=look["color"], alpha=0.8)
        axes.plot([ends[0], ends[2]], [number + at] * 2, color=look["color"], linewidth=0.8)
        axes.plot([ends[1]], [number + at], color=look["color"], marker=look["marker"], markersize=3)
