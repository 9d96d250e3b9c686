"""A faster equivalent of a network computes the same function, whatever the network is made of."""

import pytest
import torch
from torch import nn
from torch.nn import functional

from sparrow import catalogue
from sparrow.inference.fixed_weights import conv2d, fixed_weights
from sparrow.jobs.costs import METER
from sparrow.reproducible import seed_everything

MODELS = ["cnn-small", "cnn7", "vgg16-bn", "resnet18", "preact-resnet18", "resnet50", "wrn-28-4"]


def network(kind: str = "resnet18") -> nn.Module:
    """A network in train mode whose batch norms have seen a batch."""
    torch.manual_seed(0)
    entry = catalogue.load("models", kind)
    model = entry.build(entry.Params(), (3, 32, 32), 10).train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 2)
            nn.init.uniform_(module.weight, 0.5, 2)
            nn.init.normal_(module.bias)
    return model


def images(count: int = 4) -> torch.Tensor:
    return torch.rand(count, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def logits_and_gradient(model: nn.Module, batch: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Logits, and the gradient of a smooth function of them in the images."""
    batch = batch.clone().requires_grad_(True)
    logits = model(batch)
    return logits.detach(), torch.autograd.grad(logits.square().sum(), batch)[0]


def gap(one: torch.Tensor, other: torch.Tensor) -> float:
    return float((one - other).norm() / other.norm())


def assert_alike(model: nn.Module, batch: torch.Tensor, folded: bool = True) -> None:
    """The view says what the network in eval mode says, in double precision."""
    with fixed_weights(model, batch) as view:
        assert (view is not model) is folded
        found = logits_and_gradient(view, batch)
    expected = logits_and_gradient(model.eval(), batch)
    assert max(map(gap, found, expected)) < 1e-9


@pytest.mark.parametrize("kind", MODELS)
def test_same_logits_and_gradients(kind):
    assert_alike(network(kind).double(), images().double())


def test_batch_norms_behind_convolutions_are_gone():
    model = network("resnet18")
    with fixed_weights(model, images()) as view:
        assert not any(isinstance(module, nn.BatchNorm2d) for module in view.modules())


def test_the_network_is_as_it_was():
    model = network()
    model.bn1.eval()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with fixed_weights(model, images()) as view:
        logits_and_gradient(view, images())
    assert model.training
    assert not model.bn1.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())


def test_weights_that_have_changed_since():
    model, batch = network().double(), images().double()
    assert_alike(model, batch)
    with torch.no_grad():
        model.conv1.weight.mul_(2)
        model.bn1.running_mean.add_(1)
        model.linear.weight = nn.Parameter(-model.linear.weight)
    assert_alike(model, batch)


def test_a_layer_that_is_another_one_since():
    model, batch = network().double(), images().double()
    assert_alike(model, batch)
    model.linear = nn.Linear(512, 7).double()
    model.layer1[0].bn1 = nn.Identity()
    assert_alike(model, batch)


def test_what_is_hooked_to_the_model_counts():
    model = network("cnn-small")
    METER.start()
    with METER.watching(model), fixed_weights(model, images()) as view:
        logits_and_gradient(view, images(3))
    with fixed_weights(model, images()) as view:
        logits_and_gradient(view, images(3))
    assert METER.gradient_evaluations == 3


def test_what_is_hooked_to_a_layer_is_called():
    model, seen = network("cnn-small"), []
    model[0].register_forward_hook(lambda module, inputs, output: seen.append(len(output)))
    with fixed_weights(model, images()) as view:
        view(images(3))
    assert view is model
    assert seen == [3]


class Branching(nn.Module):
    """No trace can follow it."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, images):
        return self.layer(images if images.sum() > 0 else -images)


class Bare(nn.Module):
    """Uses a parameter outside of a layer."""

    def __init__(self):
        super().__init__()
        self.scale, self.layer = nn.Parameter(torch.ones(())), nn.Linear(4, 2)

    def forward(self, images):
        return self.layer(images) * self.scale


class Optional(Branching):
    """A trace takes what is not given for something."""

    def forward(self, images, scale=None):
        images = images if scale is None else images * scale
        return self.layer(images)


class Tokens(nn.Module):
    """A batch norm over places, behind a linear layer with as many features."""

    def __init__(self):
        super().__init__()
        self.layer, self.bn = nn.Linear(4, 3), nn.BatchNorm1d(3)
        nn.init.uniform_(self.bn.weight, 0.5, 2)

    def forward(self, images):
        return self.bn(self.layer(images.unsqueeze(1).expand(-1, 3, -1))).flatten(1)


class Named(Branching):
    """Calls a layer by keyword."""

    def forward(self, images):
        return torch.relu(input=self.layer(input=images))


@pytest.mark.parametrize("kind", [Branching, Bare, Optional, Tokens, Named])
def test_what_cannot_be_traced_is_evaluated_as_it_is(kind):
    assert_alike(kind().double(), torch.ones(1, 4).double(), folded=False)


class Twice(nn.Module):
    """What the convolution puts out is read by the batch norm and by the sum, and the sum by a ReLU and once more."""

    def __init__(self, **norm):
        super().__init__()
        self.conv, self.bn = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5, **norm)

    def forward(self, images):
        inside = self.conv(images)
        total = inside + self.bn(inside)
        return (torch.relu(total) - total).flatten(1)


class InPlace(Twice):
    """What a sum is added into is read again behind the ReLU."""

    def forward(self, images):
        total = inside = self.conv(images)
        total += self.bn(images[:, :1].expand(-1, 5, -1, -1))[..., 1:-1, 1:-1]
        return (torch.relu(total) + inside).flatten(1)


class Straight(Twice):
    """A batch norm that follows, and a ReLU that may overwrite."""

    def forward(self, images):
        return torch.relu(self.bn(self.conv(images))).flatten(1)


@pytest.mark.parametrize("norm", [{}, {"affine": False}, {"track_running_stats": False}])
@pytest.mark.parametrize("kind", [Twice, Straight])
def test_who_else_reads_it(kind, norm):
    assert_alike(kind(**norm).double().train(), images(2).double())


def test_what_a_trace_mistakes_is_evaluated_as_it_is():
    assert_alike(InPlace().double().train(), images(2).double(), folded=False)


def test_other_kinds_of_convolutions():
    model = nn.Sequential(
        nn.Conv2d(3, 6, 3, padding="same", dilation=2),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Conv2d(6, 6, 3, padding=1, padding_mode="circular", groups=3),
        nn.BatchNorm2d(6),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(6 * 32 * 32, 5),
        nn.BatchNorm1d(5, affine=False),
    )
    assert_alike(model.double(), images().double())


def test_backward_hooks_are_called():
    model, seen = network("cnn-small"), []
    model[0].register_full_backward_hook(lambda *given: seen.append(1))
    with fixed_weights(model, images()) as view:
        logits_and_gradient(view, images())
    assert view is model
    assert seen == [1]


def test_only_the_first_layer_is_left_in_full():
    other = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1, padding_mode="circular"), nn.Flatten(), nn.Linear(4096, 5))
    with fixed_weights(other, images(), float32_layer=other[0]) as view:
        assert view is other


def test_weights_in_full_see_images_in_full_and_send_a_lowered_gradient_back():
    torch.manual_seed(0)
    weight, bias, geometry = torch.randn(8, 3, 3, 3), torch.randn(8), ((2, 2), (1, 1), (1, 1), 1)
    # Images that bfloat16 could not tell from one half.
    batch = (0.5 + images() / 1000).requires_grad_(True)
    exact = functional.conv2d(batch, weight, bias, *geometry)
    with torch.autocast("cpu", torch.bfloat16):
        found = conv2d(batch, weight, bias, *geometry)
    assert torch.equal(found, exact.bfloat16())
    gradients = [torch.autograd.grad((one.float() * exact.detach()).sum(), batch)[0] for one in (found, exact)]
    assert gradients[0].dtype == torch.float32
    assert 0 < gap(*gradients) < 0.01


@pytest.mark.parametrize("padding", ["same", "valid", 1])
def test_a_late_layer_in_full_and_padding_by_name(padding):
    """Which layer is in full is the caller's choice: it may be one that meets lowered maps."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3, padding=padding), nn.Tanh(), nn.Conv2d(4, 4, 3, padding=padding), nn.Flatten())
    exact = logits_and_gradient(model.eval(), images())
    for layer in (model[0], model[2]):
        with torch.autocast("cpu", torch.bfloat16), fixed_weights(model, images(), float32_layer=layer) as view:
            assert view is not model
            found = logits_and_gradient(view, images())
        assert max(map(gap, found, exact)) < 0.02


def test_what_is_hooked_to_the_model_as_it_is_traced_does_not_matter():
    model = network("cnn-small")
    hook = model.register_forward_hook(lambda module, given, output: 2 * output)
    with fixed_weights(model, images()) as view:
        assert view is not model
        torch.testing.assert_close(view(images()), model.eval()(images()))
    hook.remove()


def test_under_autocast():
    """In bfloat16 as near to float32 as the network itself is."""
    model, batch = network("resnet18"), images().contiguous(memory_format=torch.channels_last)
    exact = logits_and_gradient(model.eval(), batch)[0]
    with torch.autocast("cpu", torch.bfloat16):
        plain = logits_and_gradient(model, batch)[0]
        with fixed_weights(model, batch) as view:
            found = logits_and_gradient(view, batch)[0]
    assert 0 < gap(found, exact) < 2 * gap(plain, exact) < 0.1


def test_denormals_are_zero_once_seeded():
    """Numbers below float32's normal range cost some processors a hundred times as much."""
    torch.set_flush_denormal(False)
    assert float(torch.tensor([1e-39]) * 1) > 0
    seed_everything(0)
    assert float(torch.tensor([1e-39]) * 1) == 0
