"""One image's network with some of its ReLUs fixed: bounds by beta-CROWN, and what to fix next.

A ReLU whose input may have either sign is unstable; its relaxation is what makes bounds loose. Fix its sign, and the
relaxation is gone, while the sign becomes a constraint on the image. A multiplier beta >= 0 for each such constraint,
optimised together with the slopes alpha, brings it into the bound.

Source: Wang et al., "Beta-CROWN: Efficient Bound Propagation with Per-neuron Split Constraints for Neural Network
Robustness Verification", NeurIPS 2021, theorem 3.2.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from sparrow.errors import NetworkError
from sparrow.jobs.costs import METER
from sparrow.settings import Threat
from sparrow.verification.bounds import bounded, flags_restored, layer_named, margin_matrix, perturbed

LR_BETA = 0.05
"""Learning rate of the multipliers, as in auto_LiRPA."""


PIECEWISE_LINEAR = {
    *("BoundInput", "BoundParams", "BoundBuffers", "BoundConstant", "BoundShape", "BoundGather", "BoundUnsqueeze"),
    *("BoundConv", "BoundBatchNormalization", "BoundAveragePool", "BoundGlobalAveragePool"),
    *("BoundAdd", "BoundSub", "BoundNeg", "BoundReshape", "BoundFlatten", "BoundTranspose", "BoundConcat", "BoundPad"),
    *("BoundIdentity", "BoundDropout", "BoundRelu"),
}
"""Operations between which nothing bends but ReLUs; with any other a settled domain is not linear, and cannot be solved."""
TIE = 1e-6
"""Weight of what only breaks ties."""


SCALING = {"BoundMul", "BoundDiv", "BoundMatMul", "BoundLinear"}
"""Of these, those that multiply or divide what depends on the image by something that does not."""


def _linear(node) -> bool:
    """Whether a node of auto_LiRPA's graph bends nothing, or is a ReLU."""
    kind = type(node).__name__
    if kind in SCALING:
        return not any(other.perturbed for other in node.inputs[1:])
    return kind in PIECEWISE_LINEAR


def _numbers(bounds: Tensor) -> Tensor:
    """`bounds`, if they are numbers: of what is none, every comparison would say the wrong thing."""
    if bounds.isnan().any():
        raise NetworkError("branch-and-bound gave a bound that is not a number")
    return bounds


@dataclass(frozen=True)
class Domains:
    """Parts (n) of the perturbation set, each with the class against which it is to be verified.

    `signs` has a tensor (n, neurons) for each ReLU layer: 1 where its input is to be positive, -1 where negative, 0 where
    it is free. `alphas` and `betas` (the same sizes) are where the optimisation starts, `bounds` (n,) what it came to,
    and `choices` (n,) the ReLU to fix next, counted over all layers; -1 if none is unstable.
    """

    rows: Tensor
    signs: list[Tensor]
    alphas: list[Tensor]
    betas: list[Tensor]
    bounds: Tensor
    choices: Tensor

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, which: Tensor) -> Domains:
        """Those at the positions `which`."""
        parts = ([layer[which] for layer in layers] for layers in (self.signs, self.alphas, self.betas))
        return Domains(self.rows[which], *parts, self.bounds[which], self.choices[which])

    def join(self, other: Domains) -> Domains:
        """These and the others."""
        pairs = ((self.signs, other.signs), (self.alphas, other.alphas), (self.betas, other.betas))
        parts = ([torch.cat(layers) for layers in zip(*pair, strict=True)] for pair in pairs)
        rest = (torch.cat(pair) for pair in ((self.bounds, other.bounds), (self.choices, other.choices)))
        return Domains(torch.cat([self.rows, other.rows]), *parts, *rest)

    def split(self) -> Domains:
        """Two for each: the chosen ReLU positive, and negative."""
        pair = self.join(self)
        sign = torch.ones_like(pair.rows)
        sign[len(self) :] = -1
        start, signs = 0, []
        for layer in pair.signs:
            local = pair.choices - start
            here = (local >= 0) & (local < layer.shape[1])
            fixed = layer.clone()
            fixed[here.nonzero().squeeze(1), local[here]] = sign[here].to(layer.dtype)
            signs.append(fixed)
            start += layer.shape[1]
        return Domains(pair.rows, signs, pair.alphas, pair.betas, pair.bounds, pair.choices)


class Splitting:
    """Bounds the margins of one image (1, c, h, w), of class `label`, under splits; `model` is left as it was."""

    def __init__(self, model: nn.Module, image: Tensor, label: int, threat: Threat, classes: int, iterations: int, lr: float):
        self._model, self._image, self._threat, self._iterations = model, image, threat, iterations
        self.specification = margin_matrix(torch.tensor([label], device=image.device), classes)[0]
        # Patience is a batch's; without it, no domain's bound depends on the others.
        settings = {"iteration": iterations, "lr_alpha": lr, "lr_beta": LR_BETA, "early_stop_patience": iterations}
        with flags_restored(model), contextlib.redirect_stdout(io.StringIO()):
            self._network = bounded(model, image, {"optimize_bound_args": settings})
            self._network.eval()
            with layer_named(model, image, "CROWN-Optimized"):
                self.margins = _numbers(self._root())
        self._relus = [node for node in self._network.relus if node.used and node.perturbed]
        self._ranges = [self._range(node) for node in self._relus]
        self.only_relus = all(_linear(node) for node in self._network.modules() if hasattr(node, "inputs"))

    def _root(self) -> Tensor:
        """Bounds (classes - 1,) on the margins without any split, by alpha-CROWN."""
        method = "CROWN-Optimized" if self._network.optimizable_activations else "CROWN"
        METER.add(self._iterations - 1)
        ball = perturbed(self._image, self._threat)
        lower, _ = self._network.compute_bounds(x=(ball,), C=self.specification.unsqueeze(0), method=method, bound_upper=False)
        return lower.detach()[0]

    def _range(self, relu) -> tuple[Tensor, Tensor]:
        """What may enter a layer (2 x (neurons,))."""
        before = relu.inputs[0]
        return _numbers(before.lower.detach().flatten()), _numbers(before.upper.detach().flatten())

    def unstable(self, signs: list[Tensor]) -> list[Tensor]:
        """Which ReLUs (n, neurons) of each layer are still unstable."""
        return [(sign == 0) & (lower < 0) & (upper > 0) for sign, (lower, upper) in zip(signs, self._ranges, strict=True)]

    def active(self, signs: list[Tensor]) -> list[Tensor]:
        """Which ReLUs (neurons,) pass their inputs on, in a domain where none is unstable."""
        return [(sign > 0) | ((sign == 0) & (lower >= 0)) for sign, (lower, _) in zip(signs, self._ranges, strict=True)]

    def root(self, rows: Tensor) -> Domains:
        """The whole perturbation set for each row of the specification in `rows` (n,)."""
        sizes = [lower.numel() for lower, _ in self._ranges]
        device = self._image.device
        signs = [torch.zeros(len(rows), size, dtype=torch.int8, device=device) for size in sizes]
        free = [torch.zeros(len(rows), size, device=device) for size in sizes]
        alphas = [
            (upper > -lower).to(torch.float).expand(len(rows), -1).clone() for lower, upper in self._ranges
        ]  # CROWN's own slopes.
        return self.bound(Domains(rows, signs, alphas, free, self.margins[rows], torch.full_like(rows, -1)))

    def bound(self, domains: Domains) -> Domains:
        """The same domains with their bounds, multipliers and choices brought up to date."""
        if not self._relus:
            return domains
        shapes = [(len(domains), *relu.inputs[0].lower.shape[1:]) for relu in self._relus]
        limits = {}
        for relu, sign, (lower, upper), shape in zip(self._relus, domains.signs, self._ranges, shapes, strict=True):
            clipped = torch.where(sign > 0, lower.clamp_min(0), lower), torch.where(sign < 0, upper.clamp_max(0), upper)
            limits[relu.inputs[0].name] = [side.view(shape) for side in clipped]
        METER.add((self._iterations - 1) * len(domains))
        named = layer_named(self._model, self._image, "CROWN-Optimized")
        with flags_restored(self._model), contextlib.redirect_stdout(io.StringIO()), named:
            bounds = _numbers(self._optimise(domains, limits, shapes))
        alphas = [relu.alpha[self._network.final_name].detach()[0, 0].flatten(1).clone() for relu in self._relus]
        betas = [relu.sparse_beta.detach().clone() for relu in self._relus]
        for relu in self._relus:
            relu.sparse_beta = None
        # What was proved of a domain holds for its parts.
        bounds = torch.maximum(bounds, domains.bounds)
        return Domains(domains.rows, domains.signs, alphas, betas, bounds, self._choose(domains.signs, alphas))

    def _optimise(self, domains: Domains, limits: dict, shapes: list[tuple]) -> Tensor:
        network, settings = self._network, self._network.bound_opts["optimize_bound_args"]
        specification = self.specification[domains.rows].unsqueeze(1)
        ball = perturbed(self._image.expand(len(domains), -1, -1, -1), self._threat)
        settings |= {"enable_beta_crown": False, "init_alpha": False, "fix_intermediate_layer_bounds": True}
        settings["stop_criterion_func"] = lambda bound: (bound > 0).all(dim=1, keepdim=True)
        network.init_slope((ball,), c=specification, bound_upper=False, intermediate_layer_bounds=limits)
        for relu, alpha, beta, sign, shape in zip(
            self._relus, domains.alphas, domains.betas, domains.signs, shapes, strict=True
        ):
            relu.alpha[network.final_name].data[:] = alpha.view(shape)
            relu.sparse_beta = beta.clone().requires_grad_(True)
            relu.sparse_beta_sign = sign.to(beta.dtype)
            relu.sparse_beta_loc = torch.arange(beta.shape[1], device=beta.device).expand(len(domains), -1)
        settings["enable_beta_crown"] = True
        lower, _ = network.compute_bounds(
            x=(ball,), C=specification, method="CROWN-Optimized", bound_upper=False, intermediate_layer_bounds=limits
        )
        return lower.detach()[:, 0]

    def _choose(self, signs: list[Tensor], alphas: list[Tensor]) -> Tensor:
        """The unstable ReLU (n,) that the upper line of its relaxation costs the bound most: coefficient times intercept.

        The lower line, whose slope has been optimised, only breaks ties. (On digits, counting it in full takes 2 to 30 times
        as many domains.)
        """
        scores = []
        for relu, alpha, open_, (lower, upper) in zip(self._relus, alphas, self.unstable(signs), self._ranges, strict=True):
            coefficients = relu.lA.detach()[0].flatten(1)
            above = upper * -lower / (upper - lower).clamp_min(1e-12)
            below = torch.maximum(alpha * -lower, (1 - alpha) * upper)
            gaps = torch.where(coefficients < 0, above, TIE * below) * coefficients.abs()
            scores.append(torch.where(open_, gaps.clamp_min(0), -1.0))
        best = torch.cat(scores, dim=1).max(dim=1)
        return torch.where(best.values >= 0, best.indices, -1)
