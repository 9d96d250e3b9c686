"""Settings that several methods share, importable without torch."""

from __future__ import annotations

import re
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema, model_validator

from sparrow.pruning.pattern import TEXT, Pattern
from sparrow.settings import Ratios, Settings, unique
from sparrow.training.schedule import Schedule

S2AP = """
@misc{piras2025s2ap,
  author = {Piras, Giorgio and Zhao, Qi and Brau, Fabio and Pintor, Maura and Wressnegger, Christian and Biggio, Battista},
  title = {{S2AP}: Score-space Sharpness Minimization for Adversarial Pruning},
  year = {2025},
  eprint = {2510.18381},
  archiveprefix = {arXiv},
}

@inproceedings{wu2020adversarial,
  author = {Wu, Dongxian and Xia, Shu-Tao and Wang, Yisen},
  title = {Adversarial Weight Perturbation Helps Robust Generalization},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2020},
}
"""

Pipeline = Literal["after", "before", "during"]
Needs = Literal["nothing", "batches", "schedule"]
Trains = Literal["scores", "weights"]
Locality = Literal["layer", "network"]
Structure = Literal["weights", "N:M", "filters"]
Criterion = Literal["LWM", "SOLWM", "SPALWM", "LIS", "HGM", "BCS", "random"]


class Method(Settings):
    """What the workflow has to know of a method: what it needs besides the weights, for how many steps, and what it moves."""

    pipeline: ClassVar[Pipeline] = "after"
    """When in a network's life it prunes. `after` training: the dense network is pruned, and what is left fine-tuned. `before`:
    the initial network is pruned, and what is left trained under `training.pretrain`, as the dense network was. `during`: the
    initial network is trained under `training.pretrain` and pruned meanwhile, and what is left fine-tuned."""
    trains: ClassVar[Trains] = "scores"
    """What a method that needs a schedule moves. `scores` has the optimiser, the learning rate and the clipping of
    `training.prune`; `weights` has those of the stage that moves the weights next: of `training.finetune`, or of
    `training.pretrain` where the initial network is pruned."""
    criterion: ClassVar[Criterion | None] = None
    """What it removes first: the lowest magnitudes (`LWM`), at once, after a solver (`SOLWM`) or after training that drives
    them to zero (`SPALWM`), the lowest importance scores (`LIS`), the highest gradients (`HGM`), what Bayesian connectivity
    sampling drops (`BCS`), or anything (`random`), in the words of the Adversarial Pruning Benchmark. None: not said."""
    traces: ClassVar[bool] = False
    """Whether its pruner's `trace` gives quantities worth a figure."""
    ratios: Ratios | None = None
    """Pruning ratios of this method, in place of the study's."""
    norm_statistics: Literal["kept", "recompute"] = "kept"
    """Running statistics of batch norm in the pruned network: `kept` as the method leaves them (the dense network's, if it does
    not train), or computed anew (`recompute`) from the training images after pruning. Stale statistics may cost a `pruned`
    network nearly all its accuracy; fine-tuning replaces them anyway."""

    @property
    def iterative(self) -> bool:
        """Whether it prunes more than once, with training between (`iterative: ClassVar[bool] = True`)."""
        return False

    @property
    def locality(self) -> Locality:
        """Whether weights or filters compete with those of their `layer`, or of the whole `network`."""
        return "layer"

    @property
    def structure(self) -> Structure:
        """What it removes: single `weights`, of every M weights all but N (`N:M`), or whole `filters`."""
        return "weights"

    @property
    def pattern(self) -> Pattern | None:
        """The pattern in which it keeps weights; None if a layer's weights may be anywhere."""
        return None

    @property
    def batch_norm_only(self) -> str | None:
        """Why it does not serve networks without batch norm, and what is valid for them, as the end of a sentence; None if it
        does."""
        return None

    @property
    def needs(self) -> Needs:
        """`nothing`: the weights alone. `batches`: losses on some batches, of a network that stays as it is (see `Batches`).
        `schedule`: the whole schedule `training.prune`, along which it trains.

        `needs: ClassVar[Needs] = "schedule"`, where that does not depend on the parameters.
        """
        return "nothing"

    def schedule(self, ratio: float, own: Schedule, pretrain: Schedule) -> Schedule:
        """Its schedule at a ratio: `own`, which the study gives it, or what it makes of that or of `training.pretrain`.

        `own` is `training.prune` with the changes that `trains` makes; of a method with the pipeline `during`, `pretrain`.
        """
        return own

    def steps_of(self, total: int, per_epoch: int) -> int:
        """How many of the `total` steps of its schedule, `per_epoch` in an epoch, it takes: what is run is what is priced.

        All, for a method that needs a schedule; none, for one that needs nothing. Where training says when the search is over
        (`Pruner.finished`), these are the most that it may take.
        """
        return total if self.needs == "schedule" else 0

    def too_short(self, total: int, per_epoch: int) -> str | None:
        """What of it has no place in a schedule of `total` steps, `per_epoch` in an epoch, and what is valid; None if all has.

        A sentence without a full stop that begins with a setting's name: the study is then refused with it.
        """
        return None


class Batches(Method):
    """A method that evaluates the losses of a few batches while the network stays as it is."""

    needs: ClassVar[Needs] = "batches"
    batches: int | None = Field(1, ge=1)
    """Batches of `training.prune` that it evaluates, at most its whole schedule; one whole epoch if null."""

    def steps_of(self, total: int, per_epoch: int) -> int:
        """One step a batch: `batches`, or an epoch's, and at most `total`."""
        return min(total, self.batches or per_epoch)


class PerLayer(Method):
    """A method that ranks the weights of each layer."""

    allocation: Literal["uniform", "erk", "lamp"] = "uniform"
    """How the ratio is divided among the layers: the same in all (`uniform`), by the Erdős–Rényi kernel (`erk`), or by
    the dense network's magnitudes relative to all larger ones in the layer (`lamp`)."""

    @property
    def locality(self) -> Locality:
        """The network where the `allocation` lets all layers compete."""
        return "network" if self.allocation == "lamp" else "layer"


class Global(Method):
    """A method whose scores may also compete over the whole network."""

    allocation: Literal["uniform", "erk", "lamp", "global"] = "uniform"
    """How the ratio is divided among the layers: the same in all (`uniform`), by the Erdős–Rényi kernel (`erk`), by
    the dense network's magnitudes relative to all larger ones in the layer (`lamp`), or so that the lowest scores of all
    layers together are removed (`global`)."""

    @property
    def locality(self) -> Locality:
        """The network where the `allocation` lets all layers compete."""
        return "network" if self.allocation in ("lamp", "global") else "layer"


class Granular(Method):
    """A method that can remove whole filters."""

    granularity: Literal["weight", "filter"] = "weight"
    """Remove single weights, or whole output filters with their bias and norm (neurons in linear layers). Then the
    pruning ratio is a share of the filters, at least one stays in a layer, and the output layer keeps all of its own."""

    @property
    def structure(self) -> Structure:
        """By the `granularity`."""
        return "filters" if self.granularity == "filter" else "weights"


def _granularity(*words: str) -> tuple[BeforeValidator, WithJsonSchema]:
    """What takes one of `words`, or a pattern such as `2:4`, and nothing else."""

    def known(text: Any) -> str:
        if text not in words:
            if not isinstance(text, str) or not re.match(TEXT, text):
                raise ValueError(f"{text!r} is not valid: must be {' or '.join(map(repr, words))}, or N:M such as '2:4'")
            Pattern.parse(text)
        return text

    schema = {"anyOf": [{"enum": list(words), "type": "string"}, {"pattern": TEXT, "type": "string"}]}
    return BeforeValidator(known), WithJsonSchema(schema)


class Patterned(Method):
    """A method whose scores can also choose N of every M weights."""

    granularity: Annotated[str, *_granularity("weight")] = "weight"
    """Remove single weights (`weight`) or, as `"2:4"`, of every 4 consecutive inputs (in x k x k, as they lie in memory) of
    each output all but the 2 with the highest scores. Then the ratio has to be that of the pattern, and `allocation`
    `uniform`."""
    dense_layers: Annotated[list[str], AfterValidator(unique)] = Field([])
    """Weights, by their names in layers.csv, that stay dense under a pattern, such as those of a layer whose inputs are no
    multiple of M. The network keeps more than the ratio says then: it is ranked apart, and `sparsity_masks` is what it has."""

    @property
    def pattern(self) -> Pattern | None:
        """By the `granularity`."""
        return Pattern.parse(self.granularity) if ":" in self.granularity else None

    @property
    def structure(self) -> Structure:
        """By the `granularity`."""
        return "N:M" if self.pattern else "weights"

    @model_validator(mode="after")
    def _all_layers_alike(self) -> Self:
        allocation = getattr(self, "allocation", "uniform")
        if self.pattern and allocation != "uniform":
            raise ValueError(
                f"allocation is {allocation!r}, must be 'uniform' with granularity '{self.pattern}', the same in all layers"
            )
        if self.dense_layers and not self.pattern:
            raise ValueError(f"dense_layers is {self.dense_layers}, which needs a granularity such as '2:4'")
        return self


class AnyGranularity(Patterned):
    """A method that can remove single weights, N:M patterns of them, or whole filters."""

    granularity: Annotated[str, *_granularity("weight", "filter")] = "weight"
    """Remove single weights (`weight`); as `"2:4"`, of every 4 consecutive inputs (in x k x k, as they lie in memory) of each
    output all but the 2 with the highest scores; or whole output filters with their bias and norm (neurons in linear layers;
    `filter`). With N:M, the ratio has to be that of the pattern, and `allocation` `uniform`. With `filter`, it is a share of
    the filters, at least one stays in a layer, and the output layer keeps all of its own."""

    @property
    def structure(self) -> Structure:
        """By the `granularity`."""
        return "filters" if self.granularity == "filter" else super().structure


class WholeFilters(Granular):
    """A method that removes whole filters, and nothing else."""

    granularity: Literal["filter"] = "filter"
    """It removes whole output filters with their bias and norm (neurons in linear layers): the pruning ratio is a share of
    the filters, at least one stays in a layer, and the output layer keeps all of its own."""


class Sharpness(Method):
    """S2AP: scores are learned at the worst point of a neighbourhood."""

    s2ap_gamma: float = Field(0.0, ge=0)
    """S2AP: radius of the perturbation of each layer's scores, relative to their norm; 0 does without."""
    s2ap_warmup_epochs: float = Field(0.0, ge=0)
    """S2AP: epochs of the search before the scores are perturbed; 5 of the 20 of the paper's searches, by reviews of it."""

    @model_validator(mode="after")
    def _something_begins(self) -> Self:
        if self.s2ap_warmup_epochs and not self.s2ap_gamma:
            raise ValueError(f"s2ap_warmup_epochs is {self.s2ap_warmup_epochs:g}, which needs an s2ap_gamma above 0")
        return self

    def too_short(self, total: int, per_epoch: int) -> str | None:
        """The warm-up has to leave a step."""
        if self.s2ap_warmup_epochs * per_epoch < total:
            return None
        epochs = total // per_epoch
        return f"s2ap_warmup_epochs: {self.s2ap_warmup_epochs:g} leaves none of {epochs} epochs; valid: less, or more epochs"

    @property
    def bibtex(self) -> str:
        """BibTeX of the papers behind the perturbation, where there is one."""
        return S2AP if self.s2ap_gamma else ""


class FromScratch(Method):
    """A method that trains the initial network under the pre-training schedule and keeps a mask meanwhile."""

    pipeline: ClassVar[Pipeline] = "during"
    needs: ClassVar[Needs] = "schedule"
    trains: ClassVar[Trains] = "weights"
    allocation: Literal["uniform", "erk", "igq"] = "igq"
    """How the ratio is divided among the layers at the start: the same in all (`uniform`), by the Erdős–Rényi kernel (`erk`),
    or by the quota `1 / (f * size + 1)` of each, with `f` such that they add up (`igq`)."""
    rescale: bool | None = None
    """Multiply the initial weights of each layer by `density ** -0.5`, which is the initialisation of a layer with so few
    inputs: without batch norm a sparse network does not train at the usual one. Null: where the network has no batch norm."""
