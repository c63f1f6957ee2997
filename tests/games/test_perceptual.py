"""Distances in VGG-19's features: by hand, in float64, and what must not be kept, trained or guessed."""

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.functional import conv2d, max_pool2d

from conftest import Malicious
from sparring.config.errors import UserError
from sparring.games.perceptual import Perceptual
from sparring.games.translation import Translation
from sparring.losses import LeastSquares

MEAN, DEVIATION = (torch.tensor(v).view(3, 1, 1) for v in ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]))
WHITE = float(((1 - MEAN) / DEVIATION).mean())  # a white pixel as the network sees it, mean over R, G and B


@pytest.fixture(scope="module")
def weights(tmp_path_factory) -> Path:
    """Random weights of the first four convolutions, in torchvision's layout."""
    draw = torch.Generator().manual_seed(0)
    tensors = {}
    for place, (inner, outer) in {0: (3, 64), 2: (64, 64), 5: (64, 128), 7: (128, 128)}.items():
        tensors[f"features.{place}.weight"] = torch.randn(outer, inner, 3, 3, generator=draw) / (4.5 * inner) ** 0.5
        tensors[f"features.{place}.bias"] = torch.randn(outer, generator=draw) / 5
    path = tmp_path_factory.mktemp("weights") / "vgg19.pth"
    torch.save(tensors, path)
    return path


@pytest.fixture(scope="module")
def averaging(tmp_path_factory) -> Path:
    """All sixteen convolutions: each takes the mean of its channels, and the last of them -3 times that."""
    from torchvision.models import vgg19

    with torch.device("meta"):
        shapes = {name: value.shape for name, value in vgg19().features.state_dict().items()}
    tensors = {}
    for name, shape in shapes.items():
        kernel = torch.zeros(1, 1, 3, 3)
        kernel[..., 1, 1] = (-3 if name.startswith("34.") else 1) / shape[1] if len(shape) > 1 else 0
        tensors[f"features.{name}"] = kernel.expand(shape) if len(shape) > 1 else torch.zeros(1).expand(shape)
    path = tmp_path_factory.mktemp("weights") / "averaging.pth"
    torch.save(tensors, path)  # a view is stored as the few numbers behind it
    return path


@pytest.fixture
def hub(tmp_path, monkeypatch) -> Path:
    """torch's hub folder, with nothing in it, on a machine without a network."""
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


def images(seed: int, channels: int = 3, size: int = 12) -> torch.Tensor:
    return torch.rand(4, channels, size, size, generator=torch.Generator().manual_seed(seed)) * 2 - 1


def features(path: Path, pixels: torch.Tensor, activated: bool) -> torch.Tensor:
    """conv2_2, step by step in float64."""
    tensors = {name: value.double() for name, value in torch.load(path, weights_only=True).items()}
    x = ((pixels.double() + 1) / 2 - MEAN.double()) / DEVIATION.double()
    for place in (0, 2, 5, 7):
        x = max_pool2d(x, 2) if place == 5 else x
        x = conv2d(x, tensors[f"features.{place}.weight"], tensors[f"features.{place}.bias"], padding=1)
        x = x.relu() if place < 7 or activated else x
    return x


@pytest.mark.parametrize("before", [False, True])
@pytest.mark.parametrize("distance", ["squared", "absolute"])
def test_it_is_the_mean_difference_of_the_features_of_each_image(before, distance, weights):
    made, wanted = images(0), images(1)
    difference = features(weights, made, not before) - features(weights, wanted, not before)
    expected = (difference**2 if distance == "squared" else difference.abs()).mean((1, 2, 3))
    loss = Perceptual(1.0, "conv2_2", before, distance, str(weights))
    torch.testing.assert_close(loss(made, wanted), expected.float(), rtol=1e-4, atol=1e-6)
    assert loss(made, made).abs().max() == 0
    assert loss(made.double(), wanted.double()).sub(expected).abs().max() < 1e-6, "it follows the precision"


def test_the_features_of_srgan_are_the_last_convolutions_and_its_relu_is_an_option(averaging):
    white, black = torch.ones(1, 3, 16, 16), -torch.ones(1, 3, 16, 16)
    after = Perceptual(weights=str(averaging))
    before = Perceptual(before_activation=True, weights=str(averaging))
    earlier = Perceptual(layer="conv5_3", weights=str(averaging))
    assert after(white, black).item() == 0, "-3 times what is above 0"
    assert before(white, black).item() == pytest.approx((3 * WHITE) ** 2, rel=1e-5)
    assert earlier(white, black).item() == pytest.approx(WHITE**2, rel=1e-5)


def test_grey_images_are_repeated(weights):
    loss = Perceptual(layer="conv2_1", weights=str(weights))
    grey = images(0, 1), images(1, 1)
    torch.testing.assert_close(loss(*grey), loss(*(part.expand(-1, 3, -1, -1) for part in grey)))


def test_gradients_reach_the_images_and_neither_targets_nor_weights(weights):
    loss = Perceptual(layer="conv1_2", weights=str(weights))
    made, wanted = images(0).requires_grad_(), images(1).requires_grad_()
    loss(made, wanted).sum().backward()
    assert (made.grad.flatten(1).abs().sum(1) > 0).all() and wanted.grad is None
    assert not loss(images(0), images(1)).requires_grad, "nothing else could be learnt"


def test_no_optimizer_and_no_checkpoint_knows_of_the_network(weights):
    loss = Perceptual(layer="conv2_2", weights=str(weights))
    game = Translation(generator=nn.Linear(2, 2), discriminator=nn.Identity(), loss=LeastSquares(), perceptual=loss)
    loss(images(0), images(1))
    assert len(list(game.parameters())) == 2 and set(game.state_dict()) == {"generator.weight", "generator.bias"}


def test_weights_are_wanted_when_training_starts_and_not_before(hub):
    loss = Perceptual()
    with pytest.raises(UserError) as refused:
        loss.prepare((3, 32, 32))
    for said in ("vgg19-dcbb9e9d.pth", str(hub), "model.perceptual.weights=FILE", "model/perceptual=none"):
        assert said in str(refused.value)


def test_what_lies_in_the_hub_under_the_published_name_must_be_what_was_published(hub, weights):
    (hub / "vgg19-dcbb9e9d.pth").write_bytes(weights.read_bytes())
    with pytest.raises(UserError, match="damaged: its SHA-256 begins with .*, not with dcbb9e9d"):
        Perceptual(layer="conv2_2").prepare((3, 32, 32))


def test_a_file_that_is_something_else_is_refused_with_the_way_out(weights, tmp_path):
    torch.save({"features.0.weight": Malicious(tmp_path / "it ran")}, tmp_path / "malicious.pth")
    torch.save({"features.0.weight": torch.zeros(2, 2), "features.0.bias": torch.zeros(2)}, tmp_path / "shapes.pth")
    (tmp_path / "text.pth").write_text("no weights")
    for name in ("malicious.pth", "shapes.pth", "text.pth", "absent.pth"):
        with pytest.raises(UserError, match=rf"(?s)model.perceptual.weights={tmp_path / name}: .*perceptual=none"):
            Perceptual(layer="conv1_1", weights=str(tmp_path / name)).prepare((3, 32, 32))
    assert not (tmp_path / "it ran").exists()
    with pytest.raises(UserError, match="features.10.weight"):
        Perceptual(layer="conv3_1", weights=str(weights)).prepare((3, 32, 32))


def test_images_of_which_a_layer_sees_nothing_are_refused(weights):
    loss = Perceptual(layer="conv2_2", weights=str(weights))
    loss.prepare((1, 2, 2))
    for shape in [(3, 1, 8), (2, 8, 8)]:
        with pytest.raises(UserError, match=r"model.perceptual.layer=conv2_2: .*at least 2 pixels"):
            loss.prepare(shape)
    with pytest.raises(UserError, match="at least 16 pixels"):
        Perceptual().prepare((3, 15, 32))


def test_an_unknown_layer_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match="layer=relu5_4: must be one of conv1_1, .*conv5_4"):
        Perceptual(layer="relu5_4")
