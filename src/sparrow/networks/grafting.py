"""ReLUs of which some neurons are lines instead: linearity grafting.

A neuron that is a line needs no relaxation, and nothing is to be split there: bounds lose nothing at it.

Source: Chen et al., "Linearity Grafting: Relaxed Neuron Pruning Helps Certifiable Robustness", ICML 2022, sec. 3; form of the
released code (VITA-Group/Linearity-Grafting, main/custom_op_train.py, LinearMaskedRelu, commit 95751ef), but for where its mask
stands: see `Grafted`.

BibTeX:

@inproceedings{chen2022linearity,
  author = {Chen, Tianlong and Zhang, Huan and Zhang, Zhenyu and Chang, Shiyu and Liu, Sijia and Chen, Pin-Yu and Wang,
    Zhangyang},
  title = {Linearity Grafting: Relaxed Neuron Pruning Helps Certifiable Robustness},
  booktitle = {International Conference on Machine Learning},
  year = {2022},
}
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor, nn

from sparrow.errors import NetworkError

TENSORS = ("kept", "slope", "intercept")


class Grafted(nn.Module):
    """ReLUs of one layer, a line in the place of each for which `mask` (*neurons) is True: `relu(x (1 - m)) + a x + b`.

    The slopes a and intercepts b (*neurons) are 0 where the ReLU is kept; whoever trains them has to hold them there. In the
    paper the mask is behind the ReLU, `relu(x) (1 - m) + (a x + b) m`, which is the same function. Before it, the input of a
    ReLU that a line has replaced is always 0: so it counts as stable wherever ReLUs are counted or split, and no bound
    takes it for anything else. One of the two terms is always 0, so that intervals of their sum are exact, too.
    """

    kept: Tensor
    """1 - m (*neurons): 1 where the ReLU is kept, 0 where a line is. (Numbers, and in the state dict: auto_LiRPA can bound no
    product with a tensor outside it.)"""
    slope: Tensor
    intercept: Tensor

    def __init__(self, mask: Tensor, slope: Tensor, intercept: Tensor) -> None:
        super().__init__()
        self.register_buffer("kept", (~mask).to(slope.dtype))
        self.slope, self.intercept = nn.Parameter(slope * mask), nn.Parameter(intercept * mask)

    @property
    def mask(self) -> Tensor:
        """Which neurons (*neurons) are lines."""
        return self.kept == 0

    def forward(self, inputs: Tensor) -> Tensor:
        return torch.relu(inputs * self.kept) + (inputs * self.slope + self.intercept)


def grafted_layers(model: nn.Module) -> dict[str, Grafted]:
    """All `Grafted` of a network by name, in its order."""
    return {name: module for name, module in model.named_modules() if isinstance(module, Grafted)}


def line_masks(model: nn.Module) -> dict[str, Tensor]:
    """Masks (*neurons) of the slopes and intercepts of a network by name: True at a line; elsewhere they have to stay 0."""
    return {f"{name}.{line}": layer.mask for name, layer in grafted_layers(model).items() for line in TENSORS[1:]}


def relu_inputs(model: nn.Module, images: Tensor) -> Iterator[tuple[str, Tensor]]:
    """Name and input (n, *neurons) of each ReLU layer for `images` (n, c, h, w), in the order in which they are run.

    Raises NetworkError if there is none that is a module, or if one of these is run twice: it could have but one mask.
    """
    found: list[tuple[str, Tensor]] = []
    relus = {name: module for name, module in model.named_modules() if type(module) is nn.ReLU}
    hooks = [
        module.register_forward_pre_hook(lambda layer, given, name=name: found.append((name, given[0].detach().clone())))
        for name, module in relus.items()
    ]
    try:
        with torch.no_grad():
            model(images)
    finally:
        for hook in hooks:
            hook.remove()
    names = [name for name, _ in found]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise NetworkError(f"no line can take the place of a ReLU in {twice}, which is run more than once; give each its own")
    if not found:
        raise NetworkError("it has no ReLU in whose place a line could be (only modules, torch.nn.ReLU, are found)")
    yield from found


def graft(model: nn.Module, masks: Mapping[str, Tensor], slope: float, intercept: float) -> None:
    """Replace ReLU layers of `model` by `Grafted` ones with these `masks` (*neurons), by name, all lines alike."""
    for name, mask in masks.items():
        lines = (torch.full(mask.shape, value, device=mask.device) for value in (slope, intercept))
        model.set_submodule(name, Grafted(mask, *lines))


def regraft(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Replace the ReLU layers of a network as it is built that have the tensors of `Grafted` in `state`, a state dict.

    What these hold is left to `load_state_dict`.
    """
    for name, module in list(model.named_modules()):
        kept, *lines = (state.get(f"{name}.{tensor}") for tensor in TENSORS)
        if (
            type(module) is nn.ReLU
            and kept is not None
            and all(line is not None and line.shape == kept.shape for line in lines)
        ):
            graft(model, {name: torch.zeros(kept.shape, dtype=torch.bool)}, 0.0, 0.0)


def chosen(unstable: Mapping[str, Tensor], magnitudes: Mapping[str, Tensor], images: int, most: int) -> dict[str, Tensor]:
    """Masks (*neurons) of the neurons to graft, over all layers together: `most`, or fewer.

    `unstable` says on how many of the `images` each was unstable, `magnitudes` how large its input was on average. First come
    those that are unstable on more than half of the images, the smallest inputs first; then the others, the most unstable first
    (and of those the smallest inputs). What is unstable on no image keeps its ReLU, since bounds lose nothing there. Of equals
    the first come first.
    """
    counts = torch.cat([layer.flatten() for layer in unstable.values()]).cpu().double()
    sizes = torch.cat([layer.flatten() for layer in magnitudes.values()]).cpu().double()
    mostly = 2 * counts > images
    order = sizes.argsort(stable=True)
    rank = torch.where(mostly, torch.full_like(counts, images), counts)
    order = order[rank[order].argsort(stable=True, descending=True)]
    number = min(most, int((counts > 0).sum()))
    flat = torch.zeros(len(counts), dtype=torch.bool)
    flat[order[:number]] = True
    parts = flat.split([layer.numel() for layer in unstable.values()])
    return {name: part.view(layer.shape).to(layer.device) for part, (name, layer) in zip(parts, unstable.items(), strict=True)}
