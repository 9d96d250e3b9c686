#!/usr/bin/env bash
# IBP's interval in an l2 ball has no width where the network normalises its input: every input seems certified at any radius.
#
# Versions:  auto_LiRPA 0.3 (the newest on PyPI), torch 1.13.1, Python 3.11, x86-64 Linux. 0.3 declares torch < 1.13, which has no
#            wheel for Python 3.11; with torch 1.12.1 under Python 3.10 the same numbers were seen.
# Network:   the sum of two pixels, after (x - 0.5) / 0.25.
# Input:     two pixels of 0.5, in an l2 ball of radius 0.1: outputs from -0.4 * sqrt(2) to 0.4 * sqrt(2), which is 0.566.
# Expected:  an interval that contains [-0.566, 0.566], as CROWN's does here, and IBP's of the same sum without normalisation.
# Seen:      IBP [0, 0], without a warning; in a ball of radius 10, the same.
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


class Sum(nn.Module):
    def __init__(self, normalised):
        super().__init__()
        self.normalised, self.linear = normalised, nn.Linear(2, 1)
        nn.init.ones_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, pixels):
        return self.linear((pixels - 0.5) / 0.25 if self.normalised else pixels)


image = torch.full((1, 2), 0.5)


def interval(model, method, eps):
    bounded = BoundedModule(model, torch.zeros_like(image))
    ball = BoundedTensor(image, PerturbationLpNorm(norm=2, eps=eps))
    return [round(end.item(), 3) for end in bounded.compute_bounds(x=(ball,), method=method)]


# A point on the sphere: both pixels by 0.1 / sqrt(2).
highest = Sum(normalised=True)(image + 0.1 / 2**0.5).item()
seen = {
    "an output": round(highest, 3),
    "IBP": interval(Sum(normalised=True), "IBP", 0.1),
    "IBP, radius 10": interval(Sum(normalised=True), "IBP", 10.0),
    "CROWN": interval(Sum(normalised=True), "CROWN", 0.1),
    "IBP, not normalised": interval(Sum(normalised=False), "IBP", 0.1),
}
said = {
    "an output": 0.566,
    "IBP": [0.0, 0.0],
    "IBP, radius 10": [0.0, 0.0],
    "CROWN": [-0.566, 0.566],
    "IBP, not normalised": [0.859, 1.141],
}
print(*(f"{name}: {value}, said {said[name]}" for name, value in seen.items()), sep="\n")
sys.exit(seen != said)
PYTHON
