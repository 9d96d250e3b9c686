"""CROWN of ResNet-18 on images of 32 x 32, one by one: seconds and peak memory. No ratio: nothing else bounds it here.

python benchmarks/resnet18_crown.py cut 10      with three quarters of its filters cut, digits that it has learned; 15 minutes
python benchmarks/resnet18_crown.py dense 1     untrained, and noise; three quarters of an hour
"""

from __future__ import annotations

import resource
import sys
import time

import torch
from _digits import correct
from physical_size import CLASSES, SHAPE, sides
from torch import Tensor, nn
from training import network

from sparrow.jobs import allocator
from sparrow.settings import Threat
from sparrow.verifiers import crown

RATIO, RADIUS = 0.75, Threat(eps=1 / 255)


def given(which: str, count: int) -> tuple[nn.Module, Tensor, Tensor]:
    """The network, images and their labels."""
    if which == "cut":
        model = sides("resnet18", RATIO)["small"].model.eval()
        return model, *correct(model, SHAPE, count)
    model = network("resnet18").cpu().eval()
    images = torch.rand(count, *SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        return model, images, model(images).argmax(dim=1)


def peak() -> float:
    """MiB that this process has had at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    torch.set_flush_denormal(True)
    allocator.keep_freed_memory()
    model, *batch = given(sys.argv[1], int(sys.argv[2]))
    print(f"{peak():.0f} MiB before the first", flush=True)
    for image, label in zip(*(part.split(1) for part in batch), strict=True):
        wall, own = time.perf_counter(), time.process_time()
        margin = crown.bound(model, image, label, crown.Params(), RADIUS, CLASSES)
        wall, own = time.perf_counter() - wall, time.process_time() - own
        print(f"margin {margin.item():.6g}: {wall:.1f} s, {own:.1f} s of processor time, peak {peak():.0f} MiB", flush=True)
