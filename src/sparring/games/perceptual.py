"""The VGG loss: the distance of images to their targets in the features of a network that was trained on ImageNet."""

from typing import Literal

import torch
from pydantic import NonNegativeFloat
from torch import Tensor, nn

from sparring.config.errors import UserError
from sparring.storage.pretrained import torchvision_weights

VGG19 = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
CONVOLUTIONS = (2, 2, 4, 4, 4)  # of VGG-19's blocks; each ends in a pooling by 2
LAYERS = [f"conv{i}_{j}" for i, count in enumerate(CONVOLUTIONS, 1) for j in range(1, count + 1)]
WITHOUT = "To train without: model/perceptual=none."


class ImageNetInput(nn.Module):
    """Images (batch, 1 or 3, H, W) in [-1, 1] -> RGB with the mean and deviation of the network's training images."""

    mean: Tensor
    deviation: Tensor

    def __init__(self):
        super().__init__()
        self.register_buffer("mean", torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1))
        self.register_buffer("deviation", torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        images = images.to(self.mean.dtype).add(1).div(2).expand(-1, 3, -1, -1)
        return ((images - self.mean) / self.deviation).contiguous(memory_format=torch.channels_last)


class Perceptual:
    """Distance of each image to its target in features of VGG-19 (Simonyan & Zisserman 2015).

    SRGAN (Ledig et al. 2017, eq. 5): the mean squared difference of ``conv5_4`` after its ReLU, times 0.006, which is
    the paper's rescaling of the features by 1/12.75. ESRGAN (Wang et al. 2018): before the ReLU, and in its code
    absolute differences with weight 1. The features are those of torchvision's weights. SRGAN's were trained
    separately, so that its weight is right in order of magnitude only.

    No ``nn.Module``: the network is not trained, and must be in no optimizer and no checkpoint.

    Args:
        weight: factor of the term, which the game applies.
        layer: ``conv1_1`` to ``conv5_4``: convolution j of block i.
        before_activation: take its output before the ReLU.
        distance: squared or absolute differences.
        weights: a file in torchvision's layout, of which the tensors ``features.*`` up to the layer are read; None for
            torchvision's own, which is downloaded (548 MiB) to torch's hub folder.
    """

    def __init__(
        self,
        weight: NonNegativeFloat = 0.006,
        layer: str = "conv5_4",
        before_activation: bool = False,
        distance: Literal["squared", "absolute"] = "squared",
        weights: str | None = None,
    ):
        if layer not in LAYERS:
            raise ValueError(f"layer={layer}: must be one of {', '.join(LAYERS)}")
        self.weight, self.layer, self.distance, self.weights = weight, layer, distance, weights
        poolings = int(layer[4]) - 1
        self.smallest = 2**poolings
        self.depth = 2 * LAYERS.index(layer) + poolings + (1 if before_activation else 2)  # needed modules of VGG-19
        self.network: nn.Module | None = None

    def prepare(self, shape: tuple[int, ...]) -> nn.Module:
        """Load and return the network, for images of a shape (C, H, W); ``__call__`` does so if nobody did.

        Raises:
            UserError: the images are too small for the layer, or the weights are missing, and how to get them.
        """
        if shape[0] not in (1, 3) or min(shape[1:]) < self.smallest:
            raise UserError(
                f"model.perceptual.layer={self.layer}: needs grey or RGB images of at least {self.smallest} pixels, "
                f"and these are {tuple(shape)}; choose an earlier layer, as conv2_2, or model/perceptual=none"
            )
        if self.network is None:
            tensors = torchvision_weights(VGG19, self.weights, "model.perceptual.weights", WITHOUT)
            self.network = nn.Sequential(ImageNetInput(), self._load(tensors))
        return self.network

    def __call__(self, images: Tensor, targets: Tensor) -> Tensor:
        """Both (batch, C, H, W) in [-1, 1], C 1 or 3 -> (batch,); no gradient reaches the targets."""
        dtype = torch.promote_types(images.dtype, torch.float32)
        network = self.prepare(images.shape[1:]).to(images.device, dtype)
        with torch.no_grad():
            wanted = network(targets)
        difference = network(images).to(dtype) - wanted.to(dtype)
        return (difference.square() if self.distance == "squared" else difference.abs()).flatten(1).mean(1)

    def _load(self, tensors: dict[str, Tensor]) -> nn.Module:
        from torchvision.models import vgg19

        with torch.device("meta"):  # 143 million numbers, most of which are not needed
            network = nn.Sequential(*list(vgg19().features.children())[: self.depth])
        try:
            needed = {name: tensors[f"features.{name}"].float() for name in network.state_dict()}
            network.load_state_dict(needed, assign=True)
        except (AttributeError, KeyError, RuntimeError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise UserError(f"model.perceptual.weights={self.weights}: not VGG-19's ({reason}).\n{WITHOUT}") from error
        return network.requires_grad_(False).eval().to(memory_format=torch.channels_last)
