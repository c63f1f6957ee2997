"""The discriminator of pix2pix and CycleGAN (PatchGAN, Isola et al. 2017, section 3.2.2): logits for every patch."""

from torch import Tensor, nn
from torch.nn.functional import avg_pool2d

from sparring.networks.arguments import Blocks, Classes, Group, Width
from sparring.networks.base_discriminator import BaseDiscriminator
from sparring.networks.layers import Normalization, initialize_discriminator_normally, normalization


class PatchHead(nn.Module):
    """Logits (batch * patches,) from features (batch, dim, h, w): a convolution, patches row by row, images in turn.

    A label adds its own direction, as in ``ProjectionHead``, here of the mean of the features a patch is judged by.
    """

    def __init__(self, dim: int, num_classes: int, kernel: int):
        super().__init__()
        self.kernel, self.padding = kernel, (kernel - 1) // 2
        self.convolution = nn.Conv2d(dim, 1, kernel, padding=self.padding)
        self.embedding = nn.Embedding(num_classes, dim) if num_classes else None

    def forward(self, features: Tensor, labels: Tensor | None) -> Tensor:
        logits = self.convolution(features).squeeze(1)
        if self.embedding is not None:
            means = avg_pool2d(features, self.kernel, stride=1, padding=self.padding)
            logits = logits + (self.embedding(labels)[:, :, None, None] * means).sum(1)
        return logits.flatten()


class Discriminator(BaseDiscriminator):
    """Images (batch, channels, H, W) in [-1, 1], labels (batch,) -> logits (batch * patches,).

    Features are (batch, dim, h, w). Patches are folded into the batch: a loss takes them as they are, and one that
    compares pairs compares the same position of a real and a fake. A patch is 16, 34, 70, 142 or 286 pixels high and
    wide for 1 to 5 ``layers``, one for 0 (PixelGAN). Of those of 70 pixels, images of 256 have 30 x 30, of 32 pixels 2
    x 2, of 28 one.

    Args:
        num_classes, minibatch_stddev: see ``arguments``.
        image_size: height and width of the training images, at least 3 * 2**layers.
        channels: of the images, and of the condition where D sees it as well.
        width: channels of the finest stage; every coarser one has twice as many, at most 8 * width.
        norm: normalisation after every hidden layer but the first. ``batch`` couples the examples of a batch.
        layers: halvings, each by a hidden layer. One more follows that keeps the size, as does the head.
    """

    def __init__(
        self,
        image_size: int,
        channels: int = 3,
        width: Width = 64,
        num_classes: Classes = 0,
        norm: Normalization = "batch",
        layers: Blocks = 3,
        minibatch_stddev: Group = 0,
    ):
        if layers and image_size < 3 * 2**layers:
            most = max(image_size // 3, 1).bit_length() - 1
            raise ValueError(f"layers={layers}: leaves nothing of image_size={image_size}; at most {most}")
        kernel = 4 if layers else 1
        strides = [2] * layers + [1] if layers else [1, 1]
        widths = [width * min(2**level, 8) for level in range(len(strides))]
        super().__init__(widths[-1], num_classes, minibatch_stddev)
        self.head = PatchHead(widths[-1] + bool(minibatch_stddev), num_classes, kernel)
        stages: list[nn.Module] = []
        for level, (fine, coarse, stride) in enumerate(zip([channels, *widths], widths, strides, strict=False)):
            bias = level == 0 or norm != "batch"  # which would cancel it
            stages += [nn.Conv2d(fine, coarse, kernel, stride, padding=(kernel - 1) // 2, bias=bias)]
            stages += [normalization(norm, coarse, instance_gains=False)] if level else []
            stages += [nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*stages)
        initialize_discriminator_normally(self)
