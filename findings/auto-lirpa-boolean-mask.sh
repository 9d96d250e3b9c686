#!/usr/bin/env bash
# CROWN's intervals of a network with a mask of truth values hold none of its outputs, if the batch is as large as the mask.
#
# Versions:  auto_LiRPA 0.3 (the newest on PyPI), torch 1.13.1, Python 3.11, x86-64 Linux. 0.3 declares torch < 1.13, which has no
#            wheel for Python 3.11.
# Network:   Linear(1, 2) with weights 1, times a buffer (True, False), Linear(2, 1) with weights 1; biases 0. Its output is its
#            input. With a mask of numbers, (1, 0), it is the same function.
# Input:     two numbers, 0.2 and 0.8, each of which may move by 0.1: outputs from 0.1 to 0.3, and from 0.7 to 0.9.
# Expected:  these intervals, which IBP gives here, and CROWN with a mask of numbers.
# Seen:      CROWN with a mask of truth values [0.8, 1.0] and [0.0, 0.2], without a warning; with another number of inputs than
#            the mask has entries, a RuntimeError on shapes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
{
    "${PYTHON:-python3.11}" -m venv "$folder/venv" &&
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps auto_LiRPA==0.3 torch==1.13.1 \
        nvidia-cublas-cu11==11.10.3.66 nvidia-cudnn-cu11==8.5.0.96 nvidia-cuda-nvrtc-cu11==11.7.99 \
        nvidia-cuda-runtime-cu11==11.7.99 numpy==1.26.4 appdirs==1.4.4 packaging==26.2 pyyaml==6.0.3 setuptools==66.1.1 \
        tqdm==4.67.1 typing_extensions==4.16.0
} >&2 || exit 2

cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import torch
from auto_LiRPA import BoundedModule, BoundedTensor
from auto_LiRPA.perturbations import PerturbationLpNorm
from torch import nn


class Masked(nn.Module):
    def __init__(self, mask):
        super().__init__()
        self.register_buffer("mask", mask)

    def forward(self, inputs):
        return inputs * self.mask


def intervals(mask, method, numbers=(0.2, 0.8)):
    first, last = nn.Linear(1, 2), nn.Linear(2, 1)
    for layer in (first, last):
        nn.init.ones_(layer.weight)
        nn.init.zeros_(layer.bias)
    model = nn.Sequential(first, Masked(mask), last).eval()
    inputs = torch.tensor(numbers)[:, None]
    bounded = BoundedModule(model, torch.zeros(1, 1))
    ball = BoundedTensor(inputs, PerturbationLpNorm(norm=float("inf"), eps=0.1))
    try:
        lower, upper = bounded.compute_bounds(x=(ball,), method=method)
    except RuntimeError:
        return "RuntimeError"
    return [[round(end.item(), 3) for end in pair] for pair in zip(lower, upper)]


truths, numbers = torch.tensor([True, False]), torch.tensor([1.0, 0.0])
seen = {
    "IBP, truth values": intervals(truths, "IBP"),
    "CROWN, numbers": intervals(numbers, "CROWN"),
    "CROWN, truth values": intervals(truths, "CROWN"),
    "CROWN, truth values, one input": intervals(truths, "CROWN", (0.2,)),
}
right = [[0.1, 0.3], [0.7, 0.9]]
said = dict.fromkeys(seen, right) | {
    "CROWN, truth values": [[0.8, 1.0], [0.0, 0.2]],
    "CROWN, truth values, one input": "RuntimeError",
}
print(*(f"{name}: {value}, said {said[name]}" for name, value in seen.items()), sep="\n")
sys.exit(seen != said)
PYTHON
