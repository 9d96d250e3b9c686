"""Pruning methods: what all of them keep to, known masks, and the two stages from a dense to a fine-tuned network."""

from __future__ import annotations

import copy
import csv
from functools import partial
from itertools import product
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import prune as reference

from sparrow import catalogue
from sparrow.data.store import Part, read
from sparrow.errors import SparrowError
from sparrow.files import checkpoint
from sparrow.files.headers import sha256
from sparrow.methods import hydra
from sparrow.methods import random as random_method
from sparrow.networks.cutting import sliced, without_filters
from sparrow.networks.prunable import norm_parameters, prunable_weights
from sparrow.networks.structure import Layout, filter_masks
from sparrow.pruning.learned_scores import initial_scores
from sparrow.pruning.masks import keep_highest
from sparrow.pruning.pruner import Pruner
from sparrow.stages._held_masks import HeldMasks
from sparrow.stages._mask_check import check_masks
from sparrow.stages.finetune import finetune
from sparrow.stages.prune import TRACE_COLUMNS, prune
from sparrow.stages.pruned_network import PrunerHooks, learning_besides
from sparrow.training.loop import CurveRow, Step, train
from sparrow.training.schedule import Schedule

KINDS = catalogue.kinds("methods")
OF_FILTERS = [kind for kind in KINDS if catalogue.load("methods", kind).Params().structure == "filters"]
OF_WEIGHTS = [kind for kind in KINDS if kind not in OF_FILTERS]
"""What is made of weights alone has no filters."""
# 45, 27 and 35 weights: half of them is not a whole number.
SHAPES = {"first": (5, 1, 3, 3), "second": (3, 9), "third": (5, 7)}


def _choices(kind: str, *names: str) -> list[dict]:
    """All combinations of what the parameters `names` of a method may be, of those that it has."""
    schema = catalogue.load("methods", kind).Params.model_json_schema()["properties"]
    fields = {name: about for name, about in schema.items() if name in names}
    values = [_words(about) for about in fields.values()]
    return [dict(zip(fields, chosen, strict=True)) for chosen in product(*values)]


def _words(about: dict) -> list[str]:
    """The words that an option may be; patterns such as 2:4 are in test_pattern."""
    return [about["const"]] if "const" in about else about.get("enum") or about["anyOf"][0]["enum"]


def _variants(*names: str, kinds: list[str] = KINDS) -> list:
    """Every method of `kinds` with every value of `names`; those that can work in another way, also in that."""
    further = {
        "lwm": {"steps": 3},
        "hydra": {"s2ap_gamma": 0.1},
        "harp": {"s2ap_gamma": 0.1},
        "twinrep": {"initialisation": "split"},
        "flying-bird": {"every": 0.5, "every_late": 0.5},
        "flying-bird-plus": {"every": 0.5, "every_late": 0.5, "growth": "gradient"},
        "imp": {"rewind": "lr"},
    }
    found = [
        (kind, choice | extra)
        for kind in kinds
        for extra in ({}, further.get(kind))
        if extra is not None
        for choice in _choices(kind, *names)
    ]
    return [pytest.param(kind, params, id="-".join(map(str, [kind, *params.values()]))) for kind, params in found]


def _weights(seed: int = 0) -> dict[str, nn.Parameter]:
    generator = torch.Generator().manual_seed(seed)
    return {name: nn.Parameter(torch.randn(shape, generator=generator)) for name, shape in SHAPES.items()}


def _prepare(kind: str, ratio: float, seed: int = 0, **params: object) -> Pruner:
    entry = catalogue.load("methods", kind)
    pruner = entry.prepare(entry.Params(**params), ratio, torch.Generator().manual_seed(seed))
    pruner.network = nn.Module()
    return pruner


def _search(pruner: Pruner, weights: dict[str, nn.Parameter], layout: Layout | None = None) -> dict[str, Tensor]:
    """The masks of a pruner after two epochs of two steps each on made-up gradients, if it wants any."""
    pruner.network = _holding(weights)
    learned, gradients = pruner.start(weights, layout), torch.Generator().manual_seed(1)
    assert pruner.state_dict() == vars(pruner)

    def backward() -> None:
        for weight in weights.values():
            weight.grad = torch.randn(weight.shape, generator=gradients)

    for number in range(4):
        step = Step(number, 4, 2, 4, 0.1, backward)
        backward()
        pruner.after_backward(weights, step)
        for tensor in learned:
            tensor.data -= 0.1 * tensor.grad
        pruner.after_step(weights, step)
        held = getattr(pruner, "masks", None)
        # What keeps masks while it trains has nothing outside them after any step.
        assert not isinstance(held, dict) or not any(
            weights[name][~mask].any() for name, mask in held.items() if name in weights
        )
        if step.ends_epoch:
            pruner.epoch(CurveRow(number // 2 + 1, 0.1, 1.0, 1.0, 1.0, 0.5, None))
    return pruner.end(weights)


def _holding(weights: dict[str, nn.Parameter]) -> nn.Module:
    """A network that has these weights, under these names, and nothing else."""
    network = nn.Module()
    for name, weight in weights.items():
        *path, last = name.split(".")
        module = network
        for part in path:
            if part not in dict(module.named_children()):
                module.add_module(part, nn.Module())
            module = module.get_submodule(part)
        module.register_parameter(last, weight)
    return network


def _masks(kind: str, weights: dict[str, nn.Parameter], ratio: float, seed: int = 0, **params: object) -> dict[str, Tensor]:
    return _search(_prepare(kind, ratio, seed, **params), weights)


@pytest.mark.parametrize("ratio", [0.2, 0.5, 0.9, 0.99])
@pytest.mark.parametrize(("kind", "params"), _variants("allocation", kinds=OF_WEIGHTS))
def test_every_method_has_the_ratio_exactly(kind: str, params: dict, ratio: float) -> None:
    masks = _masks(kind, _weights(), ratio, **params)
    lost = [int((~mask).sum()) for mask in masks.values()]
    uniform, settings = [round(ratio * size) for size in (45, 27, 35)], catalogue.load("methods", kind).Params(**params)
    if params.get("allocation") == "uniform" and settings.locality == "layer":
        assert lost == uniform
    elif params.get("allocation") == "uniform":
        # It moves weights between layers, all in all as many as these began with, or to the exact ratio.
        assert sum(lost) in (sum(uniform), round(ratio * 107))
    else:
        assert sum(lost) == round(ratio * 107)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.9, 0.99])
# What searches on images has tests of its own.
@pytest.mark.parametrize(
    ("kind", "params"), _variants("allocation", "granularity", kinds=[kind for kind in KINDS if kind != "ccrp"])
)
def test_every_method_passes_the_check(residual: nn.Module, kind: str, params: dict, ratio: float) -> None:
    if params.get("granularity") == "filter":
        ratio = min(ratio, 0.8)  # Of 20 filters in four groups, more than that would leave a group none.
    weights, layout = prunable_weights(residual), Layout(residual, (1, 8, 8))
    dense, pruner = copy.deepcopy(weights), _prepare(kind, ratio, **params)
    masks = _search(pruner, weights, layout)
    expected = {"harp": "multiply-adds"}.get(kind, "filters") if params.get("granularity") == "filter" else "weights"
    assert pruner.budget == expected
    assert check_masks(masks, dense, layout, ratio, pruner.budget) is None


@pytest.mark.parametrize("kind", OF_WEIGHTS)
def test_masks_are_bool_and_fit_their_weights(kind: str) -> None:
    masks = _masks(kind, _weights(), 0.5)
    assert {name: (mask.dtype, mask.shape) for name, mask in masks.items()} == {
        name: (torch.bool, shape) for name, shape in SHAPES.items()
    }


@pytest.mark.parametrize(("kind", "params"), _variants("allocation", kinds=OF_WEIGHTS))
def test_masks_are_decided_by_weights_and_generator(kind: str, params: dict) -> None:
    masks = []
    for global_seed in (0, 1):
        torch.manual_seed(global_seed)
        masks.append(_masks(kind, _weights(), 0.5, seed=7, **params))
    assert all(torch.equal(masks[0][name], masks[1][name]) for name in SHAPES)


@pytest.mark.parametrize(("kind", "params"), _variants(kinds=OF_WEIGHTS))
def test_a_method_trains_what_it_says(kind: str, params: dict) -> None:
    weights = _weights()
    dense, pruner = copy.deepcopy(weights), _prepare(kind, 0.5, **params)
    settings = catalogue.load("methods", kind).Params(**params)
    trains = settings.trains if settings.needs == "schedule" else "nothing"
    pruner.network = _holding(weights)
    learned = pruner.start(weights, None)
    assert (pruner.others == "all") is (trains == "weights")
    if trains == "weights" and kind not in ("bcs", "twinrep"):  # They learn what weights are made of.
        assert [id(tensor) for tensor in learned] == [id(weight) for weight in weights.values()]
    assert bool(learned) is (trains != "nothing")
    if trains == "nothing":
        assert all(torch.equal(weights[name], dense[name]) for name in SHAPES)
    if trains == "scores" and settings.pipeline == "after":
        # It may hide weights, but those that it shows are the dense ones.
        _search(pruner, weights)
        assert all(((weights[name] == dense[name]) | (weights[name] == 0)).all() for name in SHAPES)


@pytest.mark.parametrize("kind", OF_WEIGHTS)
def test_a_method_that_promises_a_trace_gives_one(kind: str) -> None:
    pruner = _prepare(kind, 0.5)
    _search(pruner, _weights())
    assert bool(pruner.trace()) is catalogue.load("methods", kind).Params.traces
    assert all(isinstance(value, float) for value in pruner.trace().values())


def test_lwm_by_hand() -> None:
    weight = nn.Parameter(torch.tensor([[0.5, -3.0, 0.1], [-0.2, 2.0, -1.0]]))
    assert _masks("lwm", {"layer": weight}, 0.5)["layer"].tolist() == [[False, True, False], [False, True, True]]


def test_global_lwm_by_hand() -> None:
    weights = {"small": nn.Parameter(torch.tensor([[0.1, -0.2, 0.6]])), "large": nn.Parameter(torch.tensor([[-5.0, 0.5, 4.0]]))}
    masks = _masks("lwm", weights, 0.5, allocation="global")
    assert [mask.tolist() for mask in masks.values()] == [[[False, False, True]], [[True, False, True]]]


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.9])
def test_lwm_is_the_l1_pruning_of_torch(ratio: float) -> None:
    weights = _weights()
    masks = _masks("lwm", weights, ratio)
    for name, weight in weights.items():
        layer = nn.Module()
        layer.register_parameter("weight", nn.Parameter(weight.detach().clone()))
        reference.l1_unstructured(layer, "weight", amount=ratio)
        assert torch.equal(masks[name], layer.weight_mask.bool())


@pytest.mark.parametrize("ratio", [0.3, 0.5, 0.9])
def test_global_lwm_is_the_global_l1_pruning_of_torch(ratio: float) -> None:
    weights = _weights()
    masks = _masks("lwm", weights, ratio, allocation="global")
    layers = {name: nn.Module() for name in weights}
    for name, layer in layers.items():
        layer.register_parameter("weight", nn.Parameter(weights[name].detach().clone()))
    pairs = [(layer, "weight") for layer in layers.values()]
    reference.global_unstructured(pairs, pruning_method=reference.L1Unstructured, amount=ratio)
    assert all(torch.equal(masks[name], layer.weight_mask.bool()) for name, layer in layers.items())


@pytest.mark.parametrize("ratio", [0.3, 0.5])
def test_lwm_of_filters_is_the_structured_l1_pruning_of_torch(tiny: nn.Module, ratio: float) -> None:
    weights = prunable_weights(tiny)
    masks = _search(_prepare("lwm", ratio, granularity="filter"), weights, Layout(tiny, (1, 4, 4)))
    for name in ("0.weight", "3.weight"):
        layer = nn.Module()
        layer.register_parameter("weight", nn.Parameter(weights[name].detach().clone()))
        reference.ln_structured(layer, "weight", amount=ratio, n=1, dim=0)
        assert torch.equal(masks[name], layer.weight_mask.bool())


def test_random_masks_do_not_look_at_the_weights() -> None:
    masks = [_masks("random", _weights(seed), 0.5, seed=7) for seed in (0, 1)]
    assert all(torch.equal(masks[0][name], masks[1][name]) for name in SHAPES)


def test_random_masks_depend_on_the_generator() -> None:
    assert not torch.equal(*(_masks("random", _weights(), 0.5, seed=seed)["first"] for seed in (0, 1)))


def test_random_pruning_spares_no_position() -> None:
    weights = {"layer": nn.Parameter(torch.ones(2, 5))}
    kept = sum(_masks("random", weights, 0.7, seed=seed)["layer"].float() for seed in range(1000)) / 1000
    assert kept.flatten().tolist() == pytest.approx([0.3] * 10, abs=0.06)


W0 = [[2.0, -1.0, 0.5], [-4.0, 3.0, 0.1]]


def test_hydra_starts_at_scores_proportional_to_the_weights() -> None:
    # Three inputs a unit and a largest weight of 4: sqrt(6 / 3) / 4 times the weights.
    scores = initial_scores(torch.tensor(W0), hydra.Params().init_gain)
    assert scores.flatten().tolist() == pytest.approx([2**0.5 / 4 * weight for row in W0 for weight in row])


def test_hydra_counts_a_filter_s_inputs_over_its_window() -> None:
    scores = initial_scores(torch.ones(4, 2, 3, 3), 6.0)
    assert scores.unique().tolist() == pytest.approx([(6 / 18) ** 0.5])


@pytest.mark.parametrize("by_filter", [False, True])
def test_hydra_takes_a_layer_of_zeros(by_filter: bool) -> None:
    assert not initial_scores(torch.zeros(2, 3), 6.0, by_filter).any()


@pytest.mark.parametrize("params", _choices("hydra", "allocation", "granularity"), ids=lambda params: "-".join(params.values()))
def test_hydra_starts_from_the_masks_of_lwm(residual: nn.Module, params: dict) -> None:
    weights, layout = prunable_weights(residual), Layout(residual, (1, 8, 8))
    expected = _search(_prepare("lwm", 0.7, **params), weights, layout)
    pruner = _prepare("hydra", 0.7, **params)
    pruner.start(weights, layout)
    # In a group of several layers, each layer's largest filter has the same score, so that only their order is the same.
    joined = ("0.weight", "3.conv2.weight", "4.conv2.weight", "4.shortcut.0.weight") if "filter" in params.values() else ()
    assert all(torch.equal(mask, expected[name]) for name, mask in pruner.end(weights).items() if name not in joined)


def test_hydra_step_by_hand() -> None:
    # Half of six weights stay: 2, -4 and 3 at first. The gradient lowers the score of 2 and raises that of -1.
    weight = nn.Parameter(torch.tensor(W0))
    pruner, step = _prepare("hydra", 0.5), Step(0, 1, 1, 1, 0.1, lambda: None)
    (score,) = pruner.start({"layer": weight}, None)
    assert weight.tolist() == [[2, 0, 0], [-4, 3, 0]]
    weight.grad = torch.tensor([[1.0, 0.5, 0.0], [0.0, 0.0, 0.0]])
    pruner.after_backward({"layer": weight}, step)
    # dL/ds = dL/dW * W0 * sign(s): 1 * 2 * 1, then 0.5 * (-1) * (-1).
    assert score.grad.tolist() == [[2, 0.5, 0], [0, 0, 0]]
    score.data -= 0.5 * score.grad  # From 0.707 to -0.293, and from -0.354 to -0.604.
    pruner.after_step({"layer": weight}, step)
    assert weight.tolist() == [[0, -1, 0], [-4, 3, 0]]


def test_hydra_gradient_is_that_of_the_straight_through_estimator() -> None:
    # The estimator passes the gradient as if the mask were |s|, so autograd of L(W0 |s|) says the same.
    weight, inputs, labels = nn.Parameter(torch.randn(4, 6)), torch.randn(5, 6), torch.tensor([0, 1, 2, 3, 0])
    dense = weight.detach().clone()
    pruner = _prepare("hydra", 0.5)
    (score,) = pruner.start({"layer": weight}, None)
    surrogate = score.detach().clone().requires_grad_()
    weight.data = dense * surrogate.detach().abs()
    functional.cross_entropy(inputs @ weight.T, labels).backward()
    pruner.after_backward({"layer": weight}, Step(0, 1, 1, 1, 0.1, lambda: None))
    functional.cross_entropy(inputs @ (dense * surrogate.abs()).T, labels).backward()
    assert score.grad.flatten().tolist() == pytest.approx(surrogate.grad.flatten().tolist(), abs=1e-6)


def test_hydra_weights_never_drift() -> None:
    # Zeros come back at their old values, however often masks have changed.
    weights = _weights()
    dense = copy.deepcopy(weights)
    masks = _masks("hydra", weights, 0.5)
    start = _prepare("hydra", 0.5)
    start.start(copy.deepcopy(dense), None)
    assert any(not torch.equal(mask, start.end(copy.deepcopy(dense))[name]) for name, mask in masks.items())
    assert all(torch.equal(weights[name], dense[name] * mask) for name, mask in masks.items())


@pytest.mark.parametrize("kind", ["hydra", "harp"])
@pytest.mark.parametrize(("freeze", "others"), [(True, "frozen"), (False, "norms")])
def test_learned_scores_leave_norms_learning_unless_told_otherwise(kind: str, freeze: bool, others: str) -> None:
    assert _prepare(kind, 0.5, freeze_norms=freeze).others == others


@pytest.mark.parametrize("others", ["frozen", "norms", "all"])
def test_others_are_the_parameters_that_are_not_pruned(residual: nn.Module, others: str) -> None:
    weights = prunable_weights(residual)
    rest = [parameter for name, parameter in residual.named_parameters() if name not in weights]
    expected = {"frozen": [], "norms": norm_parameters(residual), "all": rest}[others]
    assert [id(tensor) for tensor in learning_besides(others, residual, weights)] == [id(tensor) for tensor in expected]
    assert len(norm_parameters(residual)) < len(rest)


def _spec(training_spec: dict, kind: str, ratio: float = 0.9, params: dict | None = None, **schedule: object) -> dict:
    settings = training_spec["schedule"] | {"epochs": 1, "optimizer": "sgd", "lr": 0.1} | schedule
    spec = training_spec | {"method": {"kind": kind} | (params or {}), "ratio": ratio, "schedule": settings}
    attacks = "eps" in catalogue.load("methods", kind).Params.model_fields
    return spec | ({"method_threat": training_spec["threat"]} if attacks else {})


def _prune(dense: Path, data: Path, folder: Path, spec: dict, name: str | None = None) -> Path:
    output = folder / f"{name or spec['method']['kind']}.safetensors"
    prune(dense, data, output, folder / "pruned.csv", folder / "pruned.trace.csv", folder / "cost.json", spec)
    return output


def _without_norms(variants: list) -> list:
    """Those of `variants` that serve a network without batch norm."""
    settings = [catalogue.load("methods", variant.values[0]).Params(**variant.values[1]) for variant in variants]
    return [variant for variant, one in zip(variants, settings, strict=True) if one.batch_norm_only is None]


CHAINS = [pytest.param(variant.values, id=variant.id) for variant in _without_norms(_variants("granularity"))]


@pytest.fixture(scope="module", params=CHAINS)
def chain(request: pytest.FixtureRequest, dense: Path, digits: Path, training_spec: dict, tmp_path_factory) -> dict:
    """The files of a digits network on its way through the stages, for one method."""
    kind, params = request.param
    folder = tmp_path_factory.mktemp(kind)
    spec = _spec(training_spec, kind, params=params)
    pruned = _prune(dense, digits, folder, spec)
    files = {"dense": dense, "pruned": pruned, "finetuned": folder / "finetuned", "curve": folder / "finetuned.csv"}
    short = training_spec | {"schedule": training_spec["schedule"] | {"epochs": 2}}
    finetune(pruned, digits, files["finetuned"], files["curve"], folder / "cost.json", short)
    return files | {"kind": kind, "params": params, "spec": spec, "trace": folder / "pruned.trace.csv"}


def _by_filter(chain: dict) -> bool:
    return chain["params"].get("granularity") == "filter"


def test_pruned_network_has_the_ratio(chain: dict) -> None:
    pruned = checkpoint.expanded(chain["pruned"], checkpoint.load(chain["pruned"]))
    weights, layout = prunable_weights(pruned.model), Layout(pruned.model, (1, 8, 8))
    masks = {name: pruned.masks[name] for name in weights}
    entry = catalogue.load("methods", chain["kind"])
    budget = entry.prepare(entry.Params(**chain["params"]), 0.9, torch.Generator()).budget
    assert check_masks(masks, weights, layout, 0.9, budget) is None
    if not _by_filter(chain):
        # 256 + 8192 + 12800 + 1000 weights, and whatever the allocation: to one weight a layer.
        assert sum(int((weight == 0).sum()) for weight in weights.values()) == pytest.approx(0.9 * 22_248, abs=4)


def test_pruning_twice_gives_the_same_file(chain: dict, digits: Path, tmp_path: Path) -> None:
    again = _prune(chain["dense"], digits, tmp_path, chain["spec"])
    assert again.read_bytes() == chain["pruned"].read_bytes()
    assert (tmp_path / "pruned.trace.csv").read_bytes() == chain["trace"].read_bytes()


def test_pruned_weights_are_zero_under_the_mask_and_dense_elsewhere(chain: dict) -> None:
    dense, pruned = checkpoint.load(chain["dense"]).model.state_dict(), checkpoint.load(chain["pruned"])
    settings = catalogue.load("methods", chain["kind"]).Params(**chain["params"])
    rewinds = chain["kind"] == "boosting-ticket" or getattr(settings, "rewind", None) == "weights"
    moves = settings.needs == "schedule" and settings.trains == "weights" and not rewinds
    for name, tensor in pruned.model.state_dict().items():
        mask = pruned.masks.get(name, torch.ones_like(tensor, dtype=torch.bool))
        assert not tensor[~mask].any()
        # A method that trains weights has moved the others; one that prunes initial ones may put others in their places.
        unchanged = torch.equal(tensor[mask], sliced(dense[name], pruned.kept.get(name, {}))[mask])
        assert settings.pipeline != "after" or unchanged is not moves or not mask.any()


def test_masks_of_filters_have_their_biases_with_them(chain: dict) -> None:
    pruned = checkpoint.load(chain["pruned"])
    weights = prunable_weights(pruned.model)
    if not _by_filter(chain):
        assert pruned.masks.keys() == weights.keys()
        return
    biases = {"0.bias": "0.weight", "2.bias": "2.weight", "5.bias": "5.weight"}
    assert pruned.masks.keys() == weights.keys() | biases.keys()
    for bias, weight in biases.items():
        assert torch.equal(pruned.masks[bias], pruned.masks[weight].flatten(1).any(dim=1))


def test_fine_tuning_keeps_the_masks(chain: dict) -> None:
    before, after = checkpoint.load(chain["pruned"]).masks, checkpoint.load(chain["finetuned"]).masks
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_fine_tuned_parameters_are_zero_exactly_where_pruned(chain: dict) -> None:
    finetuned = checkpoint.load(chain["finetuned"])
    parameters = dict(finetuned.model.named_parameters())
    assert all(torch.equal(parameters[name] != 0, mask) for name, mask in finetuned.masks.items())


def test_fine_tuning_moves_every_weight_that_is_left(chain: dict) -> None:
    # What a removed filter would have given has no gradient behind it, so those are cut out first.
    loaded = [checkpoint.load(chain[stage]) for stage in ("pruned", "finetuned")]
    before, after = (prunable_weights(without_filters(one.model, (1, 8, 8), one.masks)) for one in loaded)
    moved = sum(int((after[name] != before[name]).sum()) for name in before)
    # A kept weight whose unit is dead has none either; random pruning leaves many.
    assert moved > 0.4 * sum(int(weight.count_nonzero()) for weight in before.values())


def test_header_tells_method_and_parents(chain: dict) -> None:
    pruned, finetuned = (checkpoint.load(chain[stage]).header for stage in ("pruned", "finetuned"))
    assert pruned["config"]["method"] == {"kind": chain["kind"], **chain["params"]}
    assert pruned["parent"] == sha256(chain["dense"])
    assert finetuned["parent"] == sha256(chain["pruned"])


def test_trace_has_the_methods_quantities_once_an_epoch(chain: dict) -> None:
    with open(chain["trace"]) as file:
        header, *rows = csv.reader(file)
    assert header == TRACE_COLUMNS
    assert {row[0] for row in rows} == ({"1"} if catalogue.load("methods", chain["kind"]).Params.traces else set())
    assert len({row[1] for row in rows}) == len(rows)


SHORTER = {"mrpf": {"batches": 1, "ascents": 1}}
"""Settings of methods that look at the loss many times."""


# In one batch an epoch there is a search, if a short one: one epoch before Deadwooding prunes, one after.
@pytest.mark.parametrize(
    "objective",
    [
        {"kind": "adversarial", "steps": 1},
        {"kind": "trades", "steps": 1},
        {"kind": "ibp"},
        {"kind": "crown-ibp", "beta_end": 0.5},
    ],
    ids=lambda objective: objective["kind"],
)
@pytest.mark.parametrize(("kind", "params"), _variants("granularity"))
def test_every_method_works_with_every_objective(kind, params, objective, dense, digits, training_spec, tmp_path) -> None:
    params = params | SHORTER.get(kind, {})
    spec = _spec(training_spec, kind, params=params, epochs=2, batch_size=2000, lr=0.01) | {"objective": objective}
    pruned = checkpoint.load(_prune(dense, digits, tmp_path, spec))
    with open(tmp_path / "pruned.csv") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == catalogue.load("methods", kind).Params(**params).steps_of(2, 1)
    assert 0 < sum(int(mask.sum()) for mask in pruned.masks.values()) < 0.5 * 22_248


def test_what_is_pruned_of_norms_stays_gone(residual: nn.Module) -> None:
    weights, layout = prunable_weights(residual), Layout(residual, (1, 8, 8))
    masks = _search(_prepare("lwm", 0.5, granularity="filter"), weights, layout)
    masks |= filter_masks(residual, layout, masks)
    for name, mask in masks.items():
        residual.get_parameter(name).data.mul_(mask)
    assert {"1.weight", "1.bias", "3.bn2.bias", "4.shortcut.1.weight", "4.shortcut.0.bias"} < masks.keys()
    data = {"train": Part(torch.rand(24, 1, 8, 8), torch.arange(24) % 3, torch.arange(24))}
    schedule = Schedule(epochs=3, batch_size=8, lr=0.1, momentum=0.9, weight_decay=0.1)
    train(
        residual,
        lambda model, images, labels, progress: functional.cross_entropy(model(images), labels),
        data | {"validation": data["train"]},
        schedule,
        residual.parameters(),
        torch.Generator().manual_seed(0),
        HeldMasks(residual, masks),
        report=lambda line: None,
    )
    parameters = dict(residual.named_parameters())
    assert all(torch.equal(parameters[name] != 0, mask) for name, mask in masks.items())


def test_pruned_weights_have_no_share_in_the_clipped_gradient(dense, digits, training_spec, tmp_path) -> None:
    # One step on all images, its gradient clipped: what is left moves by lr times the limit, as if nothing else existed.
    schedule = {"epochs": 1, "batch_size": 5000, "lr": 0.1, "momentum": 0.0, "max_grad_norm": 0.01}
    pruned = _prune(dense, digits, tmp_path, _spec(training_spec, "random"))
    spec = training_spec | {"schedule": schedule}
    finetune(pruned, digits, tmp_path / "finetuned", tmp_path / "curve.csv", tmp_path / "cost.json", spec)
    before, after = (checkpoint.load(path).model.parameters() for path in (pruned, tmp_path / "finetuned"))
    moved = torch.cat([(new - old).flatten() for old, new in zip(before, after, strict=True)]).norm().item()
    assert moved == pytest.approx(0.1 * 0.01, rel=1e-3)


def test_learned_masks_beat_random_ones(dense: Path, digits: Path, training_spec: dict, tmp_path: Path) -> None:
    part, _ = read(digits, "validation")
    losses = {}
    for kind in ("hydra", "random"):
        model = checkpoint.load(_prune(dense, digits, tmp_path, _spec(training_spec, kind, epochs=3))).model
        losses[kind] = functional.cross_entropy(model(part.images), part.labels).item()
    assert losses["hydra"] < losses["random"] - 0.5


class _Stub(Pruner):
    """A method whose masks are `make(weights)`."""

    def __init__(self, make, learned: list[Tensor] | None = None) -> None:
        self._make, self._learned = make, learned or []

    def start(self, weights: dict, layout: Layout) -> list[Tensor]:
        return self._learned

    def end(self, weights: dict) -> dict[str, Tensor]:
        return self._make(weights)


def _keeps_all(weights: dict) -> dict:
    return {name: torch.ones_like(weight, dtype=torch.bool) for name, weight in weights.items()}


def _prunes_all(weights: dict) -> dict:
    return {name: torch.zeros_like(weight, dtype=torch.bool) for name, weight in weights.items()}


def _keeps(share: float, weights: dict) -> dict:
    return {name: keep_highest(weight.abs(), round((1 - share) * weight.numel())) for name, weight in weights.items()}


def _keeps_a_few_too_many(weights: dict) -> dict:
    return _keeps(0.11, weights)


def _forgets_a_layer(weights: dict) -> dict:
    return dict(list(_keeps(0.1, weights).items())[1:])


def _forgets_everything(weights: dict) -> dict:
    return {}


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (_keeps_all, "pruned 0 of "),
        (_prunes_all, "pruned .* the ratio 0.9 asks for"),
        (_keeps_a_few_too_many, "pruned .* the ratio 0.9 asks for"),
        (_forgets_a_layer, "gave masks for"),
        (_forgets_everything, "gave masks for"),
    ],
)
def test_method_without_the_ratio_is_refused(bad, message, dense, digits, training_spec, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(random_method, "prepare", lambda params, ratio, generator: _Stub(bad))
    with pytest.raises(SparrowError, match=rf"methods\.random: {message}"):
        _prune(dense, digits, tmp_path, _spec(training_spec, "random"))
    assert list(tmp_path.iterdir()) == []


def test_method_that_learns_in_secret_is_refused(dense, digits, training_spec, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(random_method, "prepare", lambda params, ratio, generator: _Stub(_keeps_all, [torch.zeros(1)]))
    with pytest.raises(SparrowError, match=r"methods\.random: .* Params\.needs is 'nothing'"):
        _prune(dense, digits, tmp_path, _spec(training_spec, "random"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("hook", ["loss", "after_backward", "after_step", "trace", "finished"])
def test_hooks_that_nothing_would_call_are_refused(hook, dense, digits, training_spec, tmp_path, monkeypatch) -> None:
    def never_called(*given: object) -> None:
        pytest.fail(f"{hook} was called")

    stub = type("Hooked", (_Stub,), {hook: never_called})(partial(_keeps, 0.1))
    monkeypatch.setattr(random_method, "prepare", lambda params, ratio, generator: stub)
    told = rf"^methods\.random: its pruner defines `{hook}`, .* Params\.needs is 'nothing'; valid: 'batches' or 'schedule'$"
    with pytest.raises(SparrowError, match=told):
        _prune(dense, digits, tmp_path, _spec(training_spec, "random"))
    assert list(tmp_path.iterdir()) == []


def test_a_ratio_that_leaves_a_layer_no_filter_is_refused_before_training(dense, digits, training_spec, tmp_path) -> None:
    # A schedule that nobody would wait for.
    spec = _spec(training_spec, "lwm", 0.97, {"granularity": "filter", "steps": 2}, epochs=10**6)
    told = r"^methods\.lwm: the ratio 0\.97 would remove all 16 filters of 0\.weight; valid: at most 0\.9687$"
    with pytest.raises(SparrowError, match=told):
        _prune(dense, digits, tmp_path, spec)
    assert list(tmp_path.iterdir()) == []


def test_kept_weights_that_were_set_to_zero_are_refused(dense, digits, training_spec, tmp_path, monkeypatch) -> None:
    def forgets_a_value(weights: dict) -> dict:
        masks = _keeps(0.1, weights)
        name, mask = next(iter(masks.items()))
        weights[name].data[tuple(mask.nonzero()[0])] = 0
        return masks

    monkeypatch.setattr(random_method, "prepare", lambda params, ratio, generator: _Stub(forgets_a_value))
    with pytest.raises(SparrowError, match=r"methods\.random: keeps 1 weights whose values it has set to zero"):
        _prune(dense, digits, tmp_path, _spec(training_spec, "random"))


@pytest.mark.parametrize(("others", "still"), [("frozen", True), ("norms", False)])
def test_frozen_norms_keep_their_statistics(others, still, digits, training_spec, tmp_path) -> None:
    network = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(72, 10)).train()
    pruner = Pruner()
    pruner.others = others
    hooks = PrunerHooks(pruner, "methods.own", network, prunable_weights(network), pruner.others, None)
    part, _ = read(digits, "train")
    hooks.loss(lambda: functional.cross_entropy(network(part.images[:8]), part.labels[:8]), part.images[:8], part.labels[:8])
    assert (network[1].num_batches_tracked.item() == 0) is still
