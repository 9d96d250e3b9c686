"""Cut the pruned filters out of a network, and measure what that saves."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn
from torch.utils.benchmark import Timer

from sparrow.data.store import read
from sparrow.errors import CheckpointError, NetworkError
from sparrow.files import checkpoint
from sparrow.files import compact as compact_file
from sparrow.files.headers import sha256
from sparrow.files.specs import opened
from sparrow.jobs.costs import record_cost
from sparrow.networks.finite import require_numbers
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.structure import Layout, without_filters
from sparrow.reproducible import software_and_device
from sparrow.stages._failure import failed_compact, recorded
from sparrow.stages.specs.compact import CompactSpec

TOLERANCE = 1e-5
"""Largest difference of a logit, relative to the largest logit where that is above 1."""
BATCH_SIZE = 256
MEASURE_SECONDS = 0.3


@opened(CompactSpec)
@recorded(failed_compact)
def compact(network: Path, data: Path, output: Path, cost: Path, spec: CompactSpec) -> None:
    """Write `network` without its pruned filters; to `cost` also the latency on one image with and without them.

    Raises NetworkError if what was written, read again, does not give the same logits on the test images.
    """
    with record_cost(cost) as also:
        loaded = checkpoint.load(network, spec.model)
        images = read(data, "test")[0].images
        require_numbers(loaded.model, images, BATCH_SIZE)
        shape = tuple(loaded.header["shape"])
        smaller = _cut(loaded, shape)
        sizes = {
            "parameters_left": sum(parameter.numel() for parameter in smaller.parameters()),
            "multiply_adds": Layout(smaller, shape).multiply_adds(prunable_weights(smaller)),
        }
        own = {
            "parent": sha256(network),
            "cut_from": loaded.header["content"],
            "config": {},
            "code": spec.code,
            **software_and_device(torch.device("cpu")),
        }
        compact_file.save(output, smaller, loaded.header | sizes | own)
        smaller = _as_written(output)
        try:
            apart = difference(loaded.model, smaller, images)
        except RuntimeError as error:
            raise NetworkError(f"without its pruned filters it cannot be run ({' '.join(str(error).split())})") from None
        if not apart <= TOLERANCE:
            raise NetworkError(f"without its pruned filters its logits differ by {apart:.2g} (relative)")
        also["latency_ms"], also["latency_masked_ms"] = latency_ms(smaller, images[:1]), latency_ms(loaded.model, images[:1])
        print(f"{sizes['parameters_left']} parameters, {sizes['multiply_adds']} multiply-adds, logits differ by {apart:.2g}")


def _cut(loaded: checkpoint.Checkpoint, shape: tuple[int, int, int]) -> nn.Module:
    try:
        return without_filters(loaded.model, shape, loaded.masks)
    except Exception as error:  # The layers of a network are the user's, and torch_pruning fails in ways of its own.
        raise NetworkError(f"its pruned filters cannot be cut out ({' '.join(str(error).split())})") from None


def _as_written(path: Path) -> nn.Module:
    """The compact network as it is read from `path`: in memory it may have more than its file says."""
    try:
        return compact_file.load(path)[0]
    except CheckpointError as error:
        raise NetworkError(f"without its pruned filters it cannot be read again ({error})") from None


def difference(first: nn.Module, second: nn.Module, images: torch.Tensor) -> float:
    """Largest difference of a logit, over the largest logit where that is above 1."""
    apart, largest = torch.tensor(0.0), torch.tensor(1.0)
    with torch.no_grad():
        for batch in images.split(BATCH_SIZE):
            before, after = first(batch), second(batch)
            # `maximum` hands on what is not a number.
            apart, largest = torch.maximum(apart, (before - after).abs().max()), torch.maximum(largest, before.abs().max())
    return float(apart / largest)


def latency_ms(model: nn.Module, images: torch.Tensor) -> float:
    """Median time of one forward pass in milliseconds, on the CPU, with the job's threads."""
    with torch.inference_mode():
        timer = Timer("model(images)", globals={"model": model, "images": images}, num_threads=torch.get_num_threads())
        return 1e3 * timer.blocked_autorange(min_run_time=MEASURE_SECONDS).median
