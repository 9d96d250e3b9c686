"""A step of CROWN-IBP training in the middle of its ramp, against that of auto_LiRPA's own training example.

    python benchmarks/crown_ibp.py

The example (examples/vision/simple_training.py in Verified-Intelligence/auto_LiRPA) looks at the benign logits, bounds the
margins by IBP and, with the intervals that this has left, by CROWN, and trains on the cross-entropy of their mixture.
"""

import torch
from _digits import DEVICE
from _paired import Pair, main
from torch import Tensor, nn
from torch.nn import functional

from sparrow import catalogue
from sparrow.settings import Threat
from sparrow.verification.auto_lirpa_bridge import auto_lirpa
from sparrow.verification.bounds import margin_matrix, perturbed

THREAT = Threat(eps=2 / 255)
BETA = 0.5
CASES = {"cnn-small": 128, "cnn-large": 128, "cnn7": 32}
"""Networks, and images of a batch."""


def step_of_the_example(model: nn.Module, images: Tensor, labels: Tensor):
    view = auto_lirpa().BoundedModule(model, images[:2])
    view.train()
    optimiser = torch.optim.Adam(view.parameters(), lr=0)

    def step() -> float:
        optimiser.zero_grad()
        ball = perturbed(images, Threat(eps=BETA * THREAT.eps))
        specification = margin_matrix(labels, 10)
        functional.cross_entropy(view(ball), labels)
        loose, _ = view.compute_bounds(IBP=True, C=specification, method=None)
        tight, _ = view.compute_bounds(IBP=False, C=specification, method="backward", bound_upper=False)
        worst = functional.pad(-(BETA * tight + (1 - BETA) * loose), (1, 0))
        loss = functional.cross_entropy(worst, torch.zeros_like(labels))
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


def step_of_sparrow(model: nn.Module, images: Tensor, labels: Tensor):
    entry = catalogue.load("objectives", "crown-ibp")
    objective = entry.prepare(entry.Params(kappa_start=0.0, kappa_end=0.0), THREAT)
    optimiser = torch.optim.Adam(model.parameters(), lr=0)

    def step() -> float:
        optimiser.zero_grad()
        loss = objective(model, images, labels, BETA)
        loss.backward()
        optimiser.step()
        return loss.item()

    return step


def equal(theirs: float, ours: float) -> str:
    gap = abs(theirs - ours) / theirs
    assert gap < 1e-4, f"losses {theirs} and {ours}"
    return f"losses differ by {gap:.0e}"


def pairs() -> list[Pair]:
    found = []
    for kind, images in CASES.items():
        torch.manual_seed(0)
        entry = catalogue.load("models", kind)
        models = [entry.build(entry.Params(), (3, 32, 32), 10).to(DEVICE).train() for _ in range(2)]
        models[1].load_state_dict(models[0].state_dict())
        batch = torch.rand(images, 3, 32, 32).to(DEVICE), torch.randint(10, (images,)).to(DEVICE)
        steps = step_of_the_example(models[0], *batch), step_of_sparrow(models[1], *batch)
        case = f"CROWN-IBP step, {kind}, {images} images"
        for against, in_a_job in {"auto_LiRPA's example": False, "auto_LiRPA's example in a job": True}.items():
            found.append(Pair(case, against, *steps, equal, ("auto_LiRPA",), in_a_job))
    return found


if __name__ == "__main__":
    main("crown_ibp", pairs, __doc__)
