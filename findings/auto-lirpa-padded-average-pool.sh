#!/usr/bin/env bash
# CROWN's interval of an affine network with a padded average pooling holds none of the network's outputs.
#
# Versions:  auto_LiRPA 0.3 (the newest on PyPI), torch 1.13.1, Python 3.11, x86-64 Linux. 0.3 declares torch < 1.13, which has no
#            wheel for Python 3.11; with torch 1.12.1 under Python 3.10 the same numbers were seen.
# Network:   Conv2d(1, 1, 1), AvgPool2d(2, stride=1, padding=1), Flatten, Linear(25, 1); weights 1, biases 0. Every pixel lies in
#            four windows, a quarter in each, so that the output is the sum of the pixels.
# Input:     4 x 4 pixels of 0.5, each of which may move by 0.1: outputs from 16 * 0.4 = 6.4 to 16 * 0.6 = 9.6.
# Expected:  [6.4, 9.6], which is what IBP gives here; a sound bound contains it.
# Seen:      CROWN [1.6, 2.4], without a warning, whether conv_mode is "patches" or "matrix".
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

convolution, linear = nn.Conv2d(1, 1, 1), nn.Linear(25, 1)
for layer in (convolution, linear):
    nn.init.ones_(layer.weight)
    nn.init.zeros_(layer.bias)
model = nn.Sequential(convolution, nn.AvgPool2d(2, stride=1, padding=1), nn.Flatten(), linear).eval()
image = torch.full((1, 1, 4, 4), 0.5)


def interval(method, mode):
    bounded = BoundedModule(model, torch.zeros_like(image), bound_opts={"conv_mode": mode})
    ball = BoundedTensor(image, PerturbationLpNorm(norm=float("inf"), eps=0.1))
    return [round(end.item(), 3) for end in bounded.compute_bounds(x=(ball,), method=method)]


seen = {
    "outputs": [round(model(image + move).item(), 3) for move in (-0.1, 0.0, 0.1)],
    "IBP": interval("IBP", "patches"),
    "CROWN by patches": interval("CROWN", "patches"),
    "CROWN by matrices": interval("CROWN", "matrix"),
}
said = {"outputs": [6.4, 8.0, 9.6], "IBP": [6.4, 9.6], "CROWN by patches": [1.6, 2.4], "CROWN by matrices": [1.6, 2.4]}
print(*(f"{name}: {value}, said {said[name]}" for name, value in seen.items()), sep="\n")
sys.exit(seen != said)
PYTHON
