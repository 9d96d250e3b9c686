r"""Weights rounded to few bits: each output channel of a convolution or linear layer on a grid of its own, with 0 on it.

With B bits a channel c has the step `s_c = max |W_c| / q`, `q = 2^(B-1) - 1`, and its weights become

    W <- s_c round(W / s_c),    integers from -q to q times s_c (halves go to the even one).

Zero stays zero, so that masks hold by construction; more weights become zero, the more the fewer bits there are. A channel of
zeros stays one. The largest weight of a channel lies on its grid exactly, and rounding what is rounded changes nothing, to the
bit. The weights are float32 still, at these values: whoever attacks, verifies or exports the network has an ordinary one.

Biases and the scales and shifts of norms stay as they are: they are few, and are counted at 32 bits. A norm behind a
convolution scales its output channels one by one, as the steps do, so that folding it into the convolution before or after
rounding gives the same integers.

Activations are not rounded. A rounded activation is a step function: its gradient is zero almost everywhere, so that a
gradient attack needs an estimator in its place and reports a robustness that is not there without one; and no linear bound
(CROWN and what is built on it) has a relaxation for it. Rounded weights change neither: all attacks and bounds hold as ever.

Source: ours, the usual symmetric rounding by channel.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from sparrow.networks.prunable import prunable_weights


def rounded(weight: Tensor, bits: int) -> Tensor:
    """The tensor (channels, ...) with each channel rounded to `bits` bits, at least 2; of the same type, without a gradient."""
    if not weight.numel():
        return weight.detach().clone()
    largest_integer = 2 ** (bits - 1) - 1
    # In double precision, and multiplied before it is divided: so the largest weight of a channel stays what it is, and with it
    # the grid.
    exact = weight.detach().double()
    largest = exact.abs().amax(dim=tuple(range(1, exact.dim())), keepdim=True)
    integers = (exact * largest_integer / largest).round()
    return torch.where(largest > 0, integers * largest / largest_integer, 0.0).to(weight.dtype)


def round_weights(model: nn.Module, bits: Mapping[str, int]) -> None:
    """Round all prunable weights of `model` in place, each to its own `bits`."""
    for name, weight in prunable_weights(model).items():
        weight.data.copy_(rounded(weight, bits[name]))
