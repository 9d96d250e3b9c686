"""Bounds by beta-CROWN under splits through auto_LiRPA, for networks that have no graph of their own."""

from __future__ import annotations

import contextlib
import io
from typing import cast

import torch
from torch import Tensor, nn

from sparrow.jobs.costs import METER
from sparrow.settings import Threat
from sparrow.verification.bounded_network import Node, ReluNode, nodes
from sparrow.verification.bounds import bounded, flags_restored, naming_unsupported_layer, perturbed
from sparrow.verification.splitting import LR_BETA, Domains, Splitting, without_nan

PIECEWISE_LINEAR = {
    *("BoundInput", "BoundParams", "BoundBuffers", "BoundConstant", "BoundShape", "BoundGather", "BoundUnsqueeze"),
    *("BoundConv", "BoundBatchNormalization", "BoundAveragePool", "BoundGlobalAveragePool"),
    *("BoundAdd", "BoundSub", "BoundNeg", "BoundReshape", "BoundFlatten", "BoundTranspose", "BoundConcat", "BoundPad"),
    *("BoundIdentity", "BoundDropout", "BoundRelu"),
}
"""Linear operations, and ReLUs. With any other a domain without unstable ReLUs is not linear, and cannot be solved exactly."""
SCALING = {"BoundMul", "BoundDiv", "BoundMatMul", "BoundLinear"}
"""Operations that are linear, too, if all inputs but the first do not depend on the image."""


def _is_linear_or_relu(node: Node) -> bool:
    """Whether a node of auto_LiRPA's graph computes a linear function of the image's part in it, or is a ReLU."""
    kind = type(node).__name__
    if kind in SCALING:
        return not any(other.perturbed for other in node.inputs[1:])
    return kind in PIECEWISE_LINEAR


class LirpaSplitting(Splitting):
    """Bounds by auto_LiRPA, without splits by alpha-CROWN; `model` is left as it was."""

    def __init__(self, model: nn.Module, image: Tensor, label: int, threat: Threat, classes: int, iterations: int, lr: float):
        super().__init__(image, label, classes)
        self._model, self._threat, self._iterations = model, threat, iterations
        # Early stopping is decided for a whole batch; without it, no domain's bound depends on the others.
        settings = {"iteration": iterations, "lr_alpha": lr, "lr_beta": LR_BETA, "early_stop_patience": iterations}
        with flags_restored(model), contextlib.redirect_stdout(io.StringIO()):
            self._network = bounded(model, image, {"optimize_bound_args": settings})
            self._network.eval()
            with naming_unsupported_layer(model, image, "CROWN-Optimized"):
                self.margins = without_nan(self._root())
        self._relus = [node for node in self._network.relus if node.used and node.perturbed]
        self.ranges = [self._range(node) for node in self._relus]
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
        return without_nan(before.lower.detach().flatten()), without_nan(before.upper.detach().flatten())

    def bound(self, domains: Domains) -> Domains:
        """The same domains with bounds, slopes, multipliers and choices optimised under their signs."""
        if not self._relus:
            return domains
        shapes = [(len(domains), *relu.inputs[0].lower.shape[1:]) for relu in self._relus]
        limits = {}
        for relu, sign, (lower, upper), shape in zip(self._relus, domains.signs, self.ranges, shapes, strict=True):
            clipped = torch.where(sign > 0, lower.clamp_min(0), lower), torch.where(sign < 0, upper.clamp_max(0), upper)
            limits[relu.inputs[0].name] = [side.view(shape) for side in clipped]
        METER.add((self._iterations - 1) * len(domains))
        named = naming_unsupported_layer(self._model, self._image, "CROWN-Optimized")
        with flags_restored(self._model), contextlib.redirect_stdout(io.StringIO()), named:
            bounds = without_nan(self._optimise(domains, limits, shapes))
        alphas = [relu.alpha[self._network.final_name].detach()[0, 0].flatten(1).clone() for relu in self._relus]
        betas = [cast(Tensor, relu.sparse_beta).detach().clone() for relu in self._relus]
        for relu in self._relus:
            relu.sparse_beta = None
        # A bound that was proved for a domain holds for its parts.
        bounds = torch.maximum(bounds, domains.bounds)
        coefficients = [relu.lA.detach()[0].flatten(1) for relu in self._relus]
        choices = self.choices(domains.signs, alphas, coefficients)
        return Domains(domains.rows, domains.signs, alphas, betas, bounds, choices)

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
