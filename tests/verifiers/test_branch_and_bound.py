"""Branch and bound: agrees with an exact programme on networks small enough for one, and claims what it can prove."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pytest
import torch
from scipy.optimize import Bounds, LinearConstraint, milp
from torch import Tensor, nn

from sparrow.adversary.geometry import distance, project
from sparrow.adversary.margin import margin
from sparrow.attacks import pgd
from sparrow.errors import NetworkError
from sparrow.settings import Threat
from sparrow.verification import crown, graph_splitting, linear_domain
from sparrow.verification.back_substitution import Rows
from sparrow.verification.bounds import margin_matrix
from sparrow.verification.graph import traced
from sparrow.verification.graph_splitting import GraphSplitting
from sparrow.verification.lirpa_splitting import LirpaSplitting
from sparrow.verification.splitting import Domains, Splitting
from sparrow.verifiers import branch_and_bound

QUICK = branch_and_bound.Params(iterations=4, attack_steps=10, attack_restarts=2)
CLASSES = 3
SEEDS = range(62)


def _affine(block: nn.Sequential, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray, tuple[int, ...]]:
    """The matrix and the offset of linear layers that take `shape`, and the shape that they give."""
    size = int(np.prod(shape))
    with torch.no_grad():
        values = block(torch.cat([torch.zeros(1, size), torch.eye(size)]).double().view(-1, *shape))
    flat = values.flatten(1).numpy()
    return (flat[1:] - flat[0]).T, flat[0], tuple(values.shape[1:])


def _blocks(model: nn.Sequential, shape: tuple[int, ...]) -> list[tuple[np.ndarray, np.ndarray]]:
    """Matrix and offset of what lies before, between and after the ReLUs."""
    parts, layers = [], []
    for module in [*model, nn.ReLU()]:
        if isinstance(module, nn.ReLU):
            weight, bias, shape = _affine(nn.Sequential(*layers).double(), shape)
            parts.append((weight, bias))
            layers = []
        else:
            layers.append(module)
    model.float()
    return parts


def _exact(model: nn.Sequential, image: Tensor, label: int, eps: float) -> float:
    """The smallest margin in the l_inf ball, by a mixed integer programme for each other class.

    Variables: the pixels, then for each layer what its ReLUs let through, and for each ReLU whether it lets anything through.
    """
    (*hidden, (weight, bias)) = _blocks(model, tuple(image.shape[1:]))
    pixels = image.double().flatten().numpy()
    lower, upper = np.clip(pixels - eps, 0, 1), np.clip(pixels + eps, 0, 1)
    total = len(pixels) + 2 * sum(len(offset) for _, offset in hidden)
    low, high, whole = np.zeros(total), np.ones(total), np.zeros(total)
    low[: len(pixels)], high[: len(pixels)] = lower, upper
    rows, least, most = [], [], []
    before, start = slice(0, len(pixels)), len(pixels)
    for matrix, offset in hidden:
        least_in = matrix.clip(min=0) @ lower + matrix.clip(max=0) @ upper + offset
        most_in = matrix.clip(min=0) @ upper + matrix.clip(max=0) @ lower + offset
        units = len(offset)
        after, switches = slice(start, start + units), slice(start + units, start + 2 * units)
        high[after], whole[switches] = most_in.clip(min=0), 1
        # out >= in;  out <= in - least_in * (1 - on);  out <= most_in * on.
        for slope, on, left, right in (
            (matrix, np.zeros(units), offset, np.full(units, np.inf)),
            (matrix, -least_in.clip(max=0), np.full(units, -np.inf), offset - least_in.clip(max=0)),
            (np.zeros_like(matrix), -most_in.clip(min=0), np.full(units, -np.inf), np.zeros(units)),
        ):
            row = np.zeros((units, total))
            row[:, before], row[:, after], row[:, switches] = -slope, np.eye(units), np.diag(on)
            rows.append(row)
            least.append(left)
            most.append(right)
        lower, upper = least_in.clip(min=0), most_in.clip(min=0)
        before, start = after, start + 2 * units
    constraints = LinearConstraint(np.concatenate(rows), np.concatenate(least), np.concatenate(most))
    found = []
    for other in set(range(len(bias))) - {label}:
        aim = np.zeros(total)
        aim[before] = weight[label] - weight[other]
        solved = milp(aim, constraints=constraints, bounds=Bounds(low, high), integrality=whole, options={"mip_rel_gap": 0})
        assert solved.status == 0
        found.append(solved.fun + bias[label] - bias[other])
    return min(found)


class Case(NamedTuple):
    """An image that a small network gets right, and the exact smallest margin around it."""

    model: nn.Sequential
    image: Tensor
    label: int
    threat: Threat
    exact: float

    def search(self, params: branch_and_bound.Params = QUICK) -> branch_and_bound.Answer:
        torch.manual_seed(0)
        return branch_and_bound.search(self.model, self.image, self.label, params, self.threat, CLASSES)


def _two_layers() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 8), nn.ReLU(), nn.Linear(8, CLASSES))


def _one_layer() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 12), nn.ReLU(), nn.Linear(12, CLASSES))


def _conv() -> nn.Sequential:
    layers = nn.Conv2d(1, 4, (1, 2), padding=(0, 1), stride=(1, 2)), nn.ReLU(), nn.Flatten(), nn.Linear(16, 4), nn.ReLU()
    return nn.Sequential(*layers, nn.Linear(4, CLASSES))


def _case(seed: int) -> Case:
    """Weights larger than torch's own. For two of three, the label's bias is moved so that the smallest margin is near 0.

    That is where the bound at the root is not enough.
    """
    torch.manual_seed(seed)
    model = (_two_layers, _one_layer, _conv)[seed % 3]().eval()
    for parameter in model.parameters():
        parameter.data.mul_(2)
    image, threat = torch.rand(1, 1, 2, 3), Threat(eps=0.01 + 0.39 * torch.rand(()).item())
    label = int(model(image).argmax())
    exact = _exact(model, image, label, threat.eps)
    aim = exact if seed // 3 % 3 == 0 else 0.1 * float(torch.randn(()))
    # The image itself must stay right.
    aim = max(aim, exact - _worst(model, image, label) + 0.01)
    model[-1].bias.data[label] += aim - exact
    return Case(model, image, label, threat, aim)


@pytest.fixture(scope="module")
def solved() -> list[tuple[Case, branch_and_bound.Answer]]:
    """Cases, and what the search says of them."""
    cases = [_case(seed) for seed in SEEDS]
    return [(case, case.search()) for case in cases]


def _without_attack(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(branch_and_bound, "_attack", lambda *unused: None)


def _points(image: Tensor, threat: Threat, count: int) -> Tensor:
    """Points of the perturbation set (count, c, h, w): inside, and half of them as far out as it goes."""
    if threat.norm == "linf":
        offsets = threat.eps * (2 * torch.rand(count, *image.shape[1:]) - 1)
        offsets[::2] = threat.eps * offsets[::2].sign()
    else:
        offsets = torch.randn(count, *image.shape[1:])
        lengths = offsets.flatten(1).norm(dim=1)
        radii = threat.eps * torch.rand(count) ** (1 / image.numel())
        radii[::2] = threat.eps
        offsets = offsets * (radii / lengths).view(-1, 1, 1, 1)
    return project(image + offsets, image, threat)


def _worst(model: nn.Module, points: Tensor, label: int) -> float:
    with torch.no_grad():
        return float(margin(model(points), torch.full((len(points),), label)).min())


def test_moving_a_bias_moves_the_exact_margin_as_much() -> None:
    # What `_case` relies on.
    for seed in (3, 4, 5):
        case = _case(seed)
        assert _exact(case.model, case.image, case.label, case.threat.eps) == pytest.approx(case.exact, abs=1e-5)


def test_exact_programme_is_never_above_a_point_of_the_ball_and_reached_by_one() -> None:
    # With one pixel that may move, a fine grid is as good as the programme.
    torch.manual_seed(0)
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 6), nn.ReLU(), nn.Linear(6, 5), nn.ReLU(), nn.Linear(5, 3)).eval()
    for parameter in model.parameters():
        parameter.data.mul_(3)
    image = torch.tensor([[[[0.4]]]])
    grid = torch.linspace(0.1, 0.7, 20_001).view(-1, 1, 1, 1)
    for label in range(3):
        assert _exact(model, image, label, 0.3) == pytest.approx(_worst(model, grid, label), abs=1e-3)


def test_search_agrees_with_the_exact_programme_every_time(solved: list) -> None:
    for number, (case, answer) in enumerate(solved):
        assert abs(case.exact) > 1e-4, "nobody can say at this precision"
        assert (answer.verified, answer.example is None) == (case.exact > 0, case.exact > 0), f"case {number}"
    answers = [answer for _, answer in solved]
    assert 15 < sum(answer.verified for answer in answers) < len(answers) - 15
    assert sum(answer.verified and answer.domains > 0 for answer in answers) >= 5
    assert sum(not answer.verified and answer.domains > 0 for answer in answers) >= 1


def test_search_finds_examples_by_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    _without_attack(monkeypatch)
    found = []
    for seed in range(3, 21):
        case = _case(seed)
        answer = case.search()
        assert (answer.verified, answer.example is None) == (case.exact > 0, case.exact > 0), f"case {seed}"
        if answer.example is not None:
            found.append(answer)
            assert distance(answer.example, case.image, "linf") <= case.threat.eps + 1e-6
            assert int(case.model(answer.example).argmax()) != case.label
    assert len(found) >= 5


def test_example_is_in_the_ball_and_misclassified_by_the_margin_given(solved: list) -> None:
    for case, answer in solved:
        if answer.example is None:
            continue
        assert answer.example.shape == case.image.shape
        assert distance(answer.example, case.image, "linf") <= case.threat.eps + 1e-6
        assert answer.example.min() >= 0
        assert answer.example.max() <= 1
        logits = case.model(answer.example)
        assert int(logits.argmax()) != case.label
        assert answer.margin == pytest.approx(_worst(case.model, answer.example, case.label), abs=1e-5)
        assert case.exact - 1e-5 <= answer.margin <= 0


def test_margin_of_a_proof_is_a_lower_bound(solved: list) -> None:
    for case, answer in solved:
        if answer.verified:
            assert 0 < answer.margin <= case.exact + 1e-5


def _pre_activations(model: nn.Sequential, points: Tensor) -> list[Tensor]:
    entered = []
    with torch.no_grad():
        for module in model:
            if isinstance(module, nn.ReLU):
                entered.append(points.flatten(1))
            points = module(points)
    return entered


def _splitting(own: bool, case: Case, threat: Threat, label: int, iterations: int) -> Splitting:
    """Bounds without splits by Sparrow's `own`, or by auto_LiRPA."""
    if not own:
        return LirpaSplitting(case.model, case.image, label, threat, CLASSES, iterations, 0.5)
    graph = traced(case.model, case.image)
    assert graph is not None
    return GraphSplitting(graph, case.image, label, threat, CLASSES, iterations, 0.5)


@pytest.mark.parametrize("own", [True, False])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_no_point_of_a_domain_is_below_its_bound(norm: str, own: bool) -> None:
    with_points = raised = 0
    for seed in range(6):
        case = _case(seed)
        threat = Threat(norm=norm, eps=case.threat.eps)
        splitting = _splitting(own, case, threat, case.label, 8)
        points = _points(case.image, threat, 3000)
        entered = _pre_activations(case.model, points)
        with torch.no_grad():
            margins = case.model(points) @ splitting.specification.T
        domains = splitting.root(torch.arange(CLASSES - 1))
        for _ in range(3):
            open_ = (domains.choices >= 0).nonzero().squeeze(1)
            if not len(open_):
                break
            domains = splitting.bound(domains.take(open_).split())
            for number in range(len(domains)):
                inside = torch.ones(len(points), dtype=torch.bool)
                for values, layer in zip(entered, domains.signs, strict=True):
                    inside &= (values * layer[number] >= 0).all(dim=1)
                if inside.any():
                    with_points += 1
                    raised += int(domains.bounds[number] > splitting.margins[domains.rows[number]] + 1e-3)
                    assert domains.bounds[number] <= margins[inside, domains.rows[number]].min() + 1e-5, f"network {seed}"
    assert with_points > 50
    assert raised > 20


def _by_hand() -> Domains:
    """Three domains of a network with layers of two and of three ReLUs; the second ReLU of the first layer has been fixed."""
    signs = [torch.tensor([[0, 0], [0, -1], [0, 1]], dtype=torch.int8), torch.zeros(3, 3, dtype=torch.int8)]
    alphas = [torch.arange(6.0).view(3, 2), torch.arange(9.0).view(3, 3)]
    betas = [torch.arange(6.0).view(3, 2) + 10, torch.arange(9.0).view(3, 3) + 10]
    return Domains(torch.tensor([0, 1, 1]), signs, alphas, betas, torch.tensor([-1.0, -2.0, -3.0]), torch.tensor([1, 2, 4]))


def test_split_fixes_the_chosen_relu_both_ways() -> None:
    pair = _by_hand().split()
    assert len(pair) == 6
    # The choices 1, 2 and 4 are the first layer's second, the second layer's first, and its third.
    assert pair.signs[0].tolist() == [[0, 1], [0, -1], [0, 1], [0, -1], [0, -1], [0, 1]]
    assert pair.signs[1].tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 1], [0, 0, 0], [-1, 0, 0], [0, 0, -1]]
    assert pair.rows.tolist() == [0, 1, 1] * 2
    assert pair.bounds.tolist() == [-1, -2, -3] * 2
    for whole, half in ((_by_hand().alphas, pair.alphas), (_by_hand().betas, pair.betas)):
        for layer, twice in zip(whole, half, strict=True):
            assert torch.equal(twice, torch.cat([layer, layer]))


def test_split_leaves_the_domains_themselves_alone() -> None:
    domains = _by_hand()
    domains.split()
    assert all(torch.equal(layer, same) for layer, same in zip(domains.signs, _by_hand().signs, strict=True))


def test_take_and_join_keep_what_belongs_together() -> None:
    domains = _by_hand()
    again = domains.take(torch.tensor([2])).join(domains.take(torch.tensor([0, 1])))
    order = torch.tensor([2, 0, 1])
    assert len(again) == 3
    for name in ("rows", "bounds", "choices"):
        assert torch.equal(getattr(again, name), getattr(domains, name)[order])
    for name in ("signs", "alphas", "betas"):
        for mine, theirs in zip(getattr(again, name), getattr(domains, name), strict=True):
            assert torch.equal(mine, theirs[order])
    assert len(domains.take(torch.tensor([], dtype=torch.long))) == 0


@pytest.mark.parametrize("limit", [{"domains": 1}, {"seconds": 1e-9}])
def test_limit_leaves_an_image_unknown(limit: dict, solved: list) -> None:
    hard = [(case, answer) for case, answer in solved if answer.verified and answer.domains > 2]
    assert hard
    for case, _ in hard:
        answer = case.search(QUICK.model_copy(update=limit))
        assert (answer.verified, answer.example) == (False, None)
        assert answer.margin <= 0


class _Clock:
    """Stands still but where it is moved."""

    now = 0.0

    def monotonic(self) -> float:
        return self.now


@pytest.mark.parametrize("seconds", [0.5, 3.0, 10.0, 35.0])
def test_no_bound_is_begun_after_the_limit(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    _without_attack(monkeypatch)
    clock, before = _Clock(), Rows.bounds
    for module in (branch_and_bound, crown, graph_splitting):
        monkeypatch.setattr(module, "time", clock)

    def slow(rows: Rows, *given: object, **more: object) -> Tensor:
        clock.now += 1
        return before(rows, *given, **more)

    monkeypatch.setattr(Rows, "bounds", slow)
    for module in (crown, graph_splitting):
        monkeypatch.setattr(module, "TOGETHER", 100)
    unknown = 0
    for seed in (6, 7, 9, 12, 15):
        case, clock.now = _case(seed), 0.0
        answer = case.search(QUICK.model_copy(update={"seconds": seconds, "iterations": 12}))
        unknown += not answer.verified and answer.example is None
        # One evaluation of each margin, and of each of the parts of a split, are what has begun.
        assert clock.now <= seconds + 2 * CLASSES
        assert answer.margin <= case.exact + 1e-5
    assert unknown


def test_what_is_proved_before_memory_runs_out_stays(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    _without_attack(monkeypatch)

    def full(*unused: object) -> None:
        raise MemoryError

    case = _case(6)
    monkeypatch.setattr(LirpaSplitting, "__init__", lambda *unused: pytest.fail("needs more memory still"))
    whole = GraphSplitting(
        traced(case.model, case.image), case.image, case.label, case.threat, CLASSES, QUICK.iterations, QUICK.lr
    )
    bounds = [float(whole.margins.min())]
    whole.optimise()
    bounds.append(float(whole.margins.min()))
    assert bounds[0] < bounds[1] < 0
    for name, expected in (("tighten", bounds[1]), ("optimise", bounds[0]), ("__init__", -torch.inf)):
        monkeypatch.setattr(GraphSplitting, name, full)
        answer = case.search()
        assert (answer.verified, answer.example) == (False, None)
        assert answer.margin == pytest.approx(expected, abs=1e-6)
        assert "an image does not fit into memory" in capsys.readouterr().out


def test_ranges_are_held_against_points(monkeypatch: pytest.MonkeyPatch) -> None:
    case, before = _case(6), Rows.bounds
    monkeypatch.setattr(crown.Ranges, "tightened", lambda self, *unused: self)
    monkeypatch.setattr(Rows, "bounds", lambda rows, *given, **more: before(rows, *given, **more) + 0.3)
    with pytest.raises(NetworkError, match=r"a range that it leaves|lower bounds above upper ones"):
        case.search()


def test_parts_at_a_time_do_not_change_the_answer(solved: list) -> None:
    hard = [(case, answer) for case, answer in solved if answer.domains > 2][:5]
    assert hard
    for case, answer in hard:
        one = case.search(QUICK.model_copy(update={"batch_size": 1}))
        assert (one.verified, one.example is None) == (answer.verified, answer.example is None)


@pytest.mark.parametrize("training", [True, False])
def test_network_is_left_as_it_was(training: bool, solved: list, monkeypatch: pytest.MonkeyPatch) -> None:
    _without_attack(monkeypatch)
    case = next(case for case, answer in solved if answer.verified and answer.domains > 2)
    model = case.model.train(training)
    model[1].bias.requires_grad_(False)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    assert case.search().domains > 0
    assert {module.training for module in model.modules()} == {training}
    assert [name for name, parameter in model.named_parameters() if not parameter.requires_grad] == ["1.bias"]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    model[1].bias.requires_grad_(True)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_claims_hold_against_many_points_and_an_attack(norm: str) -> None:
    verified = falsified = 0
    params = QUICK.model_copy(update={"domains": 60, "attack_steps": 3, "attack_restarts": 1})
    for seed in range(15):
        case = _case(seed)
        threat = Threat(norm=norm, eps=case.threat.eps)
        answer = branch_and_bound.search(case.model, case.image, case.label, params, threat, CLASSES)
        labels = torch.tensor([case.label])
        if answer.example is not None:
            falsified += 1
            assert distance(answer.example, case.image, norm) <= threat.eps + 1e-6
            assert answer.example.min() >= 0
            assert answer.example.max() <= 1
            assert int(case.model(answer.example).argmax()) != case.label
        if answer.verified:
            verified += 1
            strong = pgd.attack(case.model, case.image, labels, pgd.Params(steps=20, restarts=3), threat, CLASSES)
            points = torch.cat([_points(case.image, threat, 3000), project(strong, case.image, threat)])
            assert _worst(case.model, points, case.label) >= answer.margin - 1e-5, f"network {seed}"
    assert verified >= 5
    assert falsified >= 3


class _Branches(nn.Module):
    """Two ways of different length that meet: ReLUs are not one behind the other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.shortcut = (nn.Conv2d(channels, 2, 1) for channels in (1, 2, 1))
        self.last = nn.Linear(12, CLASSES)

    def forward(self, images: Tensor) -> Tensor:
        far = self.second(self.first(images).relu())
        return self.last((far + self.shortcut(images).relu()).relu().flatten(1))


def test_ways_that_branch_are_searched_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    # Where leaves took one ReLU for another, they would be wrong, or their examples would not be any.
    _without_attack(monkeypatch)
    verified = falsified = 0
    for seed in range(12):
        torch.manual_seed(seed)
        model = _Branches().eval()
        for parameter in model.parameters():
            parameter.data.mul_(2)
        image, threat = torch.rand(1, 1, 2, 3), Threat(eps=0.15)
        label = int(model(image).argmax())
        points = _points(image, threat, 20_000)
        # As near to zero as points can tell.
        model.last.bias.data[label] += (0.03 if seed % 2 else -0.03) - _worst(model, points, label)
        if int(model(image).argmax()) != label:
            continue
        answer = branch_and_bound.search(model, image, label, QUICK, threat, CLASSES)
        verified, falsified = verified + answer.verified, falsified + (answer.example is not None)
        assert answer.verified != (answer.example is not None), f"network {seed}"
        if answer.verified:
            assert _worst(model, points, label) > 0
        else:
            assert int(model(answer.example).argmax()) != label
    assert verified >= 2
    assert falsified >= 2


def test_network_without_relus_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    _without_attack(monkeypatch)
    model, image = nn.Sequential(nn.Flatten(), nn.Linear(2, 2)).eval(), torch.tensor([[[[0.5, 0.5]]]])
    model[1].weight.data, model[1].bias.data = torch.tensor([[1.0, -1.0], [0.0, 0.0]]), torch.tensor([0.1, 0.0])
    # The margin x - y + 0.1 falls to 0.1 - 2 * eps.
    near, far = (branch_and_bound.search(model, image, 0, QUICK, Threat(eps=eps), 2) for eps in (0.04, 0.06))
    assert near.verified
    assert near.margin == pytest.approx(0.02, abs=1e-5)
    assert not far.verified
    assert far.example.flatten().tolist() == pytest.approx([0.44, 0.56], abs=1e-5)
    assert far.margin == pytest.approx(-0.02, abs=1e-5)


def test_network_whose_relus_are_all_stable_is_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    _without_attack(monkeypatch)
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2), nn.ReLU(), nn.Linear(2, 2)).eval()
    image = torch.tensor([[[[0.5, 0.5]]]])
    model[1].weight.data, model[1].bias.data = torch.eye(2), torch.tensor([1.0, -5.0])
    model[3].weight.data, model[3].bias.data = torch.tensor([[1.0, 1.0], [0.0, 0.0]]), torch.tensor([-1.4, 0.0])
    # The margin x - 0.4: the first unit is always on, the second always off.
    near, far = (branch_and_bound.search(model, image, 0, QUICK, Threat(eps=eps), 2) for eps in (0.08, 0.12))
    assert near.verified
    assert not far.verified
    assert float(far.example.flatten()[0]) == pytest.approx(0.38, abs=1e-5)


class _Absolute(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.abs()


BENDS = {"max-pool": nn.MaxPool1d(2), "leaky-relu": nn.LeakyReLU(0.3), "tanh": nn.Tanh(), "absolute": _Absolute()}


def _bent(bend: nn.Module) -> nn.Sequential:
    """The margin of the first class is 0.12 minus x + y - 1.5, bent, of images of the pixels x and y; its ReLU is always on."""
    features = 1 if isinstance(bend, nn.MaxPool1d) else 2
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 2), bend, nn.Linear(features, 1), nn.ReLU(), nn.Linear(1, 2)).eval()
    model[1].weight.data, model[1].bias.data = torch.tensor([[1.0, 1.0], [0.0, 0.0]]), torch.tensor([-1.5, 0.0])
    model[3].weight.data, model[3].bias.data = torch.eye(1, features), torch.tensor([5.0])
    model[5].weight.data, model[5].bias.data = torch.tensor([[-1.0], [0.0]]), torch.tensor([5.12, 0.0])
    return model


@pytest.mark.parametrize("bend", sorted(BENDS))
def test_leaf_refuses_what_bends_otherwise_than_a_relu(bend: str) -> None:
    image, row = torch.full((1, 1, 1, 2), 0.75), torch.tensor([1.0, -1.0])
    on, signs = [torch.tensor([True])], [torch.tensor([0], dtype=torch.int8)]
    with pytest.raises(ValueError, match="not linear"):
        linear_domain.smallest_margin(_bent(BENDS[bend]), image, row, on, signs, Threat(eps=0.1))


@pytest.mark.parametrize("bend", ["absolute", "leaky-relu"])
def test_nothing_is_proved_of_a_bend_that_is_not_seen_from_the_corner(bend: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # The bend is a line where the pixels are 0, or one of them 1, or both 0.5; and another line in most of the ball.
    _without_attack(monkeypatch)
    model, image = _bent(BENDS[bend]), torch.full((1, 1, 1, 2), 0.79)
    assert int(model(image).argmax()) == 0
    assert int(model(image + 0.09).argmax()) == 1
    answer = branch_and_bound.search(model, image, 0, QUICK, Threat(eps=0.09), 2)
    assert not answer.verified


def _pooled() -> nn.Sequential:
    layers = nn.Conv2d(1, 3, (1, 2), padding=(0, 1)), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten()
    return nn.Sequential(*layers, nn.Linear(6, CLASSES)).eval()


def _squashed() -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, CLASSES)).eval()


@pytest.mark.parametrize("build", [_pooled, _squashed])
def test_network_with_other_bends_is_searched_without_exact_leaves(build, monkeypatch: pytest.MonkeyPatch) -> None:
    _without_attack(monkeypatch)
    claims = 0
    for seed in range(10):
        torch.manual_seed(seed)
        model = build()
        for parameter in model.parameters():
            parameter.data.mul_(2)
        image, threat = torch.rand(1, 1, 2, 3), Threat(eps=0.1)
        label = int(model(image).argmax())
        points = _points(image, threat, 5000)
        model[-1].bias.data[label] += (0.1, 0.02, -0.02)[seed % 3] - _worst(model, points, label)
        answer = branch_and_bound.search(model, image, label, QUICK.model_copy(update={"domains": 50}), threat, CLASSES)
        assert answer.example is None
        assert not (answer.verified and _worst(model, points, label) <= 0), f"network {seed}"
        claims += answer.verified
    assert claims > 0


def _one_unit(weight: float, offset: float, threshold: float) -> nn.Module:
    """Two classes, of which the margin is `weight * relu(x + y - threshold) + offset` on images of the pixels x and y."""
    model = nn.Sequential(nn.Flatten(), nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 2)).eval()
    model[1].weight.data, model[1].bias.data = torch.ones(1, 2), torch.tensor([-threshold])
    model[3].weight.data, model[3].bias.data = torch.tensor([[weight], [0.0]]), torch.tensor([offset, 0.0])
    return model


@pytest.mark.parametrize(
    ("weight", "threshold", "active", "sign", "expected", "total"),
    [
        (3.0, 0.9, True, 1, 0.2, 0.9),  # As far down as the unit stays on.
        (3.0, 0.9, True, 0, -0.1, 0.8),  # The corner, where a unit said to be on, without a constraint, is below zero.
        (3.0, 0.9, False, -1, 0.2, None),  # Off, nothing moves.
        (-3.0, 0.9, True, 1, -0.7, 1.2),  # The other corner.
        (3.0, 1.3, True, 1, torch.inf, None),  # No image puts the unit on.
        (3.0, 0.7, False, -1, torch.inf, None),  # Nor off.
    ],
)
def test_leaf_by_hand(weight: float, threshold: float, active: bool, sign: int, expected: float, total: float | None) -> None:
    image, row = torch.full((1, 1, 1, 2), 0.5), torch.tensor([1.0, -1.0])
    on, signs = [torch.tensor([active])], [torch.tensor([sign], dtype=torch.int8)]
    found, nearest = linear_domain.smallest_margin(_one_unit(weight, 0.2, threshold), image, row, on, signs, Threat(eps=0.1))
    assert found == pytest.approx(expected, abs=1e-5)
    assert (nearest is None) == (expected == torch.inf)
    if total is not None:
        assert float(nearest.sum()) == pytest.approx(total, abs=1e-5)


def test_leaf_stays_in_the_unit_box() -> None:
    image, row = torch.tensor([[[[0.05, 0.95]]]]), torch.tensor([1.0, -1.0])
    on, signs = [torch.tensor([True])], [torch.tensor([0], dtype=torch.int8)]
    for weight, corner in ((3.0, [0, 0.85]), (-3.0, [0.15, 1])):
        found, nearest = linear_domain.smallest_margin(_one_unit(weight, 0.0, 0.5), image, row, on, signs, Threat(eps=0.1))
        assert nearest.flatten().tolist() == pytest.approx(corner, abs=1e-6)
        assert found == pytest.approx(weight * (sum(corner) - 0.5), abs=1e-5)


def test_decisions_are_the_answers_of_the_images(solved: list) -> None:
    case, _ = next((case, answer) for case, answer in solved if answer.verified)
    images = torch.cat([case.image, torch.rand(3, 1, 2, 3)])
    labels = case.model(images).argmax(dim=1)
    torch.manual_seed(0)
    found = branch_and_bound.decide(case.model, images, labels, QUICK, case.threat, CLASSES)
    torch.manual_seed(0)
    answers = [
        branch_and_bound.search(case.model, image.unsqueeze(0), int(label), QUICK, case.threat, CLASSES)
        for image, label in zip(images, labels, strict=True)
    ]
    assert found.verified.tolist() == [answer.verified for answer in answers]
    assert found.falsified.tolist() == [answer.example is not None for answer in answers]
    assert found.margins.tolist() == pytest.approx([answer.margin for answer in answers], abs=1e-6)
    assert set(found.decided) == {"branch-and-bound"}


@pytest.mark.parametrize("own", [True, False])
def test_margin_matrix_row_is_the_class_that_a_domain_is_about(own: bool) -> None:
    case = _case(0)
    splitting = _splitting(own, case, case.threat, 1, 3)
    assert torch.equal(splitting.specification, margin_matrix(torch.tensor([1]), CLASSES)[0])
    assert splitting.root(torch.tensor([1])).rows.tolist() == [1]


@pytest.mark.parametrize(("iterations", "cheap"), [(2, True), (1, False)])
def test_what_a_cheap_bound_proves_is_neither_attacked_nor_split(
    iterations: int, cheap: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The margin is relu(z) - z / 2 + 0.1 with z in [-1, 1]: CROWN says -0.4, one step of its slope 0.1.
    model = nn.Sequential(nn.Flatten(), nn.Linear(1, 2), nn.ReLU(), nn.Linear(2, 2)).eval()
    model[1].weight.data, model[1].bias.data = torch.tensor([[4.0], [4.0]]), torch.tensor([-2.0, 0.0])
    model[3].weight.data, model[3].bias.data = torch.tensor([[1.0, -0.5], [0.0, 0.0]]), torch.tensor([1.1, 0.0])
    done: list[str] = []
    monkeypatch.setattr(branch_and_bound, "_attack", lambda *unused: done.append("attack"))
    monkeypatch.setattr(GraphSplitting, "tighten", lambda self: done.append("tighten"))
    params = QUICK.model_copy(update={"iterations": iterations})
    answer = branch_and_bound.search(model, torch.full((1, 1, 1, 1), 0.5), 0, params, Threat(eps=0.25), 2)
    assert answer.verified
    assert answer.margin == pytest.approx(0.1, abs=1e-5)
    assert (answer.domains, done) == (0, []) if cheap else (answer.domains > 0 and done == ["attack", "tighten"])


def test_what_does_not_fit_into_memory_is_attacked_all_the_same(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    def full(*unused: object, **unused_too: object) -> None:
        raise MemoryError

    monkeypatch.setattr(GraphSplitting, "__init__", full)
    monkeypatch.setattr(LirpaSplitting, "__init__", full)
    case, tried = _case(0), list[int]()
    monkeypatch.setattr(branch_and_bound, "_attack", lambda *unused: tried.append(1))
    answer = case.search()
    assert (answer.verified, answer.example, tried) == (False, None, [1])
    assert "an image does not fit into memory" in capsys.readouterr().out
