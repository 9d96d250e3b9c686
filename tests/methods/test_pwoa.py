"""PwoA: the penalty, the distillation and the bottleneck, on numbers that a pencil can follow."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparrow.methods import pwoa
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.structure import Layout
from sparrow.pruning.pruner import Batch, Pruner
from sparrow.training.loop import Step


def _double(rows: list) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def _prepare(ratio: float = 0.5, **params: object) -> Pruner:
    return pwoa.prepare(pwoa.Params(**params), ratio, torch.Generator().manual_seed(0))


def _never() -> Tensor:
    raise AssertionError("neither the study's objective nor a second look at the batch has a part in it")


def _step(number: int, total: int = 30, per_epoch: int = 2) -> Step:
    return Step(number, total, per_epoch, total, 0.1, _never)


def _batch(model: nn.Module, shape: tuple[int, ...], classes: int, seed: int = 1) -> Batch:
    images = torch.rand(6, *shape, generator=torch.Generator().manual_seed(seed))
    return Batch(model, images, torch.arange(6) % classes, None, _never)


def _pulled(pruner: Pruner, weights: dict, number: int) -> list[float]:
    """What a step adds to a gradient of 0."""
    (weight,) = weights.values()
    weight.grad = torch.zeros_like(weight)
    pruner.after_backward(weights, _step(number))
    return weight.grad.flatten().tolist()


@pytest.mark.parametrize("reset", [True, False])
def test_the_penalty_by_hand(reset: bool) -> None:
    weights = {"layer": nn.Parameter(_double([[3.0, -1.0, 0.5, 2.0]]))}
    pruner = _prepare(reset_targets=reset)
    (learned,) = pruner.start(weights, None)
    assert learned is weights["layer"]
    assert _pulled(pruner, weights, 0) == pytest.approx([0, -0.01, 0.005, 0])
    # At the start of the second epoch the targets follow the weights, if they are reset; the duals are 0 still.
    weights["layer"].data = _double([[2.0, -1.0, 0.5, 2.5]])
    assert _pulled(pruner, weights, 1) == pytest.approx([-0.01, -0.01, 0.005, 0.005])
    assert _pulled(pruner, weights, 2) == pytest.approx([0, -0.01, 0.005, 0] if reset else [-0.01, -0.01, 0.005, 0.005])
    # The fourth epoch begins with an update: Z is (2.5, 0, 0, 1.9), U (0, -1.2, 0.3, 0) and rho 0.0135.
    weights["layer"].data = _double([[2.5, -1.2, 0.3, 1.9]])
    _pulled(pruner, weights, 4)
    assert pruner.trace()["rho"] == 0.01
    assert _pulled(pruner, weights, 6) == pytest.approx([0, 0.0135 * -2.4, 0.0135 * 0.6, 0])
    assert pruner.duals["layer"].flatten().tolist() == pytest.approx([0, -1.2, 0.3, 0])
    assert pruner.targets["layer"].flatten().tolist() == pytest.approx([2.5, 0, 0, 1.9])
    assert list(pruner.trace().values()) == pytest.approx([0, 0.0135, (1.2**2 + 0.3**2) ** 0.5])
    # Within the epoch nothing is set anew; at the next one's start, targets are projected without the duals.
    weights["layer"].data = _double([[0.1, -1.2, 0.3, 1.9]])
    assert _pulled(pruner, weights, 7) == pytest.approx([0.0135 * -2.4, 0.0135 * -2.4, 0.0135 * 0.6, 0])
    expected = [0.1, -1.2, 0.6, 0] if reset else [-2.4, -2.4, 0.6, 0]
    assert _pulled(pruner, weights, 8) == pytest.approx([0.0135 * one for one in expected])


def test_rho_grows_to_one_at_most() -> None:
    weights = {"layer": nn.Parameter(torch.tensor([[1.0, 2.0]]))}
    pruner = _prepare(rho=0.5, rho_growth=1.5, admm_epochs=2)
    pruner.start(weights, None)
    rhos = []
    for number in range(14):
        _pulled(pruner, weights, number)
        rhos.append(pruner.rho)
    # Two steps an epoch, two epochs between updates.
    assert rhos == [0.5] * 4 + [0.75] * 4 + [1.0] * 6


@pytest.mark.parametrize(("temperature", "mean"), [(1.0, 0.163907), (30.0, 0.249861)])
def test_distillation_by_hand(temperature: float, mean: float) -> None:
    # The mean is over images and classes, so that two images alike give as much as one.
    taught, learned = torch.tensor([[2.0, 0.0]] * 2), torch.zeros(2, 2)
    found = pwoa.distillation(taught, learned, temperature)
    assert found.item() == pytest.approx(mean, rel=1e-4)
    log_softmax = [(logits / temperature).log_softmax(dim=1) for logits in (learned, taught)]
    expected = functional.kl_div(*log_softmax, reduction="sum", log_target=True) / 4 * temperature**2
    assert found.item() == pytest.approx(expected.item(), rel=1e-4)


@pytest.mark.parametrize(
    ("rows", "labels", "expected"),
    [([[0.0], [1.0]], [0, 1], 0.998971), ([[0.0, 0.0], [0.0, 1.0], [2.0, 0.0]], [0, 0, 1], 0.999404)],
)
def test_hsic_by_hand(rows: list, labels: list, expected: float) -> None:
    inputs = pwoa.dependence(pwoa.gaussian(_double(rows), 5.0))
    outputs = pwoa.dependence(pwoa.linear(functional.one_hot(torch.tensor(labels))))
    assert pwoa.hsic(inputs, outputs).item() == pytest.approx(expected, abs=5e-7)
    assert pwoa.hsic(outputs, inputs).item() == pytest.approx(expected, abs=5e-7)


def test_distillation_is_not_lost_in_rounding() -> None:
    # For logits this close it is the variance of their difference over 2, of four classes here.
    taught, apart = torch.randn(3, 4), 1e-3 * torch.tensor([1.0, -1.0, 1.0, -1.0])
    assert pwoa.distillation(taught, taught + apart, 1000.0).item() == pytest.approx(1e-6 / 2 / 4, rel=0.01)


def test_gaussian_kernels_divide_by_the_dimension() -> None:
    # A squared distance of 4 in four dimensions, by 2 * 0.5^2.
    batch = torch.tensor([[[0.0, 0.0], [0.0, 0.0]], [[2.0, 0.0], [0.0, 0.0]]])
    kernel = pwoa.gaussian(batch, 0.5)
    assert kernel.flatten().tolist() == pytest.approx([1, 2.718281828**-2, 2.718281828**-2, 1])


def test_what_does_not_vary_depends_on_nothing() -> None:
    same = pwoa.dependence(pwoa.gaussian(torch.ones(4, 3), 5.0))
    assert pwoa.hsic(same, pwoa.dependence(pwoa.linear(torch.eye(4)))).item() == pytest.approx(0, abs=1e-9)


def test_hsic_has_a_gradient() -> None:
    batch = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    labels = pwoa.dependence(pwoa.linear(torch.eye(5)))
    assert torch.autograd.gradcheck(lambda rows: pwoa.hsic(pwoa.dependence(pwoa.gaussian(rows, 1.0)), labels), batch)


def test_hidden_representations_are_the_inputs_of_all_layers_but_the_first(residual: nn.Module) -> None:
    # Of the stem, five convolutions and the output layer: the images, and what a shortcut shares, are left out.
    images = torch.rand(2, 1, 8, 8)
    with pwoa.inputs_of(residual, prunable_weights(residual)) as hidden:
        residual(images)
    assert [tuple(one.shape[1:]) for one in hidden] == [(4, 8, 8), (4, 8, 8), (4, 8, 8), (6, 4, 4), (24,)]
    assert torch.equal(hidden[0], residual[2](residual[1](residual[0](images))))
    assert not any(module._forward_pre_hooks for module in residual.modules())


def _trained(
    pruner: Pruner, network: nn.Module, shape: tuple[int, ...], classes: int, steps: int = 6
) -> list[dict[str, Tensor]]:
    """The weights after each of some steps of plain descent."""
    weights = prunable_weights(network)
    pruner.start(weights, Layout(network, shape))
    found = []
    for number in range(steps):
        network.zero_grad()
        pruner.loss(_batch(network, shape, classes, number)).backward()
        step = _step(number, steps)
        pruner.after_backward(weights, step)
        for parameter in network.parameters():
            parameter.data -= 0.1 * parameter.grad
        pruner.after_step(weights, step)
        found.append({name: weight.detach().clone() for name, weight in weights.items()})
    return found


@pytest.mark.parametrize(("fixture", "shape", "classes"), [("tiny", (1, 4, 4), 4), ("residual", (1, 8, 8), 3)])
@pytest.mark.parametrize(("share", "dense_steps"), [(1 / 3, 1), (0.5, 2), (0.99, 5), (0.01, 0)])
def test_weights_go_at_once_and_stay_gone(
    request, fixture: str, shape: tuple, classes: int, share: float, dense_steps: int
) -> None:
    network = request.getfixturevalue(fixture).train()
    pruner = _prepare(0.7, admm_share=share)
    before, after = (part for part in _split(_trained(pruner, network, shape, classes), dense_steps))
    masks = pruner.end(prunable_weights(network))
    assert all(weight.all() for weights in before for weight in weights.values())
    assert all(torch.equal(weight != 0, masks[name]) for weights in after for name, weight in weights.items())
    assert [int((~mask).sum()) for mask in masks.values()] == [round(0.7 * mask.numel()) for mask in masks.values()]
    # What is left goes on learning.
    if len(after) > 1:
        assert all(not torch.equal(after[0][name], after[-1][name]) for name in masks)


def _split(found: list, at: int) -> tuple[list, list]:
    return found[:at], found[at:]


def test_what_is_pruned_has_no_gradient() -> None:
    weights = {"layer": nn.Parameter(torch.tensor([[3.0, -1.0, 0.5, 2.0]]))}
    pruner = _prepare()
    pruner.start(weights, None)
    pruner.after_step(weights, _step(9))
    weights["layer"].grad = torch.ones(1, 4)
    pruner.after_backward(weights, _step(10))
    # Nor is anything pulled any more.
    assert weights["layer"].grad.tolist() == [[1, 0, 0, 1]]
    assert weights["layer"].tolist() == [[3, 0, 0, 2]]


def test_the_dense_network_teaches_and_the_bottleneck_follows_when_weights_are_gone(tiny: nn.Module) -> None:
    pruner, batch = _prepare(alpha=2.0, lambda_x=0.3, lambda_y=0.2, sigma=1.5), _batch(tiny, (1, 4, 4), 4)
    weights = prunable_weights(tiny)
    pruner.start(weights, Layout(tiny, (1, 4, 4)))
    assert pruner.loss(batch).item() == pytest.approx(0, abs=1e-6)
    taught = tiny(batch.images).detach()
    pruner.after_step(weights, _step(9))
    logits, first = tiny(batch.images), tiny[:3](batch.images).detach()
    expected = 2 * pwoa.distillation(taught, logits, 30.0).item()
    assert expected > 0
    labels, images = _dependence(_linear(batch.labels)), _dependence(_gaussian(batch.images.flatten(1)))
    for hidden in (first, tiny[3:5](first).detach()):
        own = _dependence(_gaussian(hidden))
        expected += 0.3 * torch.trace(own @ images).item() - 0.2 * torch.trace(own @ labels).item()
    assert pruner.loss(batch).item() == pytest.approx(expected, rel=1e-5)


def _gaussian(rows: Tensor) -> Tensor:
    rows = rows.double()
    return torch.exp(-torch.cdist(rows, rows).square() / (2 * 1.5**2 * rows.shape[1]))


def _linear(labels: Tensor) -> Tensor:
    return (labels[:, None] == labels).double()


def _dependence(kernel: Tensor) -> Tensor:
    size, identity = len(kernel), torch.eye(len(kernel), dtype=torch.float64)
    centred = kernel @ (identity - 1 / size)
    return centred @ torch.linalg.inv(centred + 1e-5 * size * identity)


def test_the_teacher_stays_the_dense_network_in_eval_mode(residual: nn.Module) -> None:
    dense = {name: tensor.clone() for name, tensor in residual.state_dict().items()}
    pruner = _prepare()
    _trained(pruner, residual.train(), (1, 8, 8), 3)
    assert not pruner.teacher.training
    assert all(torch.equal(tensor, dense[name]) for name, tensor in pruner.teacher.state_dict().items())
    assert any(not torch.equal(tensor, dense[name]) for name, tensor in residual.state_dict().items())
