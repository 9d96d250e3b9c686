"""Digits, as they are or as large as CIFAR-10's images, and networks that have learned them: data that is there everywhere."""

from functools import cache

import torch
from torch import Tensor, nn
from torch.nn import functional

from sparrow import catalogue
from sparrow.data.store import Part
from sparrow.datasets import digits
from sparrow.settings import Threat
from sparrow.training.loop import train
from sparrow.training.schedule import Schedule

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
TEST = 297


@cache
def parts(shape: tuple[int, int, int]) -> dict[str, Part]:
    """Training and test images of `shape`, with values from 0 to 255."""
    source = digits.load(digits.Params())
    images = torch.as_tensor(source.train.images).float() / source.white
    images = functional.interpolate(images, size=shape[1:], mode="bilinear").expand(-1, shape[0], -1, -1)
    pixels, labels = (images * 255).round().to(torch.uint8), torch.as_tensor(source.train.labels)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    chosen = {"test": order[:TEST], "train": order[TEST:]}
    return {name: Part(pixels[of], labels[of], of, white=255).to(DEVICE) for name, of in chosen.items()}


def trained(
    kind: str, shape: tuple[int, int, int], objective: str, threat: Threat, epochs: int, seed: int = 0, **settings
) -> nn.Module:
    """A network that has learned them, in eval mode; `settings` are the objective's."""
    torch.manual_seed(seed)
    entry, learned = catalogue.load("models", kind), catalogue.load("objectives", objective)
    model = entry.build(entry.Params(), shape, 10).to(DEVICE)
    schedule = Schedule(
        epochs=epochs, batch_size=100, optimizer="adam", lr=0.001, ramp_epochs=epochs // 2 if "ibp" in objective else 0
    )
    data = {"train": parts(shape)["train"], "validation": parts(shape)["test"].first(1)}
    loss = learned.prepare(learned.Params(**settings), threat)
    train(model, loss, data, schedule, model.parameters(), torch.Generator().manual_seed(seed), report=lambda line: None)
    return model.eval().requires_grad_(False)


def correct(model: nn.Module, shape: tuple[int, int, int], count: int) -> tuple[Tensor, Tensor]:
    """The first `count` test images that the network gets right, and their labels."""
    part = parts(shape)["test"]
    with torch.no_grad():
        right = (model(part.images).argmax(dim=1) == part.labels).nonzero().squeeze(1)[:count]
    return part.images[right], part.labels[right]
