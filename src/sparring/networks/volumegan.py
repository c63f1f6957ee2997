"""Convolutions over three axes, for clips (frames, H, W) and voxels (depth, H, W): DCGAN with one axis more.

The layers are those of 3D-GAN (Wu et al. 2016, Learning a probabilistic latent space of object shapes): at 64 x 64 x 64
with 200 latents and width 64 its 512, 256, 128, 64 and 1 channels, convolutions of 4x4x4 with stride 2, batch norm, ReLU and
leaky ReLU. VGAN (Vondrick et al. 2016, Generating videos with scene dynamics) makes clips by the same layers, its stream
without a background apart; its frames, too, start at fewer than four. Ours: tanh instead of 3D-GAN's sigmoid, DCGAN's
initialisation, labels, frames that are doubled less often than the sides, and a linear layer as D's last.
"""

from torch import Tensor, nn

from sparring.networks.dcgan import Normalization, initialize, stage_widths
from sparring.networks.layers import BaseDiscriminator, LabelledLatents, halvings, normalization


def stages(frames: int | None, image_size: int) -> tuple[tuple[int, int, int], list[bool]]:
    """The size (frames, H, W) where the pyramid starts, and for each stage from the coarsest on whether it doubles the frames.

    The sides are b * 2**n with 4 <= b <= 7, and every stage doubles them; frames are doubled by the finest stages, as often as
    that is possible.

    Raises:
        ValueError: no frames, or sides or frames that are not of that form, naming the nearest that are.
    """
    if not frames:
        raise ValueError(
            "frames=null: these networks make clips and voxels (data=moving_digits, solids, clips, volumes)"
        )
    base, n = halvings(image_size)
    first, doublings = frames, 0
    while first % 2 == 0 and first > 1 and doublings < n:
        first, doublings = first // 2, doublings + 1
    if not 1 <= first <= 7:
        sizes = sorted({b * 2**k for b in range(1, 8) for k in range(n + 1)})
        near = [s for s in sizes if s < frames][-1:] + [s for s in sizes if s > frames][:1]
        raise ValueError(
            f"frames={frames}: with image_size={image_size} must be 1 to 7 times a power of two up to {2**n}; "
            f"the nearest: {' or '.join(map(str, near))}"
        )
    return (first, base, base), [stage >= n - doublings for stage in range(n)]


def kernel(doubled: bool) -> dict[str, tuple[int, int, int]]:
    """Of the convolution of a stage, which halves or doubles the sides and, if so ``doubled``, the frames."""
    return {"kernel_size": (4 if doubled else 3, 4, 4), "stride": (2 if doubled else 1, 2, 2), "padding": (1, 1, 1)}


class FromPoint(nn.ConvTranspose3d):
    """The transposed convolution of one voxel (batch, channels, 1, 1, 1): a matrix product, as which it is much quicker."""

    def forward(self, x: Tensor) -> Tensor:
        weight = self.weight.permute(0, 2, 3, 4, 1)  # no copy of what lies in channels-last order
        return (x.flatten(1) @ weight.flatten(1)).unflatten(1, weight.shape[1:]).permute(0, 4, 1, 2, 3)


class Generator(nn.Module):
    """Latents (batch, latent_dim), labels (batch,) -> volumes (batch, channels, frames, image_size, image_size) in [-1, 1].

    Args:
        frames: of a clip, or the depth of voxels: 1 to 7 times a power of two.
        image_size: b * 2**n with 4 <= b <= 7.
        channels: 1 or 3.
        latent_dim: size of the noise vector.
        width: channels of the finest stage.
        num_classes: number of labels, 0 for an unconditional network.
        norm: normalisation after every hidden layer.
    """

    def __init__(
        self,
        frames: int | None,
        image_size: int,
        channels: int = 1,
        latent_dim: int = 100,
        width: int = 64,
        num_classes: int = 0,
        norm: Normalization = "batch",
    ):
        super().__init__()
        base, doubled = stages(frames, image_size)
        widths = stage_widths(width, len(doubled))
        self.latents = LabelledLatents(latent_dim, num_classes)
        layers: list[nn.Module] = [FromPoint(self.latents.dim, widths[0], base, bias=False)]
        for coarse, fine, doubles in zip(widths, widths[1:] + [channels], doubled, strict=True):
            layers += [normalization(norm, coarse, 3), nn.ReLU(inplace=True)]
            layers += [nn.ConvTranspose3d(coarse, fine, **kernel(doubles), bias=False)]
        self.layers = nn.Sequential(*layers, nn.Tanh())
        self.apply(initialize)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.layers(self.latents(latents, labels)[:, :, None, None, None])


class Discriminator(BaseDiscriminator):
    """Volumes (batch, channels, frames, image_size, image_size) in [-1, 1], labels (batch,) -> logits (batch,).

    Args:
        frames: of a clip, or the depth of voxels: 1 to 7 times a power of two.
        image_size: b * 2**n with 4 <= b <= 7.
        channels: 1 or 3.
        width: channels of the finest stage.
        num_classes: number of labels, 0 for an unconditional network.
        norm: normalisation after every hidden layer but the first. ``batch`` couples the examples of a batch.
        minibatch_stddev: group size of one more feature that tells how much a batch varies, 0 for none.
    """

    def __init__(
        self,
        frames: int | None,
        image_size: int,
        channels: int = 1,
        width: int = 64,
        num_classes: int = 0,
        norm: Normalization = "batch",
        minibatch_stddev: int = 0,
    ):
        (first, base, _), doubled = stages(frames, image_size)
        widths = stage_widths(width, len(doubled))[::-1]
        super().__init__(widths[-1] * first * base * base, num_classes, minibatch_stddev)
        layers: list[nn.Module] = []
        for i, (fine, coarse, halves) in enumerate(zip([channels, *widths], widths, doubled[::-1], strict=False)):
            layers += [nn.Conv3d(fine, coarse, **kernel(halves), bias=False)]
            layers += [normalization(norm, coarse, 3)] if i else []
            layers += [nn.LeakyReLU(0.2, inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Flatten())
        self.apply(initialize)
        if self.head.embedding is not None:
            nn.init.normal_(self.head.embedding.weight, 0.0, 0.02)

    def features(self, images: Tensor) -> Tensor:
        return self.layers(images)
