"""CycleGAN's generator (Zhu et al. 2017, section 7.2; after Johnson et al. 2016)."""

from torch import Tensor, nn

from sparring.networks.arguments import Blocks, Width
from sparring.networks.layers import Normalization, initialize_normally, normalization, padded


def convolution(before: int, after: int, kernel: int, norm: Normalization) -> list[nn.Module]:
    """Return a convolution that keeps the size, mirroring the border, and its normalisation."""
    padding = nn.ReflectionPad2d(kernel // 2)
    return [
        padding,
        nn.Conv2d(before, after, kernel, bias=norm != "batch"),
        normalization(norm, after, instance_gains=False),
    ]


class ResidualBlock(nn.Module):
    """x (batch, channels, H, W) plus two 3x3 convolutions of it, the first followed by a ReLU."""

    def __init__(self, channels: int, norm: Normalization):
        super().__init__()
        self.layers = nn.Sequential(
            *convolution(channels, channels, 3, norm),
            nn.ReLU(inplace=True),
            *convolution(channels, channels, 3, norm),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.layers(x)


class Generator(nn.Module):
    """Condition (batch, in_channels, H, W) -> images (batch, channels, H, W) in [-1, 1].

    H and W may be any: the condition is padded to a multiple of 4, at least 8, and the images are cropped.

    Args:
        image_size: height and width of the training images.
        in_channels: of the condition.
        channels: of the images.
        width: channels at full size; twice as many at half of it, four times at a quarter.
        blocks: residual blocks at a quarter of the size; None for the paper's: 9 from 256 pixels on, 6 below.
        norm: normalisation after every layer but the last.
    """

    def __init__(
        self,
        image_size: int,
        in_channels: int = 3,
        channels: int = 3,
        width: Width = 64,
        blocks: Blocks | None = None,
        norm: Normalization = "instance",
    ):
        super().__init__()
        blocks = (9 if image_size >= 256 else 6) if blocks is None else blocks
        bias = norm != "batch"  # which would cancel it
        layers: list[nn.Module] = [*convolution(in_channels, width, 7, norm), nn.ReLU(inplace=True)]
        for fine, coarse in ((width, 2 * width), (2 * width, 4 * width)):
            layers += [nn.Conv2d(fine, coarse, 3, stride=2, padding=1, bias=bias)]
            layers += [normalization(norm, coarse, instance_gains=False), nn.ReLU(inplace=True)]
        layers += [ResidualBlock(4 * width, norm) for _ in range(blocks)]
        for coarse, fine in ((4 * width, 2 * width), (2 * width, width)):
            layers += [nn.ConvTranspose2d(coarse, fine, 3, stride=2, padding=1, output_padding=1, bias=bias)]
            layers += [normalization(norm, fine, instance_gains=False), nn.ReLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.ReflectionPad2d(3), nn.Conv2d(width, channels, 7), nn.Tanh())
        self.apply(initialize_normally)

    def forward(self, condition: Tensor) -> Tensor:
        height, width = condition.shape[-2:]
        return self.layers(padded(condition, 4, 8))[..., :height, :width]
