"""The networks of SRGAN (Ledig et al. 2017, figure 4): SRResNet, which enlarges images, and its discriminator.

The authors' code is not public. What the paper leaves open is PyTorch's default: initial weights, one slope a PReLU.
"""

from typing import Literal

from torch import Tensor, nn

from sparring.networks.arguments import Blocks, Classes, Group, Width
from sparring.networks.base_discriminator import BaseDiscriminator
from sparring.networks.layers import Normalization, normalization


class ResidualBlock(nn.Module):
    """x (batch, channels, H, W) plus convolution, norm, PReLU, convolution, norm of it."""

    def __init__(self, channels: int):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
            nn.PReLU(),
            nn.Conv2d(channels, channels, 3, padding=1),
            nn.BatchNorm2d(channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Generator(nn.Module):
    """Small images (batch, in_channels, H, W) in [-1, 1] -> images (batch, channels, scale * H, scale * W).

    SRResNet. As in figure 4 nothing bounds the images: training brings them to [-1, 1], and they are clipped when
    stored. With 16 blocks, width 64 and three channels 1,549,462 parameters for scale 4, 1,401,749 for 2; 2,112 of them
    are biases that batch norm cancels.

    Args:
        in_channels: of the small images.
        channels: of the images.
        width: channels of every layer.
        scale: 2 or 4.
        blocks: residual blocks, all at the small size.
    """

    def __init__(
        self,
        in_channels: int = 3,
        channels: int = 3,
        width: Width = 64,
        scale: Literal[2, 4] = 4,
        blocks: Blocks = 16,
    ):
        super().__init__()
        self.enter = nn.Sequential(nn.Conv2d(in_channels, width, 9, padding=4), nn.PReLU())
        last = [nn.Conv2d(width, width, 3, padding=1), nn.BatchNorm2d(width)]
        self.blocks = nn.Sequential(*(ResidualBlock(width) for _ in range(blocks)), *last)
        layers: list[nn.Module] = []
        for _ in range(scale // 2):
            layers += [nn.Conv2d(width, 4 * width, 3, padding=1), nn.PixelShuffle(2), nn.PReLU()]
        self.out = nn.Sequential(*layers, nn.Conv2d(width, channels, 9, padding=4))

    def forward(self, condition: Tensor) -> Tensor:
        x = self.enter(condition)
        return self.out(x + self.blocks(x))


class Discriminator(BaseDiscriminator):
    """Images (batch, channels, image_size, image_size) in [-1, 1], labels (batch,) -> logits (batch,).

    Eight 3x3 convolutions, every second of which halves the image (rounding up) and every other doubles the channels,
    and a dense layer.

    Args:
        num_classes, minibatch_stddev: see ``arguments``.
        image_size: any.
        channels: of the images, and of the condition where D sees it as well.
        width: channels of the finest stage; the features are 16 times as many.
        norm: normalisation after every convolution but the first. ``batch`` couples the examples of a batch.
    """

    def __init__(
        self,
        image_size: int,
        channels: int = 3,
        width: Width = 64,
        num_classes: Classes = 0,
        norm: Normalization = "batch",
        minibatch_stddev: Group = 0,
    ):
        super().__init__(16 * width, num_classes, minibatch_stddev)
        layers: list[nn.Module] = []
        before = channels
        for after in (width, 2 * width, 4 * width, 8 * width):
            for stride in (1, 2):
                layers += [nn.Conv2d(before, after, 3, stride, padding=1)]
                layers += [normalization(norm, after)] if len(layers) > 1 else []
                layers += [nn.LeakyReLU(0.2, inplace=True)]
                before = after
        left = -(-image_size // 16)
        layers += [nn.Flatten(), nn.Linear(before * left**2, self.feature_dim), nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers)
