#!/usr/bin/env bash
# What torch's ONNX exporter writes by default, onnx2torch cannot read, be it a convolution, a ReLU and an average pooling.
#
# Versions:  onnx2torch 1.5.15 (the newest on PyPI), torch 2.14.1, onnx 1.23.2, onnxscript 0.7.2, Python 3.11, x86-64 Linux.
# Network:   Conv2d, ReLU, AvgPool2d, Flatten, Linear.
# Input:     its export by torch.onnx.export(model, inputs, path, dynamo=True), with no other setting. onnx's own checker takes it.
# Expected:  a network with the same outputs.
# Seen:      the exporter writes opset 20, and onnx2torch.convert raises NotImplementedError: Converter is not implemented
#            (OperationDescription(domain='', operation_type='AveragePool', version=19)). At opset_version=18, the lowest that
#            the exporter has by itself, it is the flattening: "allowzero=1" is not implemented.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
{
    "${PYTHON:-python3.11}" -m venv "$folder/venv" &&
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 &&
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps onnx2torch==1.5.15 torchvision==0.29.1 \
        onnx==1.23.2 onnxscript==0.7.2 onnx_ir==1.1.0 ml_dtypes==0.6.0 protobuf==7.36.2 numpy==2.4.6 packaging==26.2 pillow==13.0.0
} >&2 || exit 2

cd "$folder"
"$folder/venv/bin/python" -W ignore - <<'PYTHON'
import sys

import onnx
import onnx2torch
import torch
from torch import nn

torch.manual_seed(0)
model = nn.Sequential(nn.Conv2d(1, 2, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(), nn.Linear(8, 2)).eval()
image = torch.rand(1, 1, 4, 4)


def converted(**settings):
    torch.onnx.export(model, (image,), "network.onnx", dynamo=True, verbose=False, **settings)
    exported = onnx.load("network.onnx")
    onnx.checker.check_model(exported)
    opset = exported.opset_import[0].version
    try:
        difference = (onnx2torch.convert("network.onnx")(image) - model(image)).abs().max().item()
    except NotImplementedError as error:
        return f"opset {opset}: {error}"
    return f"opset {opset}: converted, outputs differ by at most {difference:.1g}"


seen = [converted(), converted(opset_version=18)]
said = [
    "opset 20: Converter is not implemented (OperationDescription(domain='', operation_type='AveragePool', version=19))",
    'opset 18: "allowzero=1" is not implemented',
]
print(*(f"{now}\n  said: {then}" for now, then in zip(seen, said)), sep="\n")
sys.exit(seen != said)
PYTHON
