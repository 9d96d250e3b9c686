"""Is what is faster as accurate? PGD adversarial training in the naive loop, and by Sparrow in float32 and in bfloat16.

    python benchmarks/accuracy.py

CNN-small on digits as large as CIFAR-10's images, over three seeds; then benign accuracy, and era under PGD-20 in float32.
"""

import statistics
from collections.abc import Callable
from functools import partial

import torch
import torchattacks
from _digits import parts
from _paired import about, write
from torch import nn
from training import THREAT, epoch, naive_epoch, network

from sparrow.data.store import Part

SHAPE = (3, 32, 32)
SEEDS = (0, 1, 2)
EPOCHS, SIZE, LR = 12, 64, 0.01
COLUMNS = [
    "way",
    "seeds",
    "benign",
    "benign_lowest",
    "benign_highest",
    "era",
    "era_lowest",
    "era_highest",
    "device",
    "threads",
    "torch",
]
WAYS = {
    "the naive loop": naive_epoch,
    "Sparrow, float32": partial(epoch, precision="float32"),
    "Sparrow, bfloat16": epoch,
}


def accuracies(way: Callable, seed: int) -> tuple[float, float]:
    """Benign accuracy and era in percent of a network trained in one way."""
    model = network("cnn-small", seed)
    train, test = (parts(SHAPE)[name] for name in ("train", "test"))
    for number in range(EPOCHS):
        torch.manual_seed(1000 * seed + number)
        way(model, train, SIZE, LR * (1 - number / EPOCHS))
    model.eval()
    attack = torchattacks.PGD(model, eps=THREAT.eps, alpha=THREAT.eps / 8, steps=20)
    torch.manual_seed(seed)
    return _right(model, test, test.images), _right(model, test, attack(test.images, test.labels))


@torch.no_grad()
def _right(model: nn.Module, part: Part, images: torch.Tensor) -> float:
    return 100 * (model(images).argmax(dim=1) == part.labels).float().mean().item()


def row(name: str) -> dict:
    found = [accuracies(WAYS[name], seed) for seed in SEEDS]
    line = {"way": name, "seeds": len(SEEDS)}
    for metric, values in zip(("benign", "era"), zip(*found, strict=True), strict=True):
        numbers = statistics.fmean(values), min(values), max(values)
        line |= dict(
            zip((metric, f"{metric}_lowest", f"{metric}_highest"), (round(value, 1) for value in numbers), strict=True)
        )
    print(
        "{way}: benign {benign} ({benign_lowest} to {benign_highest}), era {era} ({era_lowest} to {era_highest})".format(
            **line
        ),
        flush=True,
    )
    here = about()
    return line | {key: here[key] for key in ("device", "threads", "torch")}


if __name__ == "__main__":
    print(f"written to {write('accuracy', [row(name) for name in WAYS], COLUMNS, ('way',))}")
