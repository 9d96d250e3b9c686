"""Certified radius: how far around an image a smoothed classifier is certified, on average, and for how many images how far.

`average` is the average certified radius (ACR): the mean over images of the l2 radius that the verifier certifies, 0 where the
smoothed classifier abstains or is wrong, with its 95 % interval over images. `dense` is that of the dense network that it comes
from, over the same images, and `change` the difference, image by image. The second table has the certified accuracy at l2 radii
in steps of `step` (pixel units, images in [0, 1]), and at `needed`, the radius of the l2 ball around the threat's: there it is
the verifier's `vra`. Both come from the counts that verifiers of smoothed classifiers have made; nothing is computed anew.

An average is ruled by images that are easy: it can rise while fewer images are certified at the radius that matters, which the
curve shows. It holds for one `sigma`, whose largest radius is that of an image on which all draws agree, and for the
smoothed classifier, not for the network itself.

Source: Zhai et al., "MACER: Attack-free and Scalable Robust Training via Maximizing Certified Radius", ICLR 2020 (average
certified radius); Cohen, Rosenfeld and Kolter, "Certified Adversarial Robustness via Randomized Smoothing", ICML 2019
(certified accuracy at a radius). Intervals, and differences to the dense network, are Sparrow's own.

BibTeX:

@inproceedings{zhai2020macer,
  author = {Zhai, Runtian and Dan, Chen and He, Di and Zhang, Huan and Gong, Boqing and Ravikumar, Pradeep and Hsieh,
    Cho-Jui and Wang, Liwei},
  title = {{MACER}: Attack-free and Scalable Robust Training via Maximizing Certified Radius},
  booktitle = {International Conference on Learning Representations},
  year = {2020},
}

@inproceedings{cohen2019certified,
  author = {Cohen, Jeremy and Rosenfeld, Elan and Kolter, J. Zico},
  title = {Certified Adversarial Robustness via Randomized Smoothing},
  booktitle = {International Conference on Machine Learning},
  year = {2019},
}
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from sparrow.files.paths import IDENTITY
from sparrow.files.specs import opened
from sparrow.results.specs.figures import FigureSpec
from sparrow.settings import Analysis, Columns, Radius, Requirement, Scope

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from sparrow.results.study_tables import Evaluated, Tables

WHOSE = (*IDENTITY, "verifier")


class Params(Analysis):
    """How fine the curve is."""

    scope: ClassVar[Scope] = "tables"
    requires: ClassVar[tuple[Requirement, ...]] = ("smoothed",)
    tables: ClassVar[Columns] = {
        "certified-radius": (
            *(*WHOSE, "images", "abstained", "average", "low", "high", "needed"),
            *("dense", "change", "change_low", "change_high"),
        ),
        "curve": (*WHOSE, "radius", "certified", "low", "high", "images"),
    }

    step: Radius = 0.05
    """Step between the l2 radii of the curve, in pixel units."""


def analyse(subject: Tables, params: Params) -> dict[str, list[tuple]]:
    """A row for each network and verifier of a smoothed classifier, and one for each radius of its curve."""
    from sparrow.files.outcome_table import ABSTAINED
    from sparrow.results import certified

    rows: dict[str, list[tuple]] = {"certified-radius": [], "curve": []}
    for one in subject.networks:
        for verifier, table in one.outcomes.smoothed.items():
            values = one.identity | {"ratio": repr(float(one.identity["ratio"])), "verifier": verifier}
            who = tuple(values[name] for name in WHOSE)
            found, silent = certified.radii(table, one.shape), int((table["prediction"] == ABSTAINED).sum())
            own = (len(table), silent, *certified.average(found), certified.needed(table, one.shape))
            parent = subject.dense_of(one)
            rows["certified-radius"].append((*who, *own, *_beside(found, parent, verifier)))
            curve = certified.curve(table, one.shape, params.step)
            rows["curve"] += [(*who, *point, len(table)) for point in curve.itertuples(index=False, name=None)]
    return rows


def _beside(found: pd.Series, parent: Evaluated | None, verifier: str) -> tuple[float, float, float, float]:
    """The average certified radius of the dense network, and the difference to it with its interval; NaN where there is
    none."""
    from sparrow.results import certified

    nothing = float("nan")
    if parent is None or verifier not in parent.outcomes.smoothed:
        return nothing, nothing, nothing, nothing
    before = certified.radii(parent.outcomes.smoothed[verifier], parent.shape)
    both = found.index.intersection(before.index)
    if both.empty:
        return nothing, nothing, nothing, nothing
    return certified.average(before[both])[0], *certified.average(found[both] - before[both])


@opened(FigureSpec)
def draw(source: list[Path], svg: Path, png: Path, spec: FigureSpec) -> None:
    """Certified radii of smoothed classifiers. Above: the average certified radius against the ratio, with 95 % intervals (over
    seeds; of a single one, over images). Below: the share of images that are certified right within an l2 radius, at the middle
    ratio, mean over seeds; the upright line is the radius that the threat needs. Dashed: dense networks. Two rows for each
    verifier.
    """
    import pandas as pd

    from sparrow.results.figures import style

    of_study = [pd.read_csv(path) for path in source]
    looks = style.looks(svg, spec, of_study[0])
    averages, curves = (style.select(table, dataset=spec.dataset, model=spec.model) for table in of_study)
    pruned = style.select(averages, stage=spec.stage)
    methods, ratios, objectives = sorted(pruned["method"].unique()), sorted(pruned["ratio"].unique()), spec.objectives
    middle = style.middle_ratio(pruned)
    verifiers = sorted(averages["verifier"].unique())
    figure, grid = style.panels(2 * max(len(verifiers), 1), len(objectives), width=looks.width, height=1.8, sharey="row")
    dashed = {"color": "grey", "linestyle": "--", "linewidth": 1}
    for place, verifier in enumerate(verifiers):
        for column, objective in enumerate(objectives):
            above, below = grid[2 * place : 2 * place + 2, column]
            own = style.select(averages, objective=objective, verifier=verifier)
            points = style.select(curves, objective=objective, verifier=verifier)
            for method in looks.order(methods):
                rows, look = style.select(own, method=method, stage=spec.stage), looks.of(method)
                means = _means(rows)
                across = [style.position(ratio) for ratio in means.index]
                bars = looks.errors(method, means)
                above.errorbar(across, means["mean"], bars, label=looks.label(method), capsize=2, elinewidth=0.8, **look)
                _curve(below, style.select(points, method=method, stage=spec.stage, ratio=middle), **look, markevery=5)
            dense = style.select(own, stage="dense")
            if len(dense):
                above.axhline(dense["average"].mean(), label="dense", **dashed)
                _curve(below, style.select(points, stage="dense"), **dashed)
            for radius in own["needed"].unique():
                below.axvline(radius, color="black", linewidth=0.6)
                above.plot([], [], color="black", linewidth=0.6, label="what the threat needs")
            style.compression_axis(above, ratios)
            above.set_xlabel("pruning ratio")
            below.set_xlabel("l2 radius")
            below.set_xlim(left=0)
            above.set_title(style.title(spec, objective))
            if own.empty:
                above.text(0.5, 0.5, "not smoothed", transform=above.transAxes, **style.MESSAGE)
        grid[2 * place, 0].set_ylabel(f"{verifier}\naverage certified radius")
        style.from_zero(grid[2 * place, 0])
        grid[2 * place + 1, 0].set_ylabel(f"{verifier}\ncertified (%)" + (f", ratio {middle:g}" if ratios else ""))
        grid[2 * place + 1, 0].set_ylim(-3, 103)
    for axes in grid[::2].flat:
        looks.name_ends(axes)
    style.legend_below(figure, grid[0, 0])
    style.write(figure, svg, png)


def _means(rows: pd.DataFrame) -> pd.DataFrame:
    """Average certified radius with its interval by ratio."""
    from sparrow.results.figures import style

    return style.over_seeds(rows.rename(columns={"low": "average_low", "high": "average_high"}), "average")


def _curve(axes: Axes, points: pd.DataFrame, **look: Any) -> None:
    """Draw the certified accuracy against the radius, mean over seeds; past its end a curve is 0."""
    if len(points):
        by_seed = points.pivot_table(index="radius", columns="seed", values="certified").fillna(0)
        axes.plot(by_seed.index, 100 * by_seed.mean(axis=1), **look)
