"""Bounds of plain networks, against auto_LiRPA's."""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from sparrow import catalogue
from sparrow.settings import Threat
from sparrow.verification import bounds, chain_bounds

THREAT = Threat(eps=0.05)


def convolutional() -> nn.Sequential:
    """Strides, an uneven size, groups, dilation, and a layer without bias."""
    layers = [nn.Conv2d(2, 4, 3, stride=2, padding=1), nn.ReLU(), nn.Conv2d(4, 6, 2, groups=2, bias=False), nn.ReLU()]
    layers += [nn.Conv2d(6, 3, 2, dilation=2, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(27, 7), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(7, 5))


def normalised() -> nn.Sequential:
    """Batch norm behind convolutions and linear layers, in blocks."""
    first = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU())
    second = nn.Sequential(nn.Conv2d(4, 3, 3, stride=2), nn.BatchNorm2d(3), nn.ReLU())
    return nn.Sequential(first, second, nn.Flatten(), nn.Linear(12, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 5))


NETWORKS = {"convolutional": convolutional, "normalised": normalised}
NETWORK = pytest.mark.parametrize("build", NETWORKS.values(), ids=NETWORKS)


@pytest.fixture
def batch() -> tuple[Tensor, Tensor]:
    torch.manual_seed(0)
    return torch.rand(40, 2, 7, 7), torch.arange(40) % 5


def made(build, images: Tensor) -> nn.Sequential:
    """The network with batch norms that have seen something."""
    torch.manual_seed(1)
    model = build().train()
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm2d):
            nn.init.uniform_(layer.weight, -1, 1)
    for _ in range(3):
        model(3 * images)
    return model


def gradients(model: nn.Module, margins: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    functional.cross_entropy(functional.pad(-margins, (1, 0)), torch.zeros(len(margins), dtype=torch.long)).backward()
    return {name: parameter.grad.clone() for name, parameter in model.named_parameters()}


@NETWORK
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize(("method", "tight"), [("IBP", False), ("CROWN-IBP", True)])
def test_bounds_are_those_of_auto_lirpa(build, training, method, tight, batch):
    model = made(build, batch[0]).train(training)
    view = bounds.bounded(model, batch[0])
    view.train(training)
    if training:
        view(batch[0])
    theirs = bounds.margins(view, *batch, THREAT, 5, method)
    model.requires_grad_(True)
    ours = chain_bounds.margins(chain_bounds.chain(model), *batch, THREAT, tight)[1]
    assert torch.allclose(ours, theirs, rtol=1e-5, atol=1e-5)
    if training:  # In eval mode, auto_LiRPA has no gradients.
        theirs = gradients(model, theirs)
        for name, gradient in gradients(model, ours).items():
            assert torch.allclose(gradient, theirs[name], rtol=1e-4, atol=1e-5), name


@NETWORK
def test_both_bounds_come_together(build, batch):
    model = made(build, batch[0])
    layers = chain_bounds.chain(model)
    loose, tight = chain_bounds.margins(layers, *batch, THREAT, tight=True)
    alone, again = chain_bounds.margins(layers, *batch, THREAT, tight=False)
    assert torch.allclose(loose, alone, rtol=1e-5, atol=1e-5)
    assert torch.equal(again, alone)
    assert (tight > loose).any()


@NETWORK
def test_how_many_images_go_together_changes_nothing(build, batch, monkeypatch):
    model = made(build, batch[0])
    before = chain_bounds.margins(chain_bounds.chain(model), *batch, THREAT, tight=True)
    monkeypatch.setattr(chain_bounds, "CACHED_ROWS", 12)
    after = chain_bounds.margins(chain_bounds.chain(model), *batch, THREAT, tight=True)
    assert all(torch.allclose(one, other, rtol=1e-5, atol=1e-5) for one, other in zip(before, after, strict=True))


@pytest.mark.parametrize("tight", [False, True])
def test_bounds_hold_and_running_statistics_stay(tight, batch):
    model = made(normalised, batch[0])
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    images, labels = batch
    lower = chain_bounds.margins(chain_bounds.chain(model), images, labels, THREAT, tight)[1]
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    point = chain_bounds.margins(chain_bounds.chain(model), images, labels, Threat(eps=1e-6), tight)[1]
    margins = (bounds.margin_matrix(labels, 5) @ model(images).unsqueeze(2)).squeeze(2)
    assert torch.allclose(point, margins, atol=1e-3)
    assert (lower < margins).all()


def test_a_relaxation_by_hand():
    # Between -1 and 3 the line above is 3/4 x + 3/4 and that below x; between -3 and 1, 1/4 x + 3/4 and 0.
    lines = chain_bounds._lines(torch.tensor([[-1.0, -3.0, 1.0, -2.0]]), torch.tensor([[3.0, 1.0, 2.0, -1.0]]))
    assert [line.tolist() for line in lines] == [[[1, 0, 1, 0]], [[0.75, 0.25, 1, 0]], [[0.75, 0.75, 0, 0]]]
    matrix = torch.tensor([[[2.0, 2.0, 2.0, 2.0], [-2.0, -2.0, -2.0, -2.0]]])
    relaxed, added = chain_bounds._Relaxation.apply(matrix, *lines)
    assert relaxed.tolist() == [[[2, 0, 2, 0], [-1.5, -0.5, -2, 0]]]
    assert added.tolist() == [[0, -3]]


def test_the_gradient_of_a_relaxation_is_its_own():
    torch.manual_seed(0)
    matrix, above, offset = (
        torch.randn(shape, dtype=torch.double, requires_grad=True) for shape in ((3, 4, 10), (3, 10), (3, 10))
    )
    below = (torch.rand(3, 10) > 0.5).double()
    assert torch.autograd.gradcheck(lambda *of: chain_bounds._Relaxation.apply(of[0], below, *of[1:]), (matrix, above, offset))


@pytest.mark.parametrize(
    ("kind", "plain"), [("cnn-small", True), ("cnn-large", True), ("cnn7", True), ("resnet18", False), ("vgg16-bn", False)]
)
def test_the_networks_of_certified_training_are_plain(kind, plain):
    entry = catalogue.load("models", kind)
    assert (chain_bounds.chain(entry.build(entry.Params(), (3, 32, 32), 10)) is not None) is plain


class Doubled(nn.Linear):
    """Not what its kin says."""

    def forward(self, inputs: Tensor) -> Tensor:
        return 2 * super().forward(inputs)


def hooked() -> nn.Linear:
    layer = nn.Linear(4, 4)
    layer.register_forward_hook(lambda module, arguments, output: 2 * output)
    return layer


FLAT, LINEAR = nn.Flatten(), nn.Linear(4, 4)
OTHERS = {
    "another activation": [FLAT, LINEAR, nn.Sigmoid(), LINEAR],
    "kin of a layer": [FLAT, Doubled(4, 4)],
    "a weight that is computed": [FLAT, nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))],
    "a layer with a hook": [FLAT, hooked()],
    "an activation at the end": [FLAT, LINEAR, nn.ReLU()],
    "a norm behind a ReLU": [FLAT, LINEAR, nn.ReLU(), nn.BatchNorm1d(4), LINEAR],
    "a norm without statistics": [FLAT, LINEAR, nn.BatchNorm1d(4, track_running_stats=False), LINEAR],
    "mirrored borders": [nn.Conv2d(1, 1, 3, padding=1, padding_mode="reflect"), FLAT, LINEAR],
    "a part of the axes": [nn.Flatten(2), LINEAR],
    "a linear layer over rows": [LINEAR, nn.ReLU(), FLAT, LINEAR],
    "no flattening": [LINEAR],
}


@pytest.mark.parametrize("layers", OTHERS.values(), ids=OTHERS)
def test_other_networks_are_left_to_auto_lirpa(layers):
    assert chain_bounds.chain(nn.Sequential(*layers)) is None
    assert chain_bounds.chain(nn.Sequential(FLAT, LINEAR)) is not None
