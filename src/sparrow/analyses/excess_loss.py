"""Excess loss by class: how much more of it pruning costs one class than another.

Of each class, the mean cross-entropy on its test images by the dense network (`dense_loss`) and by the pruned one
(`pruned_loss`), and the difference R (`excess_loss`, with a 95 % interval over images, which both networks share); the same
of recall. In `excess-loss.violation`, for each network, `violation` is max R - min R over the classes. It is above 0 by
chance alone, the more so the fewer images a class has: `by_chance` is what it is on average if classes are shuffled among
the images, and `p` how often it is as large then. `dense_spread` and `pruned_spread` are max - min recall. Loss and recall
are of images as they are (recall.csv has the recalls under attack), and the loss is plain cross-entropy, whatever the
network was trained on: a network that is sure of its mistakes has much of it, so that R tells also of how sure networks
are, which recall does not.

That R is no more than |g| |dw| + lambda |dw|^2 / 2, with the norm of the class's gradient and the largest eigenvalue of its
Hessian at the dense network's weights and dw what pruning has moved, is the paper's explanation; it is not drawn here. It
is Taylor's at a distance where Taylor says nothing: on the digits |dw| was 10 to 24 and the bound 1.4 to 6,000 for an R of
0.05 to 2.7. Over ten classes R was correlated with |g| by -0.73 to 0.73 and with lambda by -0.44 to 0.55 (Spearman), with
signs that change between ratios; and fine-tuning moves the weights on.

Source: Tran et al., "Pruning has a disparate impact on model accuracy", NeurIPS 2022, sections 3 (R and its spread, theorem
1) and 6 (max - min accuracy); groups are the classes, as there for CIFAR-10 and SVHN. Intervals and shuffles are Sparrow's
own.

BibTeX:

@inproceedings{tran2022pruning,
  author = {Tran, Cuong and Fioretto, Ferdinando and Kim, Jung-Eun and Naidu, Rakshit},
  title = {Pruning has a disparate impact on model accuracy},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2022},
}
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pydantic import Field

from sparrow.files.specs import opened
from sparrow.results.specs.figures import FigureSpec
from sparrow.settings import Analysis, Columns, Need, Scope

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from torch import Tensor

    from sparrow.inference.subjects import Pair

CHUNK = 100
"""Shuffles that are computed at a time."""


class Params(Analysis):
    """How chance is told."""

    scope: ClassVar[Scope] = "pair"
    needs: ClassVar[tuple[Need, ...]] = ("outputs",)
    # A class and its images; mean losses, their difference with its interval, recalls. Then of all classes that have images.
    tables: ClassVar[Columns] = {
        "excess-loss": (
            *("class", "images", "dense_loss", "pruned_loss", "excess_loss", "low", "high", "dense_recall", "pruned_recall"),
        ),
        "violation": ("images", "classes", "violation", "by_chance", "p", "dense_spread", "pruned_spread"),
    }

    shuffles: int = Field(1000, ge=100)
    """How often classes are shuffled among the images."""


def passes(params: Params, classes: int) -> tuple[int, int]:
    """None: the logits are there."""
    return 0, 0


def analyse(subject: Pair, params: Params) -> dict[str, list[tuple]]:
    """A row for each class with images, and one for all of them."""
    dense, pruned = subject.dense.outputs, subject.pruned.outputs
    part = subject.data.part("test").first(len(dense.indices))
    labels = part.labels.cpu()
    rows = by_class(dense.logits, pruned.logits, labels)
    excess, recalls = [row[4] for row in rows], [[row[place] for row in rows] for place in (7, 8)]
    chance, p = by_chance(losses(pruned.logits, labels) - losses(dense.logits, labels), labels.numpy(), params.shuffles)
    spreads = [max(values) - min(values) for values in (excess, *recalls)]
    print(f"excess losses of {len(rows)} classes differ by {spreads[0]:.3g}, by chance alone by {chance:.3g}")
    return {"excess-loss": rows, "violation": [(len(labels), len(rows), spreads[0], chance, p, *spreads[1:])]}


def losses(logits: Tensor, labels: Tensor) -> np.ndarray:
    """Cross-entropy (n,) of `logits` (n, K) of images with these `labels` (n,)."""
    from torch.nn.functional import cross_entropy

    return cross_entropy(logits.double(), labels, reduction="none").numpy()


def by_class(dense: Tensor, pruned: Tensor, labels: Tensor) -> list[tuple]:
    """The rows of the classes that have images, from the logits (n, K) of both networks; no interval for a single image."""
    import numpy as np
    from scipy.stats import t

    from sparrow.results.statistics import LEVEL

    before, after, classes = losses(dense, labels), losses(pruned, labels), labels.numpy()
    right = [(logits.argmax(dim=1) == labels).numpy() for logits in (dense, pruned)]
    rows = []
    for one in np.unique(classes):
        own = classes == one
        gaps, count = (after - before)[own], int(own.sum())
        mean = float(gaps.mean())
        reach = float(t.ppf(0.5 + LEVEL / 2, count - 1) * gaps.std(ddof=1) / count**0.5) if count > 1 else np.nan
        means = [float(values[own].mean()) for values in (before, after, *right)]
        rows.append((int(one), count, *means[:2], mean, mean - reach, mean + reach, *means[2:]))
    return rows


def by_chance(excess: np.ndarray, labels: np.ndarray, shuffles: int) -> tuple[float, float]:
    """The spread of the classes' mean `excess` (n,) where `labels` (n,) are shuffled, on average; and its p: how often it is at
    least as large as unshuffled, which counts as one of the shuffles."""
    import numpy as np

    classes, counts = np.unique(labels, return_counts=True)
    belongs = (labels[:, None] == classes) / counts
    generator, found = np.random.default_rng(0), []
    own = np.ptp(excess @ belongs)
    for start in range(0, shuffles, CHUNK):
        mixed = np.tile(excess, (min(CHUNK, shuffles - start), 1))
        found.append(np.ptp(generator.permuted(mixed, axis=1) @ belongs, axis=1))
    spreads = np.concatenate(found)
    # Sums in another order differ in the last digits.
    return float(spreads.mean()), float((1 + (spreads >= own * (1 - 1e-9)).sum()) / (1 + shuffles))


def summary(table: pd.DataFrame) -> dict[str, float]:
    """How far the classes' excess losses lie apart, and the pruned network's recalls."""
    return {
        name: float(table[column].max() - table[column].min())
        for name, column in (("violation", "excess_loss"), ("recall_spread", "pruned_recall"))
    }


@opened(FigureSpec)
def draw(source: list[Path], svg: Path, png: Path, spec: FigureSpec) -> None:
    """Whether pruning costs classes alike. Above: how far the excess losses of the classes lie apart (largest - smallest)
    at each ratio, means over seeds with the lowest and the highest; dotted: what would be by chance, if classes played no
    part. Below, at the middle ratio: the excess loss of each class against the dense network's loss on it, for each seed,
    with 95 % intervals over images: rising, where the classes that were hard before pay most.
    """
    import pandas as pd

    from sparrow.results.figures import style

    of_study = [pd.read_csv(path) for path in source]
    looks = style.looks(svg, spec, of_study[0])
    rows, spreads = (style.select(table, dataset=spec.dataset, model=spec.model, stage=spec.stage) for table in of_study)
    methods, ratios = sorted(rows["method"].unique()), sorted(rows["ratio"].unique())
    middle = style.middle_ratio(rows)
    figure, grid = style.panels(2, len(spec.objectives), width=looks.width, sharey="row")
    for column, objective in enumerate(spec.objectives):
        above, below = grid[:, column]
        for method in looks.order(methods):
            own = style.select(spreads, objective=objective, method=method).groupby("ratio")
            points = pd.DataFrame(own["violation"].agg(mean="mean", low="min", high="max")).reindex(ratios)
            across = [style.position(ratio) for ratio in ratios]
            bars = looks.errors(method, points)
            above.errorbar(across, points["mean"], bars, capsize=2, elinewidth=0.8, **looks.line(method))
            if looks.stands_out(method):
                chance = own["by_chance"].mean().reindex(ratios)
                above.plot(across, chance, color=looks.of(method)["color"], linestyle=":", linewidth=1)
            classes = style.select(rows, objective=objective, method=method, ratio=middle)
            bars = looks.errors(method, classes.rename(columns={"excess_loss": "mean"}))
            look = looks.point(method) | {"elinewidth": 0.5, "alpha": 0.7}
            below.errorbar(classes["dense_loss"], classes["excess_loss"], bars, **look)
        style.compression_axis(above, ratios)
        below.axhline(0, color="grey", linewidth=1)
        above.set_title(style.title(spec, objective))
        above.set_xlabel("pruning ratio")
        below.set_xlabel("dense: loss of a class")
    grid[0, 0].set_ylabel("excess loss of classes:\nlargest - smallest")
    grid[1, 0].set_ylabel("excess loss of a class" + (f"\nratio {middle:g}" if ratios else ""))
    style.from_zero(grid[0, 0])
    for axes in grid[0]:
        looks.name_ends(axes)
    style.legend_below(figure, grid[0, 0])
    style.write(figure, svg, png)
