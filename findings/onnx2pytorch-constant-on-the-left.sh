#!/usr/bin/env bash
# onnx2pytorch makes A @ x of a constant A to x @ A: a MatMul with a constant becomes a linear layer, on whichever side that is.
#
# Versions:  onnx2pytorch 0.6.0 (the newest on PyPI), onnx 1.23.2, onnxruntime 1.31.1, torch 2.14.1, Python 3.11, x86-64 Linux.
# Network:   one MatMul, opset 13, whose first input is a 2 x 2 constant and whose second is the input, as in networks that mix
#            tokens, nodes of a graph or pixels by a fixed matrix.
# Input:     [[1, 2], [3, 4]]; the constant is [[0, 1], [0, 0]].
# Expected:  [[3, 4], [0, 0]], the second row in the first's place, as onnxruntime and onnx' own evaluator compute it.
# Seen:      [[0, 1], [0, 3]], which is x @ A: the first column in the second's place. No warning, and the model is one
#            Linear(in_features=2, out_features=2). With a constant that is not square the converted network raises an error when
#            it runs, or has an output of another shape where shapes fit the other way round. A constant on the right is right.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
{
    "${PYTHON:-python3.11}" -m venv "$folder/venv" &&
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6 \
        torchvision==0.29.1 onnx==1.23.2 onnxruntime==1.31.1 &&
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps onnx2pytorch==0.6.0
} >&2 || exit 2

cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import warnings

import numpy as np
import onnx
import onnxruntime
import torch
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Of the import, not of what follows.
    from onnx2pytorch import ConvertModel

CONSTANT = np.array([[0, 1], [0, 0]], dtype=np.float32)
IMAGE = np.array([[1, 2], [3, 4]], dtype=np.float32)


def network(inputs):
    graph = helper.make_graph(
        [helper.make_node("MatMul", inputs, ["y"])],
        "one",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 2])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 2])],
        [numpy_helper.from_array(CONSTANT, "A")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model, full_check=True)
    return model


seen, said = {}, {}
for name, inputs, right, converted in (
    ("A @ x", ["A", "x"], CONSTANT @ IMAGE, IMAGE @ CONSTANT),
    ("x @ A", ["x", "A"], IMAGE @ CONSTANT, IMAGE @ CONSTANT),
):
    model = network(inputs)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with torch.no_grad():
            ours = ConvertModel(model)(torch.from_numpy(IMAGE)).tolist()
    found = [session.run(None, {"x": IMAGE})[0].tolist(), ReferenceEvaluator(model).run(None, {"x": IMAGE})[0].tolist(), ours]
    seen[name], said[name] = [*found, len(caught)], [right.tolist(), right.tolist(), converted.tolist(), 0]
print(*(f"{name}: onnxruntime, onnx, onnx2pytorch, warnings {value}; said {said[name]}" for name, value in seen.items()), sep="\n")
sys.exit(seen != said)
PYTHON
