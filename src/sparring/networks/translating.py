"""What the networks of pix2pix and CycleGAN share: normalisation, first weights, images of any size."""

from torch import Tensor, nn
from torch.nn.functional import pad

from sparring.networks import dcgan, layers
from sparring.networks.dcgan import Normalization


def normalization(kind: Normalization, channels: int) -> nn.Module:
    """A normalisation layer for (batch, channels, H, W); instance norm without gains and shifts.

    So it is in the authors' PyTorch code, whose parameter counts are known. Their first code, in Lua, learned them.
    """
    return nn.InstanceNorm2d(channels) if kind == "instance" else layers.normalization(kind, channels)


def initialize(module: nn.Module) -> None:
    """N(0, 0.02) for weights, N(1, 0.02) for gains, 0 for biases: as both papers' authors do, and DCGAN's."""
    if getattr(module, "weight", None) is not None:
        dcgan.initialize(module)


def padded(images: Tensor, multiple: int, least: int = 1) -> Tensor:
    """Images (batch, C, H, W) continued at the right and the bottom until ``multiple`` divides H and W, ``least`` or more.

    Mirrored, or where the image is too small for that, by repeating its last column or row.
    """
    height, width = images.shape[-2:]
    right, bottom = (max(-size % multiple, least - size) for size in (width, height))
    if right:
        images = pad(images, (0, right, 0, 0), "reflect" if right < width else "replicate")
    if bottom:
        images = pad(images, (0, 0, 0, bottom), "reflect" if bottom < height else "replicate")
    return images
