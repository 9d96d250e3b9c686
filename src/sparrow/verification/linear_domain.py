"""The exact smallest margin in a domain where the sign of every ReLU's input is fixed, as a linear programme.

Source: Bunel et al., "Branch and Bound for Piecewise Linear Neural Network Verification", JMLR 2020, sec. 4; solved by HiGHS
through scipy.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from scipy.optimize import linprog
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.utils._python_dispatch import TorchDispatchMode

from sparrow.settings import Threat

TOLERANCE = 1e-6
"""Largest violation of a constraint or error of the optimum by HiGHS, generously."""
LARGEST = 1e6
"""Largest number of the programme: above it HiGHS's tolerance, 1e-7, guarantees nothing."""
PROBES = 16
"""Random images at which the network is compared with the linear function through the origin and the unit vectors."""
RELUS = (torch.ops.aten.relu.default, torch.ops.aten.relu_.default)


class _FixedReLUs(TorchDispatchMode):
    """While active, the k-th ReLU of a forward pass multiplies by the mask `active[k]` (neurons,), and its input is kept."""

    def __init__(self, active: list[Tensor]) -> None:
        super().__init__()
        self.active = active
        self.entered: list[Tensor] = []
        """Inputs (n, neurons) of each ReLU."""

    def __torch_dispatch__(
        self, func: OpOverload, types: Sequence[type], args: tuple = (), kwargs: dict[str, Any] | None = None
    ) -> object:
        if func not in RELUS:
            return func(*args, **(kwargs or {}))
        entering = args[0]
        if len(self.entered) == len(self.active) or self.active[len(self.entered)].numel() != entering[0].numel():
            raise ValueError("the network runs other ReLUs than its graph has")
        mask = self.active[len(self.entered)].view(1, *entering.shape[1:])
        self.entered.append(entering.flatten(1).clone())
        # What is in place must stay so: others may hold the same tensor.
        return entering.mul_(mask) if func is RELUS[1] else entering * mask


def smallest_margin(
    model: nn.Module,
    image: Tensor,
    row: Tensor,
    active: list[Tensor],
    signs: list[Tensor],
    threat: Threat,
    seconds: float | None = None,
) -> tuple[float, Tensor | None]:
    """The smallest margin `row @ logits` in a domain around `image` (1, c, h, w), and the image (1, c, h, w) that has it.

    `active` says for each ReLU (neurons,) whether its input is positive; `signs` (neurons,) are constraints on the signs of the
    inputs, 0 where there is none. The margin is infinite and the image None where no image satisfies the constraints. For linf
    alone.

    Raises ValueError if the network is not linear there, because not only ReLUs are non-linear, or if HiGHS finds no solution
    within `seconds`.
    """
    network = copy.deepcopy(model).to("cpu", torch.float64)
    size = image.numel()
    probes = torch.rand(PROBES, size, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    corners = torch.cat([torch.zeros(1, size), torch.eye(size)]).double()
    points = torch.cat([corners, probes]).view(-1, *image.shape[1:])
    with torch.no_grad(), _FixedReLUs([layer.cpu().double() for layer in active]) as watched:
        outputs = (network(points) @ row.cpu().double()).unsqueeze(1)
    columns = [outputs] + [entered[:, sign.cpu() != 0] for entered, sign in zip(watched.entered, signs, strict=True)]
    values = torch.cat(columns, dim=1)
    offset, slopes = values[0], values[1 : size + 1] - values[0]  # (k,), (pixels, k)
    if not torch.allclose(values[size + 1 :], offset + probes @ slopes, rtol=1e-6, atol=1e-6):
        raise ValueError("the network is not linear between its ReLUs")
    if not values.abs().max() < LARGEST:
        raise ValueError("the numbers are too large for a linear programme with tolerances")
    directions = torch.cat([torch.zeros(0), *(sign[sign != 0].cpu() for sign in signs)]).double()
    lower, upper = (image.cpu().double().flatten() + side for side in (-threat.eps, threat.eps))
    solved = linprog(
        slopes[:, 0].numpy(),
        A_ub=-(slopes[:, 1:] * directions).T.numpy(),
        b_ub=(offset[1:] * directions).numpy(),
        bounds=np.stack([lower.clamp(0, 1).numpy(), upper.clamp(0, 1).numpy()], axis=1),
        method="highs",
        options={} if seconds is None else {"time_limit": max(seconds, 0.01)},
    )
    if solved.status == 2:  # Infeasible.
        return float("inf"), None
    if solved.status != 0:
        raise ValueError(f"the linear programme was not solved: {solved.message}")
    nearest = torch.from_numpy(solved.x).to(image.dtype).view_as(image).to(image.device)
    return float(solved.fun + offset[0]), nearest
