"""Bounds by beta-CROWN on one image's margins with the signs of some ReLUs' inputs fixed, and the ReLU to fix next.

A ReLU whose input may have either sign is unstable; its relaxation is what makes bounds loose. Once its sign is fixed, the
relaxation is gone, and the sign is a constraint on the image. A multiplier beta >= 0 for each such constraint,
optimised together with the slopes alpha, brings it into the bound.

Source: Wang et al., "Beta-CROWN: Efficient Bound Propagation with Per-neuron Split Constraints for Neural Network
Robustness Verification", NeurIPS 2021, theorem 3.2.
"""

from __future__ import annotations

import contextlib
import io
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from sparrow.errors import NetworkError
from sparrow.jobs.costs import METER
from sparrow.networks.live_view import live_view
from sparrow.settings import Threat
from sparrow.verification.bounded_network import Node, ReluNode, nodes
from sparrow.verification.bounds import bounded, flags_restored, margin_matrix, naming_unsupported_layer, perturbed

LR_BETA = 0.05
"""Learning rate of the multipliers, as in auto_LiRPA."""
PIECEWISE_LINEAR = {
    *("BoundInput", "BoundParams", "BoundBuffers", "BoundConstant", "BoundShape", "BoundGather", "BoundUnsqueeze"),
    *("BoundConv", "BoundBatchNormalization", "BoundAveragePool", "BoundGlobalAveragePool"),
    *("BoundAdd", "BoundSub", "BoundNeg", "BoundReshape", "BoundFlatten", "BoundTranspose", "BoundConcat", "BoundPad"),
    *("BoundIdentity", "BoundDropout", "BoundRelu"),
}
"""Linear operations, and ReLUs. With any other a domain without unstable ReLUs is not linear, and cannot be solved exactly."""
SCALING = {"BoundMul", "BoundDiv", "BoundMatMul", "BoundLinear"}
"""Operations that are linear, too, if all inputs but the first do not depend on the image."""
TIE = 1e-6
"""Weight of the lower line's cost, which only breaks ties."""


def _is_linear_or_relu(node: Node) -> bool:
    """Whether a node of auto_LiRPA's graph computes a linear function of the image's part in it, or is a ReLU."""
    kind = type(node).__name__
    if kind in SCALING:
        return not any(other.perturbed for other in node.inputs[1:])
    return kind in PIECEWISE_LINEAR


def _without_nan(bounds: Tensor) -> Tensor:
    """`bounds`. Raises NetworkError if one is NaN, for which every comparison would give the wrong answer."""
    if bounds.isnan().any():
        raise NetworkError("branch-and-bound gave a bound that is not a number")
    return bounds


@dataclass(frozen=True)
class Domains:
    """Parts (n) of the perturbation set, each with the class against which it is to be verified."""

    rows: Tensor
    """Rows (n,) of the specification: the class against which each domain is to be verified."""
    signs: list[Tensor]
    """For each ReLU layer (n, neurons): 1 where its input is constrained to be positive, -1 where negative, 0 where free."""
    alphas: list[Tensor]
    """Slopes (n, neurons) with which the optimisation starts."""
    betas: list[Tensor]
    """Multipliers (n, neurons) with which the optimisation starts."""
    bounds: Tensor
    """Lower bounds (n,) on the margins."""
    choices: Tensor
    """The ReLUs (n,) to fix next, counted over all layers; -1 where none is unstable."""

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, which: Tensor) -> Domains:
        """The domains at the positions `which`."""
        signs, alphas, betas = ([layer[which] for layer in layers] for layers in (self.signs, self.alphas, self.betas))
        return Domains(self.rows[which], signs, alphas, betas, self.bounds[which], self.choices[which])

    def join(self, other: Domains) -> Domains:
        """These domains, then the others."""
        pairs = ((self.signs, other.signs), (self.alphas, other.alphas), (self.betas, other.betas))
        signs, alphas, betas = ([torch.cat(layers) for layers in zip(*pair, strict=True)] for pair in pairs)
        bounds, choices = torch.cat((self.bounds, other.bounds)), torch.cat((self.choices, other.choices))
        return Domains(torch.cat([self.rows, other.rows]), signs, alphas, betas, bounds, choices)

    def split(self) -> Domains:
        """Two domains (2 n) for each: first all with the chosen ReLU's input positive, then all with it negative."""
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
    """Bounds on the margins of one image (1, c, h, w), of class `label`, under splits; `model` is left as it was.

    `margins` (classes - 1,) are the bounds without splits; `only_relus`: whether ReLUs are the only non-linear operations;
    `live`: the network whose ReLUs are split, which is `model` without the units that cannot matter.
    """

    def __init__(self, model: nn.Module, image: Tensor, label: int, threat: Threat, classes: int, iterations: int, lr: float):
        self._model, self._image, self._threat, self._iterations = model, image, threat, iterations
        self.live = live_view(model, image.shape[1:])
        self.specification = margin_matrix(torch.tensor([label], device=image.device), classes)[0]
        # Early stopping is decided for a whole batch; without it, no domain's bound depends on the others.
        settings = {"iteration": iterations, "lr_alpha": lr, "lr_beta": LR_BETA, "early_stop_patience": iterations}
        with flags_restored(model), contextlib.redirect_stdout(io.StringIO()):
            self._network = bounded(self.live, image, {"optimize_bound_args": settings})
            self._network.eval()
            with naming_unsupported_layer(model, image, "CROWN-Optimized"):
                self.margins = _without_nan(self._root())
        self._relus = [node for node in self._network.relus if node.used and node.perturbed]
        self._ranges = [self._range(node) for node in self._relus]
        self.only_relus = all(map(_is_linear_or_relu, nodes(self._network)))

    def _root(self) -> Tensor:
        """Bounds (classes - 1,) on the margins without any split, by alpha-CROWN."""
        method = "CROWN-Optimized" if self._network.optimizable_activations else "CROWN"
        METER.add(self._iterations - 1)
        ball = perturbed(self._image, self._threat)
        lower, _ = self._network.compute_bounds(x=(ball,), C=self.specification.unsqueeze(0), method=method, bound_upper=False)
        return lower.detach()[0]

    def _range(self, relu: ReluNode) -> tuple[Tensor, Tensor]:
        """Lower and upper bounds (neurons,) on the input of a ReLU layer."""
        before = relu.inputs[0]
        return _without_nan(before.lower.detach().flatten()), _without_nan(before.upper.detach().flatten())

    def unstable(self, signs: list[Tensor]) -> list[Tensor]:
        """For each layer, whether its ReLUs (n, neurons) are still unstable."""
        return [(sign == 0) & (lower < 0) & (upper > 0) for sign, (lower, upper) in zip(signs, self._ranges, strict=True)]

    def active(self, signs: list[Tensor]) -> list[Tensor]:
        """For each layer, whether its ReLUs (neurons,) have positive inputs, in a domain where none is unstable."""
        return [(sign > 0) | ((sign == 0) & (lower >= 0)) for sign, (lower, _) in zip(signs, self._ranges, strict=True)]

    def root(self, rows: Tensor) -> Domains:
        """Domains (n) of the whole perturbation set, one for each row of the specification in `rows` (n,)."""
        sizes = [lower.numel() for lower, _ in self._ranges]
        device = self._image.device
        signs = [torch.zeros(len(rows), size, dtype=torch.int8, device=device) for size in sizes]
        free = [torch.zeros(len(rows), size, device=device) for size in sizes]
        alphas = [
            (upper > -lower).to(torch.float).expand(len(rows), -1).clone() for lower, upper in self._ranges
        ]  # CROWN's own slopes.
        return self.bound(Domains(rows, signs, alphas, free, self.margins[rows], torch.full_like(rows, -1)))

    def bound(self, domains: Domains) -> Domains:
        """The same domains with bounds, slopes, multipliers and choices optimised under their signs."""
        if not self._relus:
            return domains
        shapes = [(len(domains), *relu.inputs[0].lower.shape[1:]) for relu in self._relus]
        limits = {}
        for relu, sign, (lower, upper), shape in zip(self._relus, domains.signs, self._ranges, shapes, strict=True):
            clipped = torch.where(sign > 0, lower.clamp_min(0), lower), torch.where(sign < 0, upper.clamp_max(0), upper)
            limits[relu.inputs[0].name] = [side.view(shape) for side in clipped]
        METER.add((self._iterations - 1) * len(domains))
        named = naming_unsupported_layer(self._model, self._image, "CROWN-Optimized")
        with flags_restored(self._model), contextlib.redirect_stdout(io.StringIO()), named:
            bounds = _without_nan(self._optimise(domains, limits, shapes))
        alphas = [relu.alpha[self._network.final_name].detach()[0, 0].flatten(1).clone() for relu in self._relus]
        betas = [cast(Tensor, relu.sparse_beta).detach().clone() for relu in self._relus]
        for relu in self._relus:
            relu.sparse_beta = None
        # A bound that was proved for a domain holds for its parts.
        bounds = torch.maximum(bounds, domains.bounds)
        return Domains(domains.rows, domains.signs, alphas, betas, bounds, self._choose(domains.signs, alphas))

    def _optimise(self, domains: Domains, limits: dict, shapes: list[tuple]) -> Tensor:
        """Bounds (n,) on the domains' margins by beta-CROWN, with the ReLUs' inputs inside `limits`."""
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
        """The unstable ReLU (n,) whose relaxation's upper line loosens the bound most, by coefficient times intercept; or -1.

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
