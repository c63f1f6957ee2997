"""The U-Net of pix2pix (Isola et al. 2017, appendix 6.1): from an image to an image of the same size."""

import torch
from torch import Tensor, nn

from sparring.networks.arguments import Depth, Dropout, Width
from sparring.networks.layers import Normalization, initialize_normally, normalization, padded

WIDEST = 8  # times the finest stage's channels


class Generator(nn.Module):
    """Condition (batch, in_channels, H, W) -> images (batch, channels, H, W) in [-1, 1].

    4x4 convolutions halve the image ``depth`` times and double it as often; every stage on the way up also sees the
    stage of its size on the way down. H and W may be any: the condition is padded to a multiple of 2**depth, and the
    images are cropped.

    The bottleneck has dropout as in the paper and its first code, and no normalisation, which at 1x1 pixel would give
    zero.

    Args:
        image_size: height and width of the training images, at least 4.
        in_channels: of the condition.
        channels: of the images.
        width: channels of the finest stage; every coarser one has twice as many, at most 8 * width.
        depth: number of halvings; None: as many as the image allows, at most 8 (256 pixels: 8, 64: 6, 28: 4).
        norm: normalisation after every layer but the first, the bottleneck and the last.
        dropout: probability, after the three coarsest stages of 8 * width channels on the way up (after the coarsest
            stage where none is so wide). It is the paper's only noise.
    """

    def __init__(
        self,
        image_size: int,
        in_channels: int = 3,
        channels: int = 3,
        width: Width = 64,
        depth: Depth | None = None,
        norm: Normalization = "batch",
        dropout: Dropout = 0.5,
    ):
        super().__init__()
        most = max(image_size, 1).bit_length() - 1
        depth = min(most, 8) if depth is None else depth
        if most < 2:
            raise ValueError(f"image_size={image_size}: must be at least 4, to be halved twice")
        if not 2 <= depth <= most:
            raise ValueError(f"depth={depth}: image_size={image_size} can be halved 2 to {most} times")
        self.multiple = 2**depth
        widths = [width * min(2**level, WIDEST) for level in range(depth)]
        dropped = max(1, min(3, depth - 4))  # depth - 4 stages on the way up are as wide as can be
        bias = norm != "batch"  # which would cancel it

        self.down = nn.ModuleList([nn.Conv2d(in_channels, width, 4, stride=2, padding=1, bias=bias)])
        for level in range(1, depth):
            layers: list[nn.Module] = [nn.LeakyReLU(0.2)]  # not in place: the stage is needed again on the way up
            layers += [nn.Conv2d(widths[level - 1], widths[level], 4, stride=2, padding=1, bias=bias)]
            layers += [normalization(norm, widths[level], instance_gains=False)] if level < depth - 1 else []
            self.down.append(nn.Sequential(*layers))

        self.up = nn.ModuleList()
        for level in reversed(range(1, depth)):
            joined = widths[level] * (1 if level == depth - 1 else 2)
            layers = [nn.ReLU(inplace=True)]
            layers += [nn.ConvTranspose2d(joined, widths[level - 1], 4, stride=2, padding=1, bias=bias)]
            layers += [normalization(norm, widths[level - 1], instance_gains=False)]
            layers += [nn.Dropout(dropout)] if depth - level <= dropped else []
            self.up.append(nn.Sequential(*layers))
        last = nn.ConvTranspose2d(2 * width, channels, 4, stride=2, padding=1)
        self.out = nn.Sequential(nn.ReLU(inplace=True), last, nn.Tanh())
        self.apply(initialize_normally)

    def forward(self, condition: Tensor) -> Tensor:
        height, width = condition.shape[-2:]
        x, stages = padded(condition, self.multiple), []
        for down in self.down:
            x = down(x)
            stages.append(x)
        stages.pop()
        for up in self.up:
            x = torch.cat([stages.pop(), up(x)], dim=1)
        return self.out(x)[..., :height, :width]
