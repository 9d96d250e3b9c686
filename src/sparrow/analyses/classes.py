"""Classes: which of them pruning hits harder than the rest, or less, by tests over seeds.

The recall of a class is compared with the network's own accuracy over the same images: `change` is the mean over seeds of
(recall - accuracy) of the pruned network minus that of its dense parent, with a 95 % interval; below zero, the class loses more
than the others do. `t_paired` and `p_paired` are those of the paired t test over seeds, for a pruned network and the dense one
that it comes from belong together; `p_holm` is adjusted over the classes of a panel (one cell, stage and metric).

Beside it is the test of the paper, `t_welch` and `p_welch`, unadjusted: Welch's, of two populations that have nothing to do
with each other, after the mean accuracy of each is taken off. There a class that all networks of a side have at the same recall
does not vary, and any difference of the mean accuracies is significant: where a population does not vary there is no p. Few
seeds have little power, so that a class without a small p may be hit all the same; and a class whose recall is 1 throughout
gains on the others as these lose.

Source: Hooker et al., "What Do Compressed Deep Neural Networks Forget?", arXiv 1911.05248, in the form of the released code
(google-research/google-research, pruning_identified_exemplars, gen_tstatistic.py), whose test is Welch's, of networks pruned in
training. Pairs, each network's own accuracy, intervals and Holm's adjustment are Sparrow's own.

BibTeX:

@article{hooker2019compressed,
  author = {Hooker, Sara and Courville, Aaron and Clark, Gregory and Dauphin, Yann and Frome, Andrea},
  title = {What Do Compressed Deep Neural Networks Forget?},
  journal = {arXiv preprint arXiv:1911.05248},
  year = {2019},
}
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from sparrow.files.paths import CELL_COLUMNS
from sparrow.files.specs import opened
from sparrow.results.specs.figures import FigureSpec
from sparrow.settings import Analysis, Columns, Requirement, Scope

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from sparrow.results.outcomes import Outcomes
    from sparrow.results.seeds import Group
    from sparrow.results.study_tables import Tables

METRICS = ("benign", "era", "vra")
LINES = {"benign": "-", "era": "--", "vra": ":"}
ALPHA = 0.05


class Params(Analysis):
    """It has no settings of its own."""

    scope: ClassVar[Scope] = "tables"
    requires: ClassVar[tuple[Requirement, ...]] = ("dense",)
    seeds_needed: ClassVar[int] = 3
    # Whose, in which metric; networks a side, and images of the class; means over seeds; the tests.
    tables: ClassVar[Columns] = {
        "classes": (
            *(*CELL_COLUMNS, "stage", "metric", "class", "seeds", "images"),
            *("recall_dense", "recall_pruned", "accuracy_dense", "accuracy_pruned", "change", "low", "high"),
            *("t_paired", "p_paired", "p_holm", "t_welch", "p_welch"),
        )
    }


def analyse(subject: Tables, params: Params) -> list[tuple]:
    """A row for each cell, metric and class. Cells with fewer networks than `seeds_needed` have none."""
    from sparrow.results.seeds import groups

    rows = []
    for group in groups(subject):
        if len(group.pairs) < params.seeds_needed:
            print(f"{group.name}: {len(group.pairs)} networks have outcomes, and {params.seeds_needed} are needed")
            continue
        for metric in METRICS:
            rows += [(*group.identity, metric, *row) for row in _panel(group, metric)]
    return rows


def _panel(group: Group, metric: str) -> list[tuple]:
    """The rows of one cell and metric; none where a network has no such metric."""
    from sparrow.results.ranking import holm

    dense, pruned = (_side([one.outcomes for one in side], metric) for side in zip(*group.pairs, strict=True))
    if dense is None or pruned is None:
        return []
    classes = [one for one in dense.images if one in pruned.images]
    tests = [compare(dense.of(one), dense.accuracies, pruned.of(one), pruned.accuracies) for one in classes]
    known = [place for place, test in enumerate(tests) if not math.isnan(test.p_paired)]
    adjusted = dict(zip(known, holm([tests[place].p_paired for place in known]), strict=True))
    return [
        (
            *(one, len(group.pairs), dense.images[one]),
            *(float(side.mean()) for side in (dense.of(one), pruned.of(one), dense.accuracies, pruned.accuracies)),
            *(test.change, test.low, test.high, test.t_paired, test.p_paired, adjusted.get(place, math.nan)),
            *(test.t_welch, test.p_welch),
        )
        for place, (one, test) in enumerate(zip(classes, tests, strict=True))
    ]


class Side(NamedTuple):
    """The networks of one side, dense or pruned."""

    recalls: pd.DataFrame
    """Of each seed (rows) and class (columns) that has images."""
    accuracies: np.ndarray
    """Of each network, over the same images (seeds,)."""
    images: dict[int, int]
    """By class."""

    def of(self, label: int) -> np.ndarray:
        """The recalls of a class (seeds,)."""
        return self.recalls[label].to_numpy(dtype=float)


def _side(networks: list[Outcomes], metric: str) -> Side | None:
    """The recalls of networks that differ by seed alone; None if one of them lacks the metric."""
    import numpy as np
    import pandas as pd

    from sparrow.results.recall import recalls

    tables = [recalls(outcomes).set_index("class") for outcomes in networks]
    found = pd.DataFrame([table[f"recall_{metric}"] for table in tables]).reset_index(drop=True).dropna(axis=1)
    if found.empty:
        return None
    sizes = tables[0][f"recall_{metric}_n"].loc[found.columns]
    accuracies = found.to_numpy(dtype=float) @ sizes.to_numpy(dtype=float) / sizes.sum()
    return Side(found, np.asarray(accuracies), dict(zip(sizes.index.tolist(), map(int, sizes), strict=True)))


class Comparison(NamedTuple):
    """How a class changes beyond the accuracy; NaN where a population does not vary."""

    change: float
    low: float
    high: float
    t_paired: float
    p_paired: float
    t_welch: float
    p_welch: float


def compare(dense: np.ndarray, dense_accuracy: np.ndarray, pruned: np.ndarray, pruned_accuracy: np.ndarray) -> Comparison:
    """The tests of one class, from its recalls and the networks' accuracies: all (seeds,), the same seed at the same place."""
    from scipy import stats

    from sparrow.results.statistics import mean_over_seeds

    before, after = dense - dense_accuracy, pruned - pruned_accuracy
    paired = welch = (math.nan, math.nan)
    if all(map(_varies, (before, after, after - before))):
        paired = stats.ttest_rel(after, before)
    if _varies(dense) and _varies(pruned):
        welch = stats.ttest_ind(pruned - pruned_accuracy.mean(), dense - dense_accuracy.mean(), equal_var=False)
    return Comparison(*mean_over_seeds(after - before), *map(float, paired), *map(float, welch))


def _varies(values: np.ndarray) -> bool:
    """Whether they differ by more than rounding."""
    return float(values.max() - values.min()) > 1e-9


@opened(FigureSpec)
def draw(source: Path, svg: Path, png: Path, spec: FigureSpec) -> None:
    """Which classes pruning hits harder than the rest. Above: how many classes change beyond the accuracy (paired t test over
    seeds, below 0.05 after Holm over the classes), against the ratio. Below: by how many points each of them does at the middle
    ratio, with 95 % intervals over seeds; full where the test says so. Below 0, the class loses more than the others do.
    """
    import pandas as pd
    from matplotlib import ticker

    from sparrow.results.figures import style

    of_study = pd.read_csv(source)
    looks = style.looks(svg, spec, of_study)
    table = style.select(of_study, dataset=spec.dataset, model=spec.model, stage=spec.stage)
    methods, ratios, objectives = sorted(table["method"].unique()), sorted(table["ratio"].unique()), spec.objectives
    # Where no network of either side has anything, no class can differ from the others.
    there = table.loc[table[["recall_dense", "recall_pruned"]].max(axis=1) > 0, "metric"]
    metrics = [metric for metric in METRICS if (there == metric).any()]
    middle = style.middle_ratio(table)
    table = table.assign(hit=table["p_holm"] < ALPHA)
    figure, grid = style.panels(1 + len(metrics), len(objectives), width=looks.width, height=1.9, sharey="row")
    for axes, objective in zip(grid[0], objectives, strict=True):
        own = style.select(table, objective=objective)
        for method in looks.order(methods):
            for metric in metrics:
                counts = style.select(own, method=method, metric=metric).groupby("ratio")["hit"].sum()
                across = [style.position(ratio) for ratio in counts.index]
                axes.plot(across, counts, **looks.of(method) | {"linestyle": LINES[metric]})
        style.compression_axis(axes, ratios)
        axes.set_title(style.title(spec, objective))
        axes.set_xlabel("pruning ratio")
        axes.yaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        if own.empty:
            axes.text(0.5, 0.5, "no tests", transform=axes.transAxes, **style.MESSAGE)
    for metric, row in zip(metrics, grid[1:], strict=True):
        row[0].set_ylabel(f"{metric} recall\nbeyond the accuracy\n(points, ratio {middle:g})")
        for axes, objective in zip(row, objectives, strict=True):
            axes.axhline(0, color="grey", linewidth=0.8)
            axes.set_xlabel("class")
            axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
            for place, method in enumerate(looks.order(methods)):
                points = style.select(table, objective=objective, metric=metric, method=method, ratio=middle)
                # Side by side within the width of a class.
                beside = points["class"] + 0.6 * ((place + 0.5) / len(methods) - 0.5)
                look: dict[str, Any] = {**looks.point(method), "markersize": 3.5 if looks.stands_out(method) else 2}
                bars = looks.errors(method, 100 * points[["change", "low", "high"]].rename(columns={"change": "mean"}))
                axes.errorbar(beside, 100 * points["change"], bars, **{"fillstyle": "none", "elinewidth": 0.6} | look)
                axes.plot(beside[points["hit"]], 100 * points["change"][points["hit"]], **look)
        # A change that is nothing but rounding is drawn as none.
        low, high = row[0].get_ylim()
        row[0].set_ylim(min(low, -1), max(high, 1))
    grid[0, 0].set_ylabel("classes that change")
    # A count: where no class changes, too, the axis has whole numbers.
    grid[0, 0].set_ylim(0, max(1.0, 1.05 * grid[0, 0].get_ylim()[1]))
    for method in looks.order(methods):
        grid[0, 0].plot([], [], **looks.line(method))
    for metric in metrics:
        grid[0, 0].plot([], [], label=metric, color="grey", linestyle=LINES[metric])
    style.legend_below(figure, grid[0, 0])
    style.write(figure, svg, png)
