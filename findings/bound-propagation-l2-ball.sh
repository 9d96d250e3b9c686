#!/usr/bin/env bash
# CROWN's interval of a linear layer in an l2 ball has no width as soon as one of its weights is zero, as pruning makes it.
#
# Versions:  bound_propagation 0.4.7 (the newest on PyPI), torch 2.14.1, Python 3.11, x86-64 Linux.
# Network:   Linear(2, 1) with the weights 3, 4, and Linear(3, 1) with the weights 3, 4, 0; no bias.
# Input:     LpNormSet(mid, eps, p): balls of radius 1 around zero, p = 2 and p = 3. Its docstring says that it works for p > 1.
# Expected:  in l2, [-5, 5] for both networks: the outputs at (0.6, 0.8), whose norm is 1, and at its opposite are 5 and -5. In
#            l3, the norm of the weights with the exponent 3 / (3 - 1): (3^1.5 + 4^1.5)^(1 / 1.5) = 5.584. IBP, which takes the
#            box around the ball, gives [-7, 7].
# Seen:      in l2, CROWN [-2.4, 2.4] and, with the zero, [0, 0]; in l3, [-2.149, 2.149] and [0, 0]. Nothing warns of it. It is
#            the norm with the exponent p / (1 - p) in place of p / (p - 1): (3^-2 + 4^-2)^(-1/2) = 2.4, and 0 with a zero.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
{
    "${PYTHON:-python3.11}" -m venv "$folder/venv" &&
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6 &&
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps bound_propagation==0.4.7
} >&2 || exit 2

cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import torch
from bound_propagation import BoundModelFactory, LpNormSet
from torch import nn


def linear(weights):
    layer = nn.Linear(len(weights), 1, bias=False)
    layer.weight.data = torch.tensor([weights])
    return nn.Sequential(layer)


def interval(weights, method, p):
    bounded = BoundModelFactory().build(linear(weights))
    bounds = getattr(bounded, method)(LpNormSet(torch.zeros(1, len(weights)), 1.0, p)).concretize()
    return [round(end.item(), 3) for end in (bounds.lower, bounds.upper)]


def outputs(weights, p):
    """The least and the largest output at points of the ball's surface: a million directions among the first two inputs."""
    angles = torch.linspace(0, 2 * torch.pi, 10**6 + 1, dtype=torch.float64)
    points = torch.stack([angles.cos(), angles.sin(), *[torch.zeros_like(angles)] * (len(weights) - 2)], dim=1)
    values = linear(weights).double()(points / points.norm(p, dim=1, keepdim=True))
    return [round(end.item(), 3) for end in (values.min(), values.max())]


whole, pruned = [3.0, 4.0], [3.0, 4.0, 0.0]
seen, said = {}, {}
for p, exact, wrong in ((2.0, 5.0, 2.4), (3.0, 5.584, 2.149)):
    for weights, crown in ((whole, wrong), (pruned, 0.0)):
        case = f"l{p:.0f}, weights {weights}"
        seen[f"{case}: outputs"], said[f"{case}: outputs"] = outputs(weights, p), [-exact, exact]
        seen[f"{case}: IBP"], said[f"{case}: IBP"] = interval(weights, "ibp", p), [-7.0, 7.0]
        seen[f"{case}: CROWN"], said[f"{case}: CROWN"] = interval(weights, "crown", p), [0.0 - crown, crown]
print(*(f"{name}: {value}, said {said[name]}" for name, value in seen.items()), sep="\n")
sys.exit(seen != said)
PYTHON
