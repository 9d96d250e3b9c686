"""Branch and bound: complete verification, by beta-CROWN bounds on ever smaller parts of the perturbation set.

CROWN's bound comes first, then that with optimised slopes, then an attack: what these decide is never split. Of the parts of
the perturbation set, the one with the worst bound is split at the ReLU whose relaxation may cost most. A
part where every ReLU is settled is solved exactly as a linear programme (in linf), whose solution is an adversarial example
if its margin is not positive. So it ends, on a network of ReLUs and linear layers, with one answer or the other, given
time; with neither within the limits, or with another activation than ReLU, the image is unknown. `domains` limits the same
on every machine, `seconds` does not.

Source: Wang et al., "Beta-CROWN: Efficient Bound Propagation with Per-neuron Split Constraints for Neural Network
Robustness Verification", NeurIPS 2021, algorithm 1.

BibTeX:

@inproceedings{wang2021beta,
  author = {Wang, Shiqi and Zhang, Huan and Xu, Kaidi and Lin, Xue and Jana, Suman and Hsieh, Cho-Jui and Kolter, J. Zico},
  title = {{Beta-CROWN}: Efficient Bound Propagation with Per-neuron Split Constraints for Neural Network Robustness
    Verification},
  booktitle = {Advances in Neural Information Processing Systems},
  year = {2021},
}
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, ClassVar, NamedTuple

from pydantic import Field

from sparrow.lazy_torch import torch
from sparrow.settings import Norm, Threat
from sparrow.verification.params import Verification

if TYPE_CHECKING:
    from sparrow.verification.decision import Decision
    from sparrow.verification.graph_splitting import GraphSplitting
    from sparrow.verification.splitting import Domains, Splitting


class Params(Verification):
    """Limits for one image, and the settings of the bounds."""

    norms: ClassVar[tuple[Norm, ...]] = ("linf", "l2")
    one_by_one: ClassVar[bool] = True  # It batches the parts of one image.
    seconds: float = Field(60.0, gt=0)
    """Time limit for each image. An image that reaches it may be decided on a faster machine."""
    domains: int = Field(20_000, ge=1)
    """Most parts that one image's perturbation set is divided into; each that is open takes nine bytes a ReLU."""
    batch_size: int = Field(64, ge=1)
    """Parts that are split at a time."""
    attack_steps: int = Field(50, ge=1)
    """Steps of the PGD that searches for an adversarial example first."""
    attack_restarts: int = Field(5, ge=1)
    """Its random starts."""
    iterations: int = Field(20, ge=1)
    """Evaluations of a bound, with a gradient step on slopes and multipliers between each two."""
    lr: float = Field(0.5, gt=0)
    """Learning rate of the slopes (Adam)."""


def longest(params: Params) -> float:
    """Seconds for an image, at most (an attack and a step that have begun are finished)."""
    return params.seconds


class Answer(NamedTuple):
    """What became of one image: a proof (`verified`), an adversarial example, or neither; and the bound on its margin."""

    verified: bool
    example: torch.Tensor | None
    margin: float
    domains: int


def decide(
    model: torch.nn.Module, images: torch.Tensor, labels: torch.Tensor, params: Params, threat: Threat, classes: int
) -> Decision:
    """A `Decision` on images that `model` classifies correctly."""
    from sparrow.verification.decision import decision

    answers = [
        search(model, image.unsqueeze(0), int(label), params, threat, classes)
        for image, label in zip(images, labels, strict=True)
    ]
    return decision(answers, "branch-and-bound", images.device)


def search(model: torch.nn.Module, image: torch.Tensor, label: int, params: Params, threat: Threat, classes: int) -> Answer:
    """Decide one image (1, c, h, w) that `model` classifies as `label`; undecided, if memory runs out for it alone.

    Bounded, and split, is the network without the units that cannot matter. What has been proved of the margin before time or
    memory runs out stays.
    """
    from sparrow.verification.crown import OutOfTime
    from sparrow.verification.splitting import split_network

    end = time.monotonic() + params.seconds
    live = split_network(model, image)
    begun: GraphSplitting | None = None
    fits = True
    try:
        begun = _begun(live, image, label, params, threat, classes, end)
        if begun is not None and not _proven(begun):
            begun.optimise()
    except OutOfTime:
        pass
    except (MemoryError, RuntimeError) as error:
        _require_memory_error(error)
        fits = False
    if begun is not None and _proven(begun):
        return Answer(True, None, float(begun.margins.min()), 0)
    example = _attack(model, image, label, params, threat)
    if example is not None:
        image_found, margin_found = example
        return Answer(False, image_found, margin_found, 0)
    # What is hungrier than that for which there was no memory is not tried.
    if fits and time.monotonic() <= end:
        try:
            return _search(model, live, image, label, params, threat, classes, begun, end)
        except (MemoryError, RuntimeError) as error:
            _require_memory_error(error)
            fits = False
    if not fits:
        print("branch-and-bound: an image does not fit into memory; it stays unknown", flush=True)
    return Answer(False, None, -torch.inf if begun is None else float(begun.margins.min()), 0)


def _require_memory_error(error: Exception) -> None:
    """Raise `error` unless it says that there is no more memory."""
    from sparrow.verification.memory import out_of_memory

    if not out_of_memory(error):
        raise error


def _proven(splitting: Splitting) -> bool:
    return bool((splitting.margins > 0).all())


def _begun(
    model: torch.nn.Module, image: torch.Tensor, label: int, params: Params, threat: Threat, classes: int, end: float
) -> GraphSplitting | None:
    """CROWN's bounds; None of a network of which only auto_LiRPA knows bounds. Raises OutOfTime at `end`."""
    from sparrow.verification.graph import traced
    from sparrow.verification.graph_splitting import GraphSplitting

    graph = traced(model, image)
    if graph is None:
        return None
    return GraphSplitting(graph, image, label, threat, classes, params.iterations, params.lr, end)


def _search(
    model: torch.nn.Module,
    live: torch.nn.Module,
    image: torch.Tensor,
    label: int,
    params: Params,
    threat: Threat,
    classes: int,
    begun: GraphSplitting | None,
    end: float,
) -> Answer:
    from sparrow.verification.lirpa_splitting import LirpaSplitting
    from sparrow.verification.memory import out_of_memory

    splitting: Splitting
    if begun is None:
        splitting = LirpaSplitting(live, image, label, threat, classes, params.iterations, params.lr)
    else:
        begun.tighten()
        splitting = begun
    if not splitting.only_relus:
        return Answer(_proven(splitting), None, float(splitting.margins.min()), 0)
    rows = (~(splitting.margins > 0)).nonzero().squeeze(1)
    proved = float(splitting.margins[splitting.margins > 0].min()) if len(rows) < len(splitting.margins) else torch.inf
    if not len(rows):
        return Answer(True, None, proved, 0)
    left = splitting.root(rows)
    seen, stuck, size = len(left), torch.inf, params.batch_size
    while True:
        closed = left.bounds > 0
        proved = min(proved, float(left.bounds[closed].min())) if closed.any() else proved
        left = left.take((~closed).nonzero().squeeze(1))
        settled = left.choices < 0
        for number in settled.nonzero().squeeze(1).tolist():
            domain = left.take(torch.tensor([number], device=left.rows.device))
            bound, example = _settle(model, live, image, label, splitting, domain, threat, end)
            if example is not None:
                return Answer(False, example, bound, seen)
            proved, stuck = (min(proved, bound), stuck) if bound > 0 else (proved, min(stuck, bound))
        left = left.take((~settled).nonzero().squeeze(1))
        if not len(left):
            return Answer(stuck > 0, None, min(proved, stuck), seen)
        if time.monotonic() > end or seen >= params.domains:
            return Answer(False, None, min(float(left.bounds.min()), stuck), seen)
        order = left.bounds.argsort(stable=True)
        now, later = left.take(order[:size]), left.take(order[size:])
        try:
            parts = splitting.bound(now.split())
        except (MemoryError, RuntimeError) as error:
            if size == 1 or not out_of_memory(error):
                raise
            size //= 2
            continue
        seen += len(parts)
        left = later.join(parts)


def _attack(
    model: torch.nn.Module, image: torch.Tensor, label: int, params: Params, threat: Threat
) -> tuple[torch.Tensor, float] | None:
    """An adversarial example of `image` and its margin, if PGD finds one: cheaper than a single split."""
    from sparrow.adversary.geometry import project
    from sparrow.adversary.margin import margin
    from sparrow.attacks import pgd
    from sparrow.jobs.costs import METER

    labels = torch.tensor([label], device=image.device)
    settings = pgd.Params(steps=params.attack_steps, restarts=params.attack_restarts)
    with METER.watching(model):
        found = project(pgd.attack(model, image, labels, settings, threat, 2), image, threat)
    with torch.no_grad():
        logits = model(found)
    return (found, float(margin(logits, labels))) if int(logits.argmax()) != label else None


def _settle(
    model: torch.nn.Module,
    live: torch.nn.Module,
    image: torch.Tensor,
    label: int,
    splitting: Splitting,
    domain: Domains,
    threat: Threat,
    end: float,
) -> tuple[float, torch.Tensor | None]:
    """The exact smallest margin of a domain without unstable ReLUs, and an adversarial example if there is one.

    Its bound as it is where that cannot be found out until `end` (as `time.monotonic` has it).
    """
    from sparrow.adversary.geometry import project
    from sparrow.verification.linear_domain import TOLERANCE, smallest_margin

    bound = float(domain.bounds[0])
    if threat.norm != "linf":
        return bound, None
    row, signs = splitting.specification[domain.rows[0]], [layer[0] for layer in domain.signs]
    try:
        left = end - time.monotonic()
        margin, nearest = smallest_margin(live, image, row, splitting.active(signs), signs, threat, left)
    except ValueError:
        return bound, None
    if margin > TOLERANCE or nearest is None:
        return margin, None
    example = project(nearest, image, threat)
    with torch.no_grad():
        logits = model(example)[0]
    if int(logits.argmax()) != label:
        return float((splitting.specification @ logits).min()), example
    return min(margin, 0.0), None
