"""An epoch of PGD-10 adversarial training, against the loop that one writes first.

    python benchmarks/training.py

The naive loop: float32, channels apart, a DataLoader over images in memory, torchattacks' PGD, SGD. Sparrow's: its own, with
`precision: bfloat16` and `channels_last: true`. An epoch is as many images as fit into seconds, for its length goes as
their number.
"""

import statistics
from collections.abc import Callable

import torch
import torchattacks
from _digits import DEVICE
from _paired import Pair, main
from torch import nn
from torch.nn import functional
from torch.utils.data import DataLoader, TensorDataset

from sparrow import catalogue
from sparrow.data.store import Part
from sparrow.settings import Threat
from sparrow.training.loop import train
from sparrow.training.schedule import Schedule

THREAT = Threat(eps=8 / 255)
STEPS = 10
CASES = {"cnn-large": (512, 128), "vgg16-bn": (128, 64), "resnet18": (64, 64), "wrn-28-4": (32, 32)}
"""Networks; images of an epoch and of a batch."""
GPU_CASES = {"cnn-large": (10240, 128), "vgg16-bn": (10240, 128), "resnet18": (5120, 128), "wrn-28-4": (2560, 128)}


def naive_epoch(model: nn.Module, part: Part, size: int, lr: float = 0.01) -> float:
    """An epoch in the loop that one writes first; the mean loss."""
    loader = DataLoader(TensorDataset(part.images.cpu(), part.labels.cpu()), batch_size=size, shuffle=True)
    attack = torchattacks.PGD(model, eps=THREAT.eps, alpha=2.5 * THREAT.eps / STEPS, steps=STEPS)
    optimiser = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    model.train()
    losses = []
    for images, labels in loader:
        images, labels = images.to(DEVICE), labels.to(DEVICE)
        adversarial = attack(images, labels)
        optimiser.zero_grad()
        loss = functional.cross_entropy(model(adversarial), labels)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    return statistics.fmean(losses)


def epoch(
    model: nn.Module, part: Part, size: int, lr: float = 0.01, kind: str = "adversarial", precision: str = "bfloat16"
) -> float:
    """The same by Sparrow; one image is there to be validated."""
    entry = catalogue.load("objectives", kind)
    objective = entry.prepare(entry.Params(steps=STEPS), THREAT)
    schedule = Schedule(
        epochs=1, batch_size=size, lr=lr, momentum=0.9, lr_decay="constant", precision=precision, channels_last=True
    )
    data = {"train": part, "validation": part.first(1)}
    # Another order each time, as the naive loop has it.
    generator = torch.Generator().manual_seed(int(torch.randint(2**31, ())))
    rows = train(model, objective, data, schedule, model.parameters(), generator, report=lambda line: None)
    return rows[-1][3]


def network(kind: str, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    entry = catalogue.load("models", kind)
    return entry.build(entry.Params(), (3, 32, 32), 10).to(DEVICE)


def random_part(count: int) -> Part:
    generator = torch.Generator().manual_seed(0)
    pixels = torch.randint(256, (count, 3, 32, 32), generator=generator, dtype=torch.uint8)
    return Part(pixels, torch.randint(10, (count,), generator=generator), torch.arange(count), white=255).to(DEVICE)


def first_losses(theirs: float, ours: float) -> str:
    """Both start at the same weights, so the first epoch's loss is the same but for random numbers and rounding."""
    assert abs(theirs - ours) < 0.1 * theirs, f"losses {theirs} and {ours}"
    return f"losses {theirs:.3f} and {ours:.3f}"


def pairs() -> list[Pair]:
    found = []
    for kind, (count, size) in (GPU_CASES if DEVICE.type == "cuda" else CASES).items():
        part = random_part(count)
        part.images  # noqa: B018  made once, as in a DataLoader's data set
        runs = [run_of(one, kind, part, size) for one in (naive_epoch, epoch)]
        case = f"PGD-{STEPS} training, {kind}, {count} images by {size}"
        found.append(Pair(case, "the naive loop", *runs, first_losses, ("torchattacks",)))
    return found


def run_of(one: Callable, kind: str, part: Part, size: int) -> Callable[[], float]:
    """Runs that all start at the same weights."""
    model = network(kind)
    start = {name: tensor.clone() for name, tensor in model.state_dict().items()}

    def run() -> float:
        model.load_state_dict(start)
        return one(model, part, size)

    return run


if __name__ == "__main__":
    main("training", pairs, __doc__)
