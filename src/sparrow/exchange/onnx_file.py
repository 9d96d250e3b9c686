"""Export to ONNX: from `images` (n, c, h, w) in [0, 1] to `logits` (n, classes), checked against torch."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from sparrow.errors import SparrowError
from sparrow.exchange.network import Network
from sparrow.files.atomic import replacing

if TYPE_CHECKING:
    from onnx_ir import Model
    from onnxruntime import InferenceSession

TOLERANCE = 1e-5
"""Largest difference of a logit, relative to the largest logit where that is above 1."""
BATCHES = (7, 1)
"""Batch sizes of the check, none of them the 2 that the network is traced with."""


def write(path: Path, network: Network) -> float:
    """Write `network`; the largest difference (relative) between a logit of onnxruntime and of torch.

    Raises SparrowError, and leaves no file, if that is above TOLERANCE, or if a package is missing.
    """
    try:
        import onnx  # noqa: F401 - torch's exporter needs these two, and says so at length
        import onnxruntime
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise SparrowError(
            f"{path}: ONNX needs the package {error.name}, which is not installed (envs/requirements.txt)"
        ) from None
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    program = torch.onnx.export(
        network.model,
        (torch.zeros(2, *network.shape),),
        input_names=["images"],
        output_names=["logits"],
        dynamic_shapes=({0: torch.export.Dim("batch")},),
        dynamo=True,
        verbose=False,
    )
    if program is None:  # The legacy exporter's return value; with `dynamo` there is a program.
        raise SparrowError(f"{path}: not written: torch's exporter returned nothing")
    _forget_machine(program.model)
    program.model.metadata_props["sparrow"] = json.dumps(network.origin(), sort_keys=True)
    with replacing(path) as partial:
        program.save(str(partial))
        session = onnxruntime.InferenceSession(str(partial), providers=["CPUExecutionProvider"])
        # Unlike Python's `max`, torch's returns nan if one is nan.
        apart = float(torch.tensor([_difference(network, session, images) for images in _images(network.shape)]).max())
        if not apart <= TOLERANCE:
            raise SparrowError(f"{path}: not written: onnxruntime's logits differ from torch's by {apart:.2g} (relative)")
    return apart


def _forget_machine(model: Model) -> None:
    """Remove the metadata of each operation: the lines of code that it comes from, with paths of this machine."""
    for node in model.graph.all_nodes():
        node.metadata_props.clear()
    for value in (*model.graph.inputs, *model.graph.outputs):
        value.metadata_props.clear()


def _images(shape: tuple[int, int, int]) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.rand(number, *shape, generator=generator) for number in BATCHES]


def _difference(network: Network, session: InferenceSession, images: Tensor) -> float:
    with torch.no_grad():
        before = network.model(images)
    after = torch.from_numpy(session.run(["logits"], {"images": images.numpy()})[0])
    return float((before - after).abs().max() / torch.maximum(before.abs().max(), torch.tensor(1.0)))
