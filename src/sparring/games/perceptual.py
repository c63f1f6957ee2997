"""How far images are from their targets in the features of a network that learnt to name what they show."""

from typing import Literal

import torch
from torch import Tensor, nn

from sparring.config.errors import UserError
from sparring.storage.pretrained import torchvision_weights

VGG19 = "https://download.pytorch.org/models/vgg19-dcbb9e9d.pth"
CONVOLUTIONS = (2, 2, 4, 4, 4)  # of VGG-19's blocks; a pooling by 2 ends each


class Perceptual(nn.Module):
    """Distance of VGG-19's features (Simonyan & Zisserman 2015), of each image to its target.

    SRGAN (Ledig et al. 2017, eq. 5): the mean of the squared differences of ``conv5_4`` after its ReLU, times 0.006, which is
    the paper's rescaling of the features by 1/12.75. ESRGAN (Wang et al. 2018): before the ReLU; the distance is not said
    there, and its published code takes absolute differences with weight 1. Features here are those of torchvision's weights;
    SRGAN's were learnt apart, so its weight holds in order of magnitude only.

    The network is not learnt: it is in no ``parameters()`` and no ``state_dict()``, and so in no optimizer and no checkpoint.

    Args:
        weight: factor of the term, for the game to multiply by.
        layer: ``conv1_1`` to ``conv5_4``: convolution j of block i.
        before_activation: take its output before the ReLU.
        distance: ``squared`` or ``absolute`` differences.
        weights: a file in torchvision's layout, of which the tensors ``features.*`` up to the layer are read; None for
            torchvision's own, which is downloaded (548 MiB) and kept in torch's hub folder.
    """

    def __init__(
        self,
        weight: float = 0.006,
        layer: str = "conv5_4",
        before_activation: bool = False,
        distance: Literal["squared", "absolute"] = "squared",
        weights: str | None = None,
    ):
        super().__init__()
        names = [f"conv{i}_{j}" for i, count in enumerate(CONVOLUTIONS, 1) for j in range(1, count + 1)]
        if layer not in names:
            raise ValueError(f"layer={layer}: must be one of {', '.join(names)}")
        if distance not in ("squared", "absolute"):
            raise ValueError(f"distance={distance}: squared or absolute")
        self.weight, self.layer, self.distance, self.weights = weight, layer, distance, weights
        pools = int(layer[4]) - 1
        self.smallest = 2**pools
        self.depth = (
            2 * names.index(layer) + pools + (1 if before_activation else 2)
        )  # modules of VGG-19 that are needed
        for name, values in (("mean", [0.485, 0.456, 0.406]), ("deviation", [0.229, 0.224, 0.225])):  # of ImageNet
            self.register_buffer(name, torch.tensor(values).view(3, 1, 1), persistent=False)
        self._network: tuple[nn.Module, ...] = ()  # in a tuple, where torch does not look for parameters

    def prepare(self, shape: tuple[int, int, int]) -> None:
        """Load the network, for images of a shape (C, H, W); ``forward`` does so where nobody did before.

        Raises:
            UserError: the layer sees nothing of such images, or the weights can't be had, and how to get them.
        """
        if shape[0] not in (1, 3) or min(shape[1:]) < self.smallest:
            raise UserError(
                f"model.perceptual.layer={self.layer}: wants grey or RGB images of at least {self.smallest} pixels a side, and "
                f"these are {tuple(shape)}; choose an earlier layer, as conv2_2, or model/perceptual=none"
            )
        if not self._network:
            way_out = "To train without: model/perceptual=none."
            tensors = torchvision_weights(VGG19, self.weights, "model.perceptual.weights", way_out)
            self._network = (self._load(tensors, way_out),)

    def forward(self, images: Tensor, targets: Tensor) -> Tensor:
        """Both (batch, C, H, W) in [-1, 1], C 1 (repeated) or 3 -> (batch,); no gradient reaches the targets."""
        self.prepare(images.shape[1:])
        network = self._network[0].to(self.mean)
        with torch.no_grad():
            wanted = network(self._as_imagenet(targets))
        difference = network(self._as_imagenet(images)).to(self.mean) - wanted.to(self.mean)
        return (difference.square() if self.distance == "squared" else difference.abs()).flatten(1).mean(1)

    def _as_imagenet(self, images: Tensor) -> Tensor:
        """RGB, of the mean and deviation with which the network was trained."""
        images = images.to(self.mean.dtype).add(1).div(2).expand(-1, 3, -1, -1)
        return ((images - self.mean) / self.deviation).contiguous(memory_format=torch.channels_last)

    def _load(self, tensors: dict[str, Tensor], way_out: str) -> nn.Module:
        from torchvision.models import vgg19

        with torch.device("meta"):  # 143 million numbers, most of them not needed
            network = vgg19().features[: self.depth]
        try:
            kept = {name: tensors[f"features.{name}"].float() for name in network.state_dict()}
            network.load_state_dict(kept, assign=True)
        except (AttributeError, KeyError, RuntimeError, TypeError) as error:
            told = " ".join(str(error).split())
            raise UserError(f"model.perceptual.weights={self.weights}: not VGG-19's ({told}).\n{way_out}") from error
        return network.requires_grad_(False).eval().to(memory_format=torch.channels_last)
