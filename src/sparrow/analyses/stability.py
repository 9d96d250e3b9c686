"""Stable ReLUs: those whose sign no perturbation changes, which is what makes a network easy to verify.

A ReLU is stable for an image if its input has one sign over the whole perturbation set, as far as CROWN can tell; bounds
lose nothing there, and branch and bound has nothing to split. Counted over the test images that the network classifies
correctly (all, if that is none): each network on images of its own, so that one which has lost accuracy is counted on those
that it still gets right. The column `images` says on how many. Of other activations nothing is counted; a network without
ReLUs has no row.

Source: Xiao et al., "Training for Faster Adversarial Robustness Verification via Inducing ReLU Stability", ICLR 2019.

BibTeX:

@inproceedings{xiao2019training,
  author = {Xiao, Kai Y. and Tjeng, Vincent and Shafiullah, Nur Muhammad and Madry, Aleksander},
  title = {Training for Faster Adversarial Robustness Verification via Inducing {ReLU} Stability},
  booktitle = {International Conference on Learning Representations},
  year = {2019},
}
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from sparrow.files.specs import opened
from sparrow.lazy_torch import torch
from sparrow.results.specs.figures import FigureSpec
from sparrow.settings import Analysis, Columns, Need, Scope, Settings

if TYPE_CHECKING:
    import pandas as pd

    from sparrow.inference.subjects import OneNetwork


class Params(Analysis):
    """How many images, and how many of them at a time."""

    scope: ClassVar[Scope] = "network"
    needs: ClassVar[tuple[Need, ...]] = ("threat",)
    # The layer, counted from the image; its neurons; of these, means over images: always on, always off, neither; and how many
    # images: those that the network classifies correctly, which are others for each.
    tables: ClassVar[Columns] = {"stability": ("layer", "neurons", "active", "inactive", "unstable", "images")}

    samples: int | None = Field(None, ge=1)
    """Count on this many test images; on all if null."""
    batch_size: int = Field(128, ge=1)
    """Images per batch."""


def members(params: Params) -> dict[str, Settings]:
    """CROWN's bounds, once an image."""
    from sparrow.verification.params import Verification

    return {"crown": Verification(samples=params.samples)}


def analyse(subject: OneNetwork, params: Params) -> list[tuple[float, ...]]:
    """A row for each layer of ReLUs."""
    from sparrow.networks.batched import batches, predict
    from sparrow.verification.bounds import neurons
    from sparrow.verification.crown import input_ranges

    part = subject.data.part("test", params.samples)
    model = subject.network.load(part.images, params.batch_size)
    chosen = predict(model, part.images, params.batch_size) == part.labels
    chosen = chosen if chosen.any() else torch.ones_like(chosen)
    totals: list[list[float]] = []
    sizes: list[int] = []
    for batch in batches(chosen, params.batch_size):
        ranges = input_ranges(model, part.images[batch], part.labels[batch], subject.threat, subject.data.about.classes)
        totals, sizes = totals or [[0.0, 0.0] for _ in ranges], [lower[0].numel() for lower, _ in ranges]
        for total, (lower, upper) in zip(totals, ranges, strict=True):
            # What is always zero hands nothing on, such as a neuron without weights.
            total[0] += float(((lower >= 0) & (upper > 0)).sum())
            total[1] += float((upper <= 0).sum())
    count = int(chosen.sum())
    if subject.network.cut:
        # Of filters that are not there the ReLUs are off, so that shares are of as many as the dense network has.
        whole = neurons(subject.network.as_built(part.images), part.images[:1])
        for total, all_of_them, left in zip(totals, whole, sizes, strict=True):
            total[1] += count * (all_of_them - left)
        sizes = whole
    rows: list[tuple[float, ...]] = [
        (layer, size, on / count, off / count, size - (on + off) / count, count)
        for layer, (size, (on, off)) in enumerate(zip(sizes, totals, strict=True), start=1)
    ]
    print(f"{sum(row[4] for row in rows):.1f} of {sum(sizes)} ReLUs unstable on average over {count} images")
    return rows


@opened(FigureSpec)
def draw(source: Path, svg: Path, png: Path, spec: FigureSpec) -> None:
    """The share of unstable ReLUs. Above: in all layers, against the pruning ratio. Below: in each layer, at the middle ratio.
    Means over seeds, with the lowest and the highest; dashed: the dense network. Each network is counted on the test images
    that it classifies correctly (all, if that is none), and so on others than its neighbours: `images` in the table says on how
    many. ReLUs alone are counted: where networks have none, there is nothing to show."""
    import pandas as pd
    from matplotlib import ticker

    from sparrow.results.figures import style

    of_study = pd.read_csv(source)
    looks, table = style.looks(svg, spec, of_study), style.select(of_study, dataset=spec.dataset, model=spec.model)
    dense, pruned = (style.select(table, stage=stage) for stage in ("dense", spec.stage))
    methods, ratios = sorted(pruned["method"].unique()), sorted(pruned["ratio"].unique())
    middle = style.middle_ratio(pruned)
    objectives = spec.objectives
    why = {one: _why_nothing(svg, spec, one) for one in objectives if style.select(table, objective=one).empty}
    if len(why) == len(objectives):
        style.write(style.message("\n".join(f"{one}: {reason}" for one, reason in why.items())), svg, png)
        return
    figure, grid = style.panels(2, len(objectives), width=looks.width, sharey="row")
    for column, objective in enumerate(objectives):
        above, below = grid[:, column]
        above.set_title(style.title(spec, objective))
        if objective in why:
            above.text(0.5, 0.5, style.wrapped(why[objective], 34), transform=above.transAxes, **style.MESSAGE)
            above.set_axis_off()
            below.set_axis_off()
            continue
        for method in looks.order(methods):
            rows = style.select(pruned, objective=objective, method=method)
            # A network that failed leaves a gap.
            points = _unstable(rows, "ratio").reindex(ratios)
            above.errorbar(
                [style.position(ratio) for ratio in ratios],
                points["mean"],
                looks.errors(method, points),
                capsize=2,
                elinewidth=0.8,
                **looks.line(method),
            )
            points = _unstable(style.select(rows, ratio=middle), "layer")
            below.plot(points.index, points["mean"], **looks.of(method))
        parents = style.select(dense, objective=objective)
        if len(parents):
            line = {"color": "grey", "linestyle": "--", "linewidth": 1}
            above.axhline(_unstable(parents, "ratio")["mean"].iloc[0], label="dense", **line)
            points = _unstable(parents, "layer")
            below.plot(points.index, points["mean"], marker=".", **line)
        style.compression_axis(above, ratios)
        below.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
        above.set_xlabel("pruning ratio")
        below.set_xlabel("layer")
    first = next(column for column, objective in enumerate(objectives) if objective not in why)
    grid[0, first].set_ylabel("unstable ReLUs (%)\nall layers")
    grid[1, first].set_ylabel("unstable ReLUs (%)" + (f"\nratio {middle:g}" if ratios else ""))
    for row in grid:
        style.from_zero(row[first])
    for axes in grid[0]:
        looks.name_ends(axes)
    style.legend_below(figure, grid[0, first])
    style.write(figure, svg, png)


def _why_nothing(svg: Path, spec: FigureSpec, objective: str) -> str:
    """Why no ReLU was counted in the networks of an objective."""
    from sparrow.results.figures import style

    networks = style.networks_of_study(svg)
    if networks is not None:
        own = style.select(networks, dataset=spec.dataset, model=spec.model, objective=objective)
        if own["failed"].isna().any():
            return "these networks have no ReLU, and no other activation is counted"
    return "no network has a result"


def _unstable(rows: pd.DataFrame, key: str) -> pd.DataFrame:
    """Percent of the ReLUs that are unstable by `key`: mean over seeds, lowest and highest."""
    import pandas as pd

    sums = rows.groupby([key, "seed"])[["unstable", "neurons"]].sum().astype(float)
    shares = 100 * sums["unstable"] / sums["neurons"]
    return pd.DataFrame(shares.groupby(key).agg(mean="mean", low="min", high="max"))
