"""Write down the logits of a network on test images, as they are and under noise."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from sparrow import radius
from sparrow.data.store import Part, read
from sparrow.errors import NetworkError
from sparrow.files import checkpoint, outputs
from sparrow.files.headers import DATA_FORMAT, read_header, sha256
from sparrow.files.specs import opened
from sparrow.jobs import journal
from sparrow.jobs.costs import record_cost
from sparrow.jobs.resume_point import resumable
from sparrow.networks.finite import require_numbers
from sparrow.reproducible import derive_seed, pick_device, seed_everything, software_and_device
from sparrow.stages._failure import recorded
from sparrow.stages._origin import require_data
from sparrow.stages.specs.outputs import OutputsSpec


def _origin(network: Path, data: Path, spec: OutputsSpec) -> dict[str, Any]:
    """What the header says of where the logits come from."""
    return {
        "network": sha256(network),
        "data": read_header(data, DATA_FORMAT)["digest"],
        "config": spec.config(),
        "code": spec.code,
        **software_and_device(pick_device()),
    }


def _failed(message: str, output: Path, network: Path, data: Path, spec: OutputsSpec, **unused: Any) -> None:
    outputs.write_failure(output, message, _origin(network, data, spec))


@opened(OutputsSpec)
@recorded(_failed)
def write_outputs(network: Path, data: Path, output: Path, cost: Path, spec: OutputsSpec) -> None:
    """Write the logits of `network` on the test images of `data` to `output`."""
    with resumable(output, spec.model_dump(), network, data) as resume, record_cost(cost):
        generator = seed_everything("outputs")
        part, about = read(data, "test")
        loaded = checkpoint.load(network, spec.model)
        require_data(network, loaded.header, data, about)
        model, part = loaded.model.to(pick_device()), part.first(spec.samples).to(pick_device())
        require_numbers(model, part.images, spec.batch_size)
        with journal.open_journal(resume, generator):
            clean = _logits(model, part, spec.batch_size)
            noise = {
                eps: torch.stack([_noisy(model, part, spec.batch_size, about.digest, eps, draw) for draw in range(spec.draws)])
                for eps in spec.noise or ()
            }
        outputs.write(output, outputs.Outputs(part.indices, clean, noise), _origin(network, data, spec))
        right = (clean.argmax(dim=1) == part.labels.cpu()).sum()
        print(f"logits of {len(part)} images, {int(right)} of them right", flush=True)


def _noisy(model: nn.Module, part: Part, size: int, digest: str, eps: float, draw: int) -> Tensor:
    """Logits (n, K) under one draw of noise. Raises NetworkError if they are not finite."""
    found = _logits(model, part, size, digest, eps, draw)
    if not found.isfinite().all():
        raise NetworkError(f"its logits are not finite under noise of {radius.text(eps)}")
    return found


def _logits(model: nn.Module, part: Part, size: int, *noise: Any) -> Tensor:
    """Logits (n, K) on the CPU; under noise, if `noise` says of which data set, radius and draw."""

    def compute(batch: slice) -> Tensor:
        images = part.images[batch]
        if noise:
            images = torch.stack([noisy(*pair, *noise) for pair in zip(images, part.indices[batch].tolist(), strict=True)])
        with torch.no_grad():
            return model(images).float().cpu()

    batches = [slice(start, start + size) for start in range(0, len(part), size)]
    return torch.cat([journal.compute_once(f"{noise} {batch.start}", partial(compute, batch)) for batch in batches])


def noisy(image: Tensor, index: int, digest: str, eps: float, draw: int) -> Tensor:
    """`image` (c, h, w) with noise uniform in [-eps, eps] in pixel units, cut off at 0 and 1.

    The noise is that of the image with that `index` in the data set with that `digest`, whatever network, batch or device it
    is for.
    """
    generator = torch.Generator().manual_seed(derive_seed("noise", digest, eps, draw, index))
    noise = (2 * torch.rand(image.shape, generator=generator) - 1) * eps
    return (image + noise.to(image.device)).clamp(0, 1)
