"""Similarity: how much of a dense network's representations is left, layer by layer, once it is pruned.

A representation is what all ReLUs of a layer, or the logits, make of the test images: a matrix with a column for each channel
and a row for each image or, behind convolutions, for each image and position (at most as many as `rows`, at random, the same
for both networks). Of each side the directions that hold 99 % of its variance stay, `k_dense` and `k`; `retained` is the sum of
their canonical correlations (SVCCA) over `k_dense`, the share of the dense network's subspace that is still there. `svcca`,
their mean over the smaller of both numbers, is what papers report, and *rises* where a layer dies, since fewer directions are
left to compare. `cka` is linear centred kernel alignment, which weighs directions by their variance. Intervals (95 %) are by a
bootstrap over images.

Two things to read them by. `retained_floor` and `cka_floor` are those of shuffled rows: what chance alone gives, near 1 where
rows are few; `enough` says whether there are at least ten rows for each direction, without which canonical correlations say
little. And dense networks of other seeds (method `dense`; `against` is the seed of the one that they are compared with): a
pruned network that is no further from its parent than another training is has lost no more than that. Neither measure says what
a network does with its representations; both see linear relations alone.

With `attacks`, both see adversarial images of the dense network in place of the test images (`inputs` says which): those that
one of these attacks knows, moved within the threat. There a pruned network that represents clean images as its parent does may
have gone another way.

Source: Raghu et al., "SVCCA: Singular Vector Canonical Correlation Analysis for Deep Learning Dynamics and Interpretability",
NeurIPS 2017, with rows as in the released code (google/svcca, tutorial 002); Kornblith et al., "Similarity of Neural Network
Representations Revisited", ICML 2019; of pruned networks, after Blakeney et al., "Is Pruning Compression?: Investigating
Pruning Via Network Layer Similarity", WACV 2020 (its abstract). The sum over `k_dense`, the floor and the references are
Sparrow's own.

BibTeX:

@inproceedings{raghu2017svcca,
  author = {Raghu, Maithra and Gilmer, Justin and Yosinski, Jason and Sohl-Dickstein, Jascha},
  title = {{SVCCA}: Singular Vector Canonical Correlation Analysis for Deep Learning Dynamics and Interpretability},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2017},
}

@inproceedings{kornblith2019similarity,
  author = {Kornblith, Simon and Norouzi, Mohammad and Lee, Honglak and Hinton, Geoffrey},
  title = {Similarity of Neural Network Representations Revisited},
  booktitle = {International Conference on Machine Learning},
  year = {2019},
}

@inproceedings{blakeney2020pruning,
  author = {Blakeney, Cody and Yan, Yan and Zong, Ziliang},
  title = {Is Pruning Compression?: Investigating Pruning Via Network Layer Similarity},
  booktitle = {IEEE Winter Conference on Applications of Computer Vision},
  year = {2020},
}
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple

from pydantic import AfterValidator, Field

from sparrow.files.specs import opened
from sparrow.lazy_torch import torch
from sparrow.results.specs.figures import FigureSpec
from sparrow.settings import Analysis, Columns, Need, Requirement, Scope, unique

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    from matplotlib.axes import Axes

    from sparrow.inference.subjects import Network, Seeds

GROUPS = 20
"""A bootstrap draws images in as many groups, whose sums of products it adds up."""
ROWS_FOR_EACH = 10
LOGITS = "logits"
MEASURES = {"retained": "subspace left", "cka": "linear CKA"}


class Params(Analysis):
    """On which images, on how many, and how precisely."""

    scope: ClassVar[Scope] = "seeds"
    requires: ClassVar[tuple[Requirement, ...]] = ("dense",)
    # The network's seed and that of the dense one; the layer, counted from the image, and what it is; whether images are clean;
    # channels of both; what it rests on; directions of both; what is alike.
    tables: ClassVar[Columns] = {
        "similarity": (
            *(
                "seed",
                "against",
                "layer",
                "output",
                "inputs",
                "channels_dense",
                "channels",
                "images",
                "rows_used",
                "k_dense",
                "k",
                "enough",
            ),
            *(
                "retained",
                "retained_low",
                "retained_high",
                "retained_floor",
                "svcca",
                "cka",
                "cka_low",
                "cka_high",
                "cka_floor",
            ),
        )
    }

    attacks: Annotated[list[str], Field(min_length=1), AfterValidator(unique)] | None = None
    """Compare representations of adversarial images that these attacks, by label, have found against the dense network, and
    which are then kept for all networks: of those that find distances any image, projected onto the threat; of others those at
    its radius. Of clean ones if null."""
    samples: int | None = Field(1000, ge=2)
    """Compare representations of this many test images; of all if null."""
    rows: int = Field(20_000, ge=2)
    """At most as many rows, images or images and positions, of each layer."""
    variance: float = Field(0.99, gt=0, lt=1)
    """The share of a layer's variance that its directions have to hold."""
    draws: int = Field(100, ge=0)
    """Draws of the bootstrap behind each interval; none, and no intervals, if 0. Each decomposes matrices of as many columns
    as a layer has channels: with thousands of them (ResNet-50), take few."""
    batch_size: int = Field(128, ge=1)
    """Images per batch."""

    if not TYPE_CHECKING:

        @property
        def needs(self) -> tuple[Need, ...]:
            """Adversarial images, where it is to see them."""
            return ("examples",) if self.attacks else ()


def passes(params: Params, classes: int) -> tuple[int, int]:
    """Forward passes and gradients for each image of each network: it and what it is compared with."""
    return 2, 0


def analyse(subject: Seeds, params: Params) -> list[tuple]:
    """A row for each network and layer. Pruned networks are compared with their dense one, dense ones with the next seed's.

    Those that failed are left out. Raises NetworkError if no two networks could be compared.
    """
    from sparrow.errors import NetworkError
    from sparrow.jobs import journal

    networks, dense = subject.networks, subject.dense
    if [one.path for one in networks] == [one.path for one in dense]:
        # So that each is there once on either side; of a single seed there is no other.
        dense = (*networks[1:], networks[0]) if len(networks) > 1 else ()
    rows: list[tuple] = []
    failed: list[NetworkError] = []
    for place, pair in enumerate(zip(dense, networks, strict=bool(dense))):
        compared = partial(_compared, *pair, subject.generator.initial_seed(), params)
        try:
            rows += journal.compute_once(f"pair {place}", compared)
        except NetworkError as error:
            print(f"{pair[1].path}: left out: {error}")
            failed.append(error)
    if failed and not rows:
        raise failed[0]
    return rows


def _compared(dense: Network, network: Network, seed: int, params: Params) -> list[tuple]:
    """The rows of a network that is compared with a dense one."""
    from sparrow.errors import NetworkError

    inputs = "adversarial" if params.attacks else "clean"
    images = _adversarial(dense, params) if params.attacks else dense.data.part("test", params.samples).images
    first, second = (_layers(one, images, seed, params) for one in (dense, network))
    if [len(layer.rows) for layer in first] != [len(layer.rows) for layer in second]:
        raise NetworkError(f"{network.path}: does not have the ReLUs of {dense.path}")
    names = [*["relu"] * (len(first) - 1), LOGITS]
    return [
        (network.who.parent.seed, dense.who.parent.seed, place, names[place - 1], inputs, *_row(*layers, seed + place, params))
        for place, layers in enumerate(zip(first, second, strict=True), start=1)
    ]


def _adversarial(network: Network, params: Params) -> torch.Tensor:
    """Adversarial images of a network (n, c, h, w), of each test image at most one: the first attack's that knows one.

    Raises NetworkError if there are fewer than two.
    """
    from sparrow.errors import NetworkError

    part = network.data.part("test", params.samples)
    images, known = part.images.clone(), torch.zeros(len(part), dtype=torch.bool, device=part.images.device)
    for there, found in network.examples(part):
        new = there & ~known
        images[new], known = found[new], known | new
    if known.sum() < 2:
        raise NetworkError(
            f"{network.path}: attacks have found {int(known.sum())} adversarial images of it, too few to compare"
        )
    return images[known]


class Layer(NamedTuple):
    """A representation."""

    rows: torch.Tensor
    """(rows, channels)"""
    groups: torch.Tensor
    """To which group of images each row belongs (rows,)."""
    images: int


def _layers(network: Network, images: torch.Tensor, seed: int, params: Params) -> list[Layer]:
    """The representations of `images` in a network in the order in which they are computed, the logits last."""
    from sparrow.networks.relu_outputs import relu_outputs

    model = network.load(images, params.batch_size)
    chosen: list[torch.Tensor] = []
    parts: list[list[torch.Tensor]] = []
    with torch.no_grad():
        for start in range(0, len(images), params.batch_size):
            batch = images[start : start + params.batch_size]
            for place, output in enumerate(relu_outputs(model, batch)):
                # Images of several positions have as many rows, one after the other.
                flat = output.movedim(1, -1).flatten(end_dim=-2)
                positions = len(flat) // len(batch)
                if start == 0:
                    chosen.append(_chosen(len(images), positions, params.rows, seed + place))
                    parts.append([])
                here = chosen[place][:, 0] * positions + chosen[place][:, 1] - start * positions
                here = here[(here >= 0) & (here < len(flat))]
                parts[place].append(flat[here.to(flat.device)].cpu())
    # Images are in a random order, so that their groups are random ones.
    groups = [which[:, 0] * GROUPS // len(images) for which in chosen]
    return [Layer(torch.cat(rows), group, len(images)) for rows, group in zip(parts, groups, strict=True)]


def _chosen(images: int, positions: int, most: int, seed: int) -> torch.Tensor:
    """Image and position (rows, 2) of at most so many rows, in their order: the same for all networks."""
    places = torch.arange(images * positions)
    if len(places) > most:
        generator = torch.Generator().manual_seed(seed)
        places = torch.randperm(len(places), generator=generator)[:most].sort().values
    return torch.stack([places // positions, places % positions], dim=1)


def _row(dense: Layer, own: Layer, seed: int, params: Params) -> tuple:
    """What a table has of one layer, from `channels_dense` on."""
    from sparrow.inference.similarity import centred, products, similarity

    generator = torch.Generator().manual_seed(seed)
    first, second, columns = centred(dense.rows), centred(own.rows), dense.rows.shape[1]
    groups = [dense.groups == group for group in dense.groups.unique()]
    sums = torch.stack([products(first[group], second[group]) for group in groups])
    found = similarity(sums.sum(dim=0), columns, params.variance)
    shuffled = second[torch.randperm(len(second), generator=generator)]
    floor = similarity(products(first, shuffled), columns, params.variance)
    drawn = []
    for _ in range(params.draws):
        weights = torch.bincount(torch.randint(len(sums), (len(sums),), generator=generator), minlength=len(sums))
        drawn.append(similarity(torch.tensordot(weights.double(), sums, dims=1), columns, params.variance))
    intervals = [
        _interval(value, values, len(sums))
        for value, values in (
            (found.retained, [one.retained for one in drawn]),
            (found.cka, [one.cka for one in drawn]),
        )
    ]
    enough = int(len(first) >= ROWS_FOR_EACH * max(found.first, found.second))
    return (
        *(columns, second.shape[1], dense.images, len(first), found.first, found.second, enough),
        *(found.retained, *intervals[0], floor.retained, found.correlation, found.cka, *intervals[1], floor.cka),
    )


def _interval(value: float, drawn: list[float], groups: int) -> tuple[float, float]:
    """The 95 % interval around a share whose standard error is that of the values `drawn`; NaN with fewer than two.

    Not their percentiles: draws have fewer different rows, between which canonical correlations find more by chance.
    """
    import numpy as np
    from scipy.stats import t

    from sparrow.results.statistics import LEVEL

    known = [one for one in drawn if one == one]
    if len(known) < 2 or groups < 2 or value != value:
        return float("nan"), float("nan")
    reach = float(t.ppf(0.5 + LEVEL / 2, groups - 1) * np.std(known, ddof=1))
    return max(0.0, value - reach), min(1.0, value + reach)


@opened(FigureSpec)
def draw(source: Path, svg: Path, png: Path, spec: FigureSpec) -> None:
    """How much of the dense networks' representations is left in pruned ones, of clean images or, where it says so, of
    adversarial ones of the dense networks. Above: the share of their subspace that is left in the layer that has kept the
    least, against the ratio. Below: that share and linear CKA, layer by layer from the image to the logits, at the middle
    ratio. Means over seeds, with the lowest and the highest. Dashed: dense networks of another seed; dotted: the floor that
    shuffled rows give by chance.
    """
    import pandas as pd
    from matplotlib import ticker

    from sparrow.results.figures import style

    of_study = pd.read_csv(source)
    looks, table = style.looks(svg, spec, of_study), style.select(of_study, dataset=spec.dataset, model=spec.model)
    dense, pruned = (style.select(table, stage=stage) for stage in ("dense", spec.stage))
    methods, ratios, objectives = sorted(pruned["method"].unique()), sorted(pruned["ratio"].unique()), spec.objectives
    middle = style.middle_ratio(pruned)
    figure, grid = style.panels(1 + len(MEASURES), len(objectives), width=looks.width, height=1.7, sharey=True)
    line = {"color": "grey", "linewidth": 1}
    for column, objective in enumerate(objectives):
        own, others = style.select(pruned, objective=objective), style.select(dense, objective=objective)
        above, *below = grid[:, column]
        for method in looks.order(methods):
            rows, look = style.select(own, method=method), looks.of(method)
            least = rows.groupby(["ratio", "seed"])["retained"].min().rename("value").reset_index()
            points = _over_seeds(least, "ratio").reindex(ratios)
            errors = looks.errors(method, points)
            _errorbar(above, [style.position(ratio) for ratio in ratios], points, errors, label=looks.label(method), **look)
            for axes, measure in zip(below, MEASURES, strict=True):
                points = _over_seeds(style.select(rows, ratio=middle).rename(columns={measure: "value"}), "layer")
                _errorbar(axes, points.index, points, looks.errors(method, points), **look)
        if len(others):
            above.axhline(
                100 * others.groupby("seed")["retained"].min().mean(), linestyle="--", label="dense, other seed", **line
            )
        for axes, measure in zip(below, MEASURES, strict=True):
            if len(others):
                axes.plot(100 * others.groupby("layer")[measure].mean(), linestyle="--", marker=".", **line)
            axes.plot(100 * style.select(own, ratio=middle).groupby("layer")[f"{measure}_floor"].mean(), linestyle=":", **line)
            axes.xaxis.set_major_locator(ticker.MaxNLocator(integer=True))
            axes.set_xlabel("layer (last: logits)")
        above.plot([], [], linestyle=":", label="floor (shuffled)", **line)
        style.compression_axis(above, ratios)
        above.set_title(style.title(spec, objective))
        above.set_xlabel("pruning ratio")
    adversarial = ",\nadversarial images" if (table["inputs"] == "adversarial").any() else ""
    grid[0, 0].set_ylabel(f"subspace left (%)\nof the least layer{adversarial}")
    for words, axes in zip(MEASURES.values(), grid[1:, 0], strict=True):
        axes.set_ylabel(f"{words} (%)" + (f"\nratio {middle:g}" if ratios else ""))
    grid[0, 0].set_ylim(0, 103)
    for axes in grid[0]:
        looks.name_ends(axes)
    style.legend_below(figure, grid[0, 0])
    style.write(figure, svg, png)


def _over_seeds(rows: pd.DataFrame, key: str) -> pd.DataFrame:
    """Mean, lowest and highest `value` by `key`, in percent."""
    import pandas as pd

    return pd.DataFrame((100 * rows["value"]).groupby(rows[key]).agg(mean="mean", low="min", high="max"))


def _errorbar(
    axes: Axes, across: Sequence[float] | pd.Index, points: pd.DataFrame, errors: np.ndarray | None, **look: Any
) -> None:
    """Draw means with their lowest and highest value."""
    axes.errorbar(across, points["mean"], errors, capsize=2, elinewidth=0.8, **look)
