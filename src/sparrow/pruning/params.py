"""Settings that several methods share, importable without torch."""

from __future__ import annotations

from typing import ClassVar, Literal, Self

from pydantic import Field, model_validator

from sparrow.settings import Ratios, Settings

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

Needs = Literal["nothing", "batches", "schedule"]
Trains = Literal["scores", "weights"]


class Method(Settings):
    """What the workflow has to know of a method: what it needs besides the weights, for how many steps, and what it moves."""

    trains: ClassVar[Trains] = "scores"
    """What a method that needs a schedule moves. `weights` has the optimiser, the learning rate and the clipping of
    `training.finetune`, since it moves what fine-tuning moves; `scores` has those of `training.prune`."""
    traces: ClassVar[bool] = False
    """Whether its pruner's `trace` gives quantities worth a figure."""
    ratios: Ratios | None = None
    """Pruning ratios of this method, in place of the study's."""
    norm_statistics: Literal["kept", "recompute"] = "kept"
    """Running statistics of batch norm in the pruned network: `kept` as the method leaves them (the dense network's, if it does
    not train), or computed anew (`recompute`) from the training images after pruning. Stale statistics may cost a `pruned`
    network nearly all its accuracy; fine-tuning replaces them anyway."""

    @property
    def needs(self) -> Needs:
        """`nothing`: the weights alone. `batches`: losses on some batches, of a network that stays as it is (see `Batches`).
        `schedule`: the whole schedule `training.prune`, along which it trains.

        `needs: ClassVar[Needs] = "schedule"`, where that does not depend on the parameters.
        """
        return "nothing"

    def steps_of(self, total: int, per_epoch: int) -> int:
        """How many of the `total` steps of its schedule, `per_epoch` in an epoch, it takes: what is run is what is priced.

        All, for a method that needs a schedule; none, for one that needs nothing.
        """
        return total if self.needs == "schedule" else 0


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


class Global(Method):
    """A method whose scores may also compete over the whole network."""

    allocation: Literal["uniform", "erk", "lamp", "global"] = "uniform"
    """How the ratio is divided among the layers: the same in all (`uniform`), by the Erdős–Rényi kernel (`erk`), by
    the dense network's magnitudes relative to all larger ones in the layer (`lamp`), or so that the lowest scores of all
    layers together are removed (`global`)."""


class Granular(Settings):
    """A method that can remove whole filters."""

    granularity: Literal["weight", "filter"] = "weight"
    """Remove single weights, or whole output filters with their bias and norm (neurons in linear layers). Then the
    pruning ratio is a share of the filters, at least one stays in a layer, and the output layer keeps all of its own."""


class Sharpness(Settings):
    """S2AP: scores are learned at the worst point of a neighbourhood."""

    s2ap_gamma: float = Field(0.0, ge=0)
    """S2AP: radius of the perturbation of each layer's scores, relative to their norm; 0 does without."""
    s2ap_warmup_epochs: float = Field(0.0, ge=0)
    """S2AP: epochs of the search before the scores are perturbed; 5 of 20 in the paper's experiments."""

    @model_validator(mode="after")
    def _something_begins(self) -> Self:
        if self.s2ap_warmup_epochs and not self.s2ap_gamma:
            raise ValueError(f"s2ap_warmup_epochs is {self.s2ap_warmup_epochs:g}, which needs an s2ap_gamma above 0")
        return self

    @property
    def bibtex(self) -> str:
        """BibTeX of the papers behind the perturbation, where there is one."""
        return S2AP if self.s2ap_gamma else ""
