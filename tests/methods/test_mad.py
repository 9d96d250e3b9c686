"""MAD: images, masks, saliency and the two budgets, on numbers that a pencil can follow."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparrow.methods import mad
from sparrow.networks.prunable import prunable_weights
from sparrow.networks.structure import Layout
from sparrow.pruning.pruner import Batch, Pruner
from sparrow.settings import Threat
from sparrow.stages._mask_check import check_masks

THREAT = Threat(eps=0.1)


def _double(rows: list) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def _prepare(ratio: float = 0.5, **params: object) -> Pruner:
    return mad.prepare(mad.Params(**params), ratio, torch.Generator().manual_seed(0))


def _batch(model: nn.Module, shape: tuple[int, ...], classes: int, seed: int = 1) -> Batch:
    generator = torch.Generator().manual_seed(seed)

    def never() -> Tensor:
        raise AssertionError("the study's objective has no part in it")

    return Batch(model, torch.rand(6, *shape, generator=generator), torch.arange(6) % classes, THREAT, never)


def test_saliency_of_a_linear_layer_by_hand() -> None:
    layer = nn.Linear(2, 2, bias=False).double()
    weight, mask = _double([[1.0, 2.0], [3.0, 4.0]]), _double([[0.5, 1.0], [1.0, 0.75]])
    change = weight * (1 - mask)
    assert change.tolist() == [[0.5, 0], [0, 1]]
    # A is ((1, 1), (1, 2)), and the diagonal of G (0.04, 0.08).
    inputs, gradient = _double([[1.0, 0.0], [1.0, 2.0]]), _double([[0.1, 0.0], [0.1, 0.2]])
    found = mad.layer_saliency(layer, change, inputs, gradient)
    assert found.flatten().tolist() == pytest.approx([0.005, 0, 0, 0.08])
    masks = mad.masks_of_two_budgets({"layer": found}, 0.5)
    assert (weight * masks["layer"]).tolist() == [[1, 0], [0, 4]]


def _by_the_formula(change: Tensor, patches: Tensor, gradient: Tensor, images: int) -> Tensor:
    """S (out, in) from patches (n, in) and gradients (n, out) of all positions, with the factors written out."""
    places = len(patches) // images
    inner = (patches / places).T @ (patches / places) / images
    outer = (gradient * images * places).T @ (gradient * images * places) / len(patches)
    return torch.stack([0.5 * outer[i, i] * torch.outer(change[i], change[i] @ inner).diagonal() for i in range(len(change))])


@pytest.mark.parametrize("options", [{}, {"stride": 2, "padding": 1}, {"bias": False, "dilation": 2}])
def test_saliency_of_a_convolution_is_that_of_its_patches(options: dict) -> None:
    layer = nn.Conv2d(2, 3, 3, **options).double()
    inputs, change = torch.randn(4, 2, 7, 6).double(), torch.randn(3, 2, 3, 3).double()
    gradient = torch.randn_like(layer(inputs))
    geometry = {name: value for name, value in options.items() if name != "bias"}
    patches = functional.unfold(inputs, 3, **geometry).movedim(1, -1).flatten(0, 1)
    expected = _by_the_formula(change.flatten(1), patches, gradient.flatten(2).movedim(1, -1).flatten(0, 1), 4)
    assert torch.allclose(mad.layer_saliency(layer, change, inputs, gradient).flatten(1), expected)


def test_saliency_of_a_grouped_convolution_is_that_of_each_group() -> None:
    layer = nn.Conv2d(4, 6, 3, groups=2).double()
    inputs, change, gradient = (torch.randn(shape).double() for shape in [(3, 4, 5, 5), (6, 2, 3, 3), (3, 6, 3, 3)])
    parts = zip(change.chunk(2), inputs.chunk(2, dim=1), gradient.chunk(2, dim=1), strict=True)
    expected = torch.cat([mad.layer_saliency(nn.Conv2d(2, 3, 3).double(), *part) for part in parts])
    assert torch.allclose(mad.layer_saliency(layer, change, inputs, gradient), expected)


@pytest.mark.parametrize("inplace", [False, True])
def test_saliency_of_a_network_is_that_of_its_layers_at_the_masked_weights(inplace: bool) -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3), nn.ReLU(inplace), nn.Linear(3, 2)).double()
    network[1].bias.data.fill_(1)  # Hidden units that are never on would have no saliency.
    weights = {name: weight.detach() for name, weight in prunable_weights(network).items()}
    masks = {name: torch.rand_like(weight) for name, weight in weights.items()}
    images, labels = torch.rand(5, 1, 2, 2).double(), torch.tensor([0, 1, 1, 0, 1])
    found, loss = mad.saliency(network, weights, masks, images, labels)
    flat = images.flatten(1)
    inside = (flat @ (weights["1.weight"] * masks["1.weight"]).T + network[1].bias).detach().requires_grad_()
    logits = inside.relu() @ (weights["3.weight"] * masks["3.weight"]).T + network[3].bias
    expected = functional.cross_entropy(logits, labels)
    first, second = torch.autograd.grad(expected, [inside, logits])
    assert loss.item() == pytest.approx(expected.item())
    changes = {name: weight * (1 - masks[name]) for name, weight in weights.items()}
    assert all(scores.abs().max() > 1e-6 for scores in found.values())
    assert torch.allclose(found["1.weight"], _by_the_formula(changes["1.weight"], flat, first, 5))
    assert torch.allclose(found["3.weight"], _by_the_formula(changes["3.weight"], inside.detach().relu(), second, 5))
    assert not any(module._forward_hooks for module in network.modules())


def test_a_layer_that_no_logit_depends_on_has_no_saliency(tiny: nn.Module) -> None:
    tiny.add_module("aside", nn.Linear(2, 2))
    tiny.forward = lambda images: (tiny.aside(images[:, 0, 0, :2]), nn.Sequential(*list(tiny)[:-1])(images))[1]
    weights = {name: weight.detach() for name, weight in prunable_weights(tiny).items()}
    masks = {name: torch.full_like(weight, 0.5) for name, weight in weights.items()}
    found, _ = mad.saliency(tiny, weights, masks, torch.rand(3, 1, 4, 4), torch.arange(3))
    assert not found["aside.weight"].any()
    assert found["0.weight"].any()


def test_masks_take_one_step_of_adam_down_the_loss() -> None:
    # Both classes have the logit 0.5 of the one image; the loss falls with the logit of its own class, and not with the other.
    network = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False)).double()
    weights = {"1.weight": _double([[1.0], [1.0]])}
    images, labels = _double([[[[0.5]]]]), torch.tensor([0])
    masks = mad.soft_masks(network, weights, images, labels, 1, 0.1)
    start = math.log(math.e - 1)
    assert start == pytest.approx(0.5413, abs=1e-4)
    # The first may not grow beyond 1; Adam's first step has the length of its learning rate.
    assert masks["1.weight"].flatten().tolist() == pytest.approx([1, math.log1p(math.exp(start - 0.1))], rel=1e-6)


def test_masks_stay_between_their_bounds() -> None:
    network = nn.Sequential(nn.Flatten(), nn.Linear(1, 2, bias=False)).double()
    weights, images, labels = {"1.weight": _double([[-1.0], [1.0]])}, _double([[[[1.0]]]]), torch.tensor([0])
    masks = mad.soft_masks(network, weights, images, labels, 30, 5.0)
    # Each takes away what speaks against the label.
    assert masks["1.weight"].flatten().tolist() == pytest.approx([1e-4, 1e-4])


def test_masks_lower_the_loss_and_leave_the_network_alone(tiny: nn.Module) -> None:
    before = copy.deepcopy(tiny.state_dict())
    weights = {name: weight.detach() for name, weight in prunable_weights(tiny).items()}
    images, labels = torch.rand(8, 1, 4, 4), torch.arange(8) % 4
    masks = mad.soft_masks(tiny, weights, images, labels, 20, 0.1)
    loss = functional.cross_entropy(tiny(images), labels).item()
    assert all(torch.equal(tensor, before[name]) for name, tensor in tiny.state_dict().items())
    assert all(parameter.grad is None for parameter in tiny.parameters())
    for name, weight in prunable_weights(tiny).items():
        weight.data.mul_(masks[name])
    assert functional.cross_entropy(tiny(images), labels).item() < loss


@pytest.mark.parametrize("threat", [THREAT, Threat(norm="l2", eps=0.5)])
def test_pgd_stays_within_the_threat_and_raises_the_loss(tiny: nn.Module, threat: Threat) -> None:
    images, labels = torch.rand(8, 1, 4, 4), torch.arange(8) % 4
    attacked = mad.pgd(tiny, images, labels, threat, 10, 2.3 * threat.eps / 10)
    difference = (attacked - images).flatten(1)
    distance = difference.abs().amax(dim=1) if threat.norm == "linf" else difference.norm(dim=1)
    assert distance.max() <= threat.eps + 1e-6
    assert attacked.amin() >= 0
    assert attacked.amax() <= 1
    assert not attacked.requires_grad
    assert functional.cross_entropy(tiny(attacked), labels) > functional.cross_entropy(tiny(images), labels)


@pytest.mark.parametrize(
    ("dropped", "kept"),
    [
        (2, [[0, 1, 1], [1, 0, 1]]),
        (4, [[0, 0, 1], [0, 0, 1]]),
        # The next score of the first row is 5, that of the second 4.
        (3, [[0, 1, 1], [0, 0, 1]]),
        (0, [[1, 1, 1], [1, 1, 1]]),
    ],
)
def test_rows_lose_equally_many_but_for_one(dropped: int, kept: list) -> None:
    scores = torch.tensor([[1.0, 5.0, 6.0], [4.0, -3.0, 7.0]])
    assert mad.keep_highest_of_rows(scores, dropped).int().tolist() == kept


def test_of_equal_scores_in_a_row_the_first_go_first() -> None:
    assert mad.keep_highest_of_rows(torch.zeros(2, 3), 3).int().tolist() == [[0, 0, 1], [0, 1, 1]]


def test_all_layers_but_the_last_compete() -> None:
    scores = {
        "small": torch.tensor([[1.0, -2.0], [3.0, 4.0]]),
        "large": torch.tensor([[10.0, 20.0, 30.0, 40.0]]),
        "last": torch.tensor([[1000.0, 2000.0], [-3000.0, -4000.0]]),
    }
    masks = {name: mask.int().tolist() for name, mask in mad.masks_of_two_budgets(scores, 0.5).items()}
    # Six of twelve go: a half of each row, and of eight others the four lowest but for the one that a layer keeps.
    assert masks == {"small": [[0, 0], [0, 1]], "large": [[0, 1, 1, 1]], "last": [[0, 1], [1, 0]]}


@pytest.mark.parametrize("ratio", [0.1, 0.37, 0.5, 0.9, 0.95, 0.99])
@pytest.mark.parametrize(("fixture", "shape", "classes"), [("tiny", (1, 4, 4), 4), ("residual", (1, 8, 8), 3)])
def test_the_ratio_is_met_to_the_weight(request, fixture: str, shape: tuple, classes: int, ratio: float) -> None:
    network = request.getfixturevalue(fixture)
    weights = prunable_weights(network)
    pruner = _prepare(ratio, steps=2, mask_steps=2)
    assert pruner.start(weights, Layout(network, shape)) == []
    pruner.loss(_batch(network, shape, classes))
    masks = pruner.end(weights)
    assert check_masks(masks, weights, Layout(network, shape), ratio, pruner.budget) is None
    assert sum(int((~mask).sum()) for mask in masks.values()) == round(ratio * sum(w.numel() for w in weights.values()))
    *others, last = masks.values()
    rows = last.sum(dim=1)
    assert rows.max() - rows.min() <= 1
    assert all(mask.any() for mask in others)


def test_a_batch_leaves_the_network_as_it_is(residual: nn.Module) -> None:
    residual.train()
    residual[1].eval()
    before = copy.deepcopy(residual.state_dict())
    pruner = _prepare(steps=2, mask_steps=2)
    pruner.start(prunable_weights(residual), Layout(residual, (1, 8, 8)))
    loss = pruner.loss(_batch(residual, (1, 8, 8), 3))
    assert not loss.requires_grad
    assert all(torch.equal(tensor, before[name]) for name, tensor in residual.state_dict().items())
    assert all(parameter.grad is None and parameter.requires_grad for parameter in residual.parameters())
    assert [module.training for module in (residual, residual[0], residual[1])] == [True, True, False]
    assert not any(module._forward_hooks for module in residual.modules())


def test_scores_are_summed_over_batches(tiny: nn.Module) -> None:
    def scores(seeds: list[int]) -> dict[str, Tensor]:
        pruner = _prepare(steps=2)
        pruner.start(prunable_weights(tiny), Layout(tiny, (1, 4, 4)))
        for seed in seeds:
            torch.manual_seed(seed)
            pruner.loss(_batch(tiny, (1, 4, 4), 4, seed))
        return pruner.saliency

    both, first, second = scores([1, 2]), scores([1]), scores([2])
    assert all(torch.allclose(both[name], first[name] + second[name]) for name in both)
    assert any(score.any() for score in both.values())


@pytest.mark.parametrize(("options", "length"), [({}, 2.3 * 0.1 / 3), ({"step_size": 0.02}, 0.02)])
def test_masks_and_scores_are_those_of_attacked_images(tiny: nn.Module, options: dict, length: float) -> None:
    pruner, batch = _prepare(steps=3, mask_steps=4, mask_lr=0.3, **options), _batch(tiny, (1, 4, 4), 4)
    pruner.start(prunable_weights(tiny), Layout(tiny, (1, 4, 4)))
    state = torch.get_rng_state()
    loss = pruner.loss(batch)
    torch.set_rng_state(state)
    weights = {name: weight.detach() for name, weight in prunable_weights(tiny).items()}
    attacked = mad.pgd(tiny, batch.images, batch.labels, THREAT, 3, length)
    masks = mad.soft_masks(tiny, weights, attacked, batch.labels, 4, 0.3)
    expected, masked_loss = mad.saliency(tiny, weights, masks, attacked, batch.labels)
    assert loss == masked_loss
    assert all(torch.equal(pruner.saliency[name], scores) for name, scores in expected.items())
    assert any(scores.any() for scores in expected.values())


@pytest.mark.parametrize(("batches", "taken"), [(None, 5), (3, 3), (99, 20)])
def test_it_takes_an_epoch_unless_told_otherwise(batches: int | None, taken: int) -> None:
    assert mad.Params(batches=batches).steps_of(20, 5) == taken
