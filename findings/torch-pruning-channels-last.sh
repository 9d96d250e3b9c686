#!/usr/bin/env bash
# torch_pruning removes a filter that puts out nothing, and the outputs change: behind a flattening with the channels last, it
# takes the weights of other filters out of the linear layer.
#
# Versions:  torch-pruning 1.6.1 (the newest on PyPI), torch 2.14.1, Python 3.11, x86-64 Linux.
# Network:   Conv2d(1, 3, 1), ReLU, permute(0, 2, 3, 1), flatten(1), Linear(6, 1), as networks that come from TensorFlow have it.
#            The filters' weights are 10, 0 and 100, those of the linear layer 1 to 6; no bias.
# Input:     1 x 2 pixels of 1. Each puts 10, 0 and 100 next to each other in front of the linear layer.
# Asked for: BasePruner by magnitude with pruning_ratio=1/3, without the linear layer; it chooses the filter of zeros. The same of
#            its dependency graph alone.
# Expected:  950 before and after: 1 * 10 + 3 * 100 + 4 * 10 + 6 * 100. The linear layer keeps 1, 3, 4, 6.
# Seen:      860 after. It keeps 1, 2, 5, 6, as if all pixels of a filter were next to each other: 1 * 10 + 2 * 100 + 5 * 10 +
#            6 * 100. No warning, and check_pruning_group says True. Without the permutation, 1130 before and after.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
{
    "${PYTHON:-python3.11}" -m venv "$folder/venv" &&
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6 &&
    "$folder/venv/bin/pip" install --quiet --disable-pip-version-check --no-deps torch-pruning==1.6.1
} >&2 || exit 2

cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import warnings

import torch
from torch import nn

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # Of the import, not of what follows.
    import torch_pruning

image = torch.ones(1, 1, 1, 2)


class Network(nn.Module):
    def __init__(self, axes):
        super().__init__()
        self.axes = axes
        self.filters, self.linear = nn.Conv2d(1, 3, 1, bias=False), nn.Linear(6, 1, bias=False)
        self.filters.weight.data = torch.tensor([10.0, 0.0, 100.0]).view(3, 1, 1, 1)
        self.linear.weight.data = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])

    def forward(self, images):
        return self.linear(self.filters(images).relu().permute(self.axes).flatten(1))


def by_pruner(model):
    importance = torch_pruning.importance.MagnitudeImportance(p=2)
    torch_pruning.pruner.BasePruner(
        model, image, importance=importance, pruning_ratio=1 / 3, ignored_layers=[model.linear]
    ).step()


def by_graph(model):
    graph = torch_pruning.DependencyGraph().build_dependency(model, example_inputs=image)
    group = graph.get_pruning_group(model.filters, torch_pruning.prune_conv_out_channels, idxs=[1])
    assert graph.check_pruning_group(group)
    group.prune()


def pruned(axes, prune):
    """The output before and after, and the weights that are left: of the filters, of the linear layer."""
    model = Network(axes)
    before = model(image).item()
    prune(model)
    left = [layer.weight.flatten().tolist() for layer in (model.filters, model.linear)]
    return [before, model(image).item(), *left]


seen, said = {}, {}
for name, prune in (("pruner", by_pruner), ("graph", by_graph)):
    for order, axes, then in (
        ("first", (0, 1, 2, 3), [1130.0, 1130.0, [10.0, 100.0], [1.0, 2.0, 5.0, 6.0]]),
        ("last", (0, 2, 3, 1), [950.0, 860.0, [10.0, 100.0], [1.0, 2.0, 5.0, 6.0]]),
    ):
        case = f"{name}, channels {order}"
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            seen[case], said[case] = [*pruned(axes, prune), len(caught)], [*then, 0]
print(*(f"{case}: {value}, said {said[case]}" for case, value in seen.items()), sep="\n")
sys.exit(seen != said)
PYTHON
