"""An epoch of adversarial training by the loss of TRADES, against HYDRA's own trainer.

    PYTHONPATH=CHECKOUT python benchmarks/hydra.py

CHECKOUT is one of inspire-group/hydra, with `reshape` for `view` in `accuracy` (utils/eval.py), as today's torch wants it. Both
are in float32, since TRADES begins nearer to each image than bfloat16 can tell; Sparrow's has channels last.
"""

import contextlib
import io
import warnings
from functools import partial
from types import SimpleNamespace

import torch
from _digits import DEVICE
from _paired import Pair, main
from torch import nn
from torch.utils.data import DataLoader, TensorDataset
from trainer.adv import train as trained
from training import CASES, STEPS, THREAT, epoch, random_part, run_of

from sparrow.data.store import Part


def hydra_epoch(model: nn.Module, part: Part, size: int, lr: float = 0.01) -> float:
    """An epoch in the trainer `adv` of HYDRA's code; the first loss."""
    loader = DataLoader(TensorDataset(part.images.cpu(), part.labels.cpu()), batch_size=size, shuffle=True)
    optimiser = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9)
    losses = []
    writer = SimpleNamespace(add_image=lambda *told: None, add_scalar=lambda name, value, step: losses.append((name, value)))
    settings = {"batch_size": size, "print_freq": 10, "step_size": 2.5 * THREAT.eps / STEPS, "epsilon": THREAT.eps}
    settings |= {"num_steps": STEPS, "beta": 6.0, "clip_min": 0.0, "clip_max": 1.0, "distance": "l_inf"}
    with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings(action="ignore"):
        trained(model, DEVICE, loader, None, None, optimiser, 1, SimpleNamespace(**settings), writer)
    return next(value for name, value in losses if name == "train/Loss")


def losses_alike(theirs: float, ours: float) -> str:
    """Theirs is the first batch's, ours the mean of the epoch's."""
    assert abs(theirs - ours) < 0.1 * theirs, f"losses {theirs} and {ours}"
    return f"losses {theirs:.3f} and {ours:.3f}"


def pairs() -> list[Pair]:
    ours, found = partial(epoch, kind="trades", precision="float32"), []
    for kind, (count, size) in CASES.items():
        part = random_part(count)
        part.images  # noqa: B018  made once, as in a DataLoader's data set
        runs = [run_of(one, kind, part, size) for one in (hydra_epoch, ours)]
        found.append(Pair(f"TRADES-{STEPS} training, {kind}, {count} images by {size}", "HYDRA's trainer", *runs, losses_alike))
    return found


if __name__ == "__main__":
    main("hydra", pairs, __doc__)
