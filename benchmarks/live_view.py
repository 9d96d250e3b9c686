"""Networks that have lost weights, attacked and bounded without the units that cannot matter, and whole.

    python benchmarks/live_view.py

CNN-large on digits as large as CIFAR-10's images, trained by PGD-5, pruned by lwm and by HYDRA at 0.95 and 0.99, and
fine-tuned. Beside the seconds stands how many times as few multiply-adds the layers of the smaller network do: no more than
that can be saved.
"""

import copy
from collections.abc import Callable
from functools import cache, partial

import torch
from _digits import correct, parts, trained
from _paired import Pair, main
from _whole import networks_whole
from torch import Tensor, nn

from sparrow import catalogue
from sparrow.attacks import autoattack
from sparrow.networks.live_view import live_view
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.structure import Layout
from sparrow.pruning.pruner import Batch, Pruner
from sparrow.settings import Threat
from sparrow.training.loop import Hooks, Step, train
from sparrow.training.schedule import Schedule
from sparrow.verifiers import crown, ibp

MODEL, SHAPE, THREAT, STEPS = "cnn-large", (3, 32, 32), Threat(eps=0.12), 5
EPOCHS = 3
METHODS, RATIOS = ("lwm", "hydra"), (0.95, 0.99)
CASES = {"AutoAttack": 256 if torch.cuda.is_available() else 8, "IBP": 100, "CROWN": 2}
"""What looks at the networks, and on how many digits."""
BOUNDS = {"IBP": ibp, "CROWN": crown}
RADIUS = Threat(eps=1 / 255)
"""Of the bounds, which say little of a larger one on a network that was not trained for them."""


class Masked(Hooks):
    """Pruned weights stay zero."""

    def __init__(self, masks: dict[str, Tensor], weights: dict[str, nn.Parameter]) -> None:
        self.pairs = [(weights[name], mask) for name, mask in masks.items()]

    @torch.no_grad()
    def after_step(self, step: Step) -> None:
        for weight, mask in self.pairs:
            weight.mul_(mask)


class Searching(Hooks):
    """What a pruner does in training."""

    def __init__(self, pruner: Pruner, model: nn.Module) -> None:
        self.pruner, self.model, self.weights = pruner, model, prunable_weights(model)

    def loss(self, objective: Callable[[], Tensor], images: Tensor, labels: Tensor) -> Tensor:
        return self.pruner.loss(Batch(self.model, images, labels, None, objective))

    def after_backward(self, step: Step) -> None:
        self.pruner.after_backward(self.weights, step)

    def after_step(self, step: Step) -> None:
        self.pruner.after_step(self.weights, step)


def learn(model: nn.Module, tensors: list[Tensor], hooks: Hooks) -> None:
    """Train `tensors` of `model` as the dense network was."""
    entry = catalogue.load("objectives", "adversarial")
    loss = entry.prepare(entry.Params(steps=STEPS), THREAT)
    schedule = Schedule(epochs=EPOCHS, batch_size=100, optimizer="adam", lr=0.001)
    data = {"train": parts(SHAPE)["train"], "validation": parts(SHAPE)["test"].first(1)}
    train(model, loss, data, schedule, tensors, torch.Generator().manual_seed(0), hooks, report=lambda line: None)


@cache
def dense() -> nn.Module:
    return trained(MODEL, SHAPE, "adversarial", THREAT, epochs=EPOCHS, steps=STEPS)


@cache
def pruned(method: str, ratio: float) -> nn.Module:
    """The dense network, pruned and fine-tuned."""
    model, entry = copy.deepcopy(dense()).requires_grad_(True), catalogue.load("methods", method)
    weights = prunable_weights(model)
    pruner = entry.prepare(entry.Params(), ratio, torch.Generator().manual_seed(0))
    pruner.network = model
    searched = pruner.start(weights, Layout(model, SHAPE))
    if searched:
        learn(model, searched, Searching(pruner, model))
    masks = pruner.end(weights)
    with torch.no_grad():
        for name, mask in masks.items():
            weights[name].mul_(mask)
    learn(model, list(model.parameters()), Masked(masks, weights))
    return model.eval().requires_grad_(False)


def look(what: str, method: str, ratio: float) -> Tensor:
    """Whether each digit stands, or the bound on its margin."""
    model = pruned(method, ratio)
    images, labels = correct(model, SHAPE, CASES[what])
    if what in BOUNDS:
        entry = BOUNDS[what]
        return entry.bound(model, images, labels, entry.Params(), RADIUS, 10)
    found = autoattack.attack(model, images, labels, autoattack.Params(), THREAT, 10)
    with torch.no_grad():
        return model(found).argmax(dim=1) == labels


def look_at_all(what: str, method: str, ratio: float) -> Tensor:
    """The same, with the units that cannot matter."""
    with networks_whole():
        return look(what, method, ratio)


def alike(method: str, ratio: float, theirs: Tensor, ours: Tensor) -> str:
    """What both have found, and the ceiling: how many times as many multiply-adds the whole network does."""
    if theirs.dtype == torch.bool:
        # One image may go either way.
        assert int((theirs != ours).sum()) <= 1, f"{int(theirs.sum())} and {int(ours.sum())} stand"
        found = f"{int(theirs.sum())} and {int(ours.sum())} of {len(ours)} stand"
    else:
        assert ((theirs > 0) == (ours > 0)).all()
        gap = float(((theirs - ours) / theirs.abs().clamp_min(1)).max())
        assert gap <= 1e-5, f"bounds looser by {gap}"
        found = f"the same {int((ours > 0).sum())} of {len(ours)} verified"
    model = pruned(method, ratio)
    whole, left = (Layout(one, SHAPE).multiply_adds(prunable_weights(one)) for one in (model, live_view(model, SHAPE)))
    return f"{found}; {whole / left:.2f} times as few multiply-adds"


def pairs() -> list[Pair]:
    found = []
    for method in METHODS:
        for ratio in RATIOS:
            for what, count in CASES.items():
                runs = (partial(one, what, method, ratio) for one in (look_at_all, look))
                case = f"{what}, {MODEL}, {method} {ratio}, {count} digits"
                packages = () if what == "AutoAttack" else ("auto_LiRPA",)
                same, trained = partial(alike, method, ratio), partial(pruned, method, ratio)
                found.append(Pair(case, "the whole network", *runs, same, packages, prepare=trained, in_a_job=True))
    return found


if __name__ == "__main__":
    main("live_view", pairs, __doc__)
