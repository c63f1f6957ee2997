"""Convolutions over three axes, for clips (frames, H, W) and voxels (depth, H, W): DCGAN with one axis more.

The layers are those of 3D-GAN (Wu et al. 2016, Learning a probabilistic latent space of object shapes): at 64 x 64 x 64
with 200 latents and width 64 its 512, 256, 128, 64 and 1 channels, convolutions of 4x4x4 with stride 2, batch norm,
ReLU and leaky ReLU. VGAN (Vondrick et al. 2016, Generating videos with scene dynamics) makes clips by the same layers
and, apart from them, a background; its frames, too, start at fewer than four. Ours: tanh instead of 3D-GAN's sigmoid,
DCGAN's initialisation, labels, frames that are doubled less often than the sides, and a linear layer as D's last.
"""

from typing import Any

from sparring.networks.arguments import Classes, Frames, Group, Width
from sparring.networks.dcgan import KERNEL, PyramidDiscriminator, PyramidGenerator
from sparring.networks.layers import Normalization, halvings


def stages(frames: int | None, image_size: int) -> tuple[tuple[int, int, int], list[dict[str, Any]]]:
    """Return the first stage's size (frames, H, W), and the kernel of each stage from the coarsest on.

    The sides are b * 2**n with 4 <= b <= 7, and every stage doubles them. The finest stages double the frames too, as
    often as that is possible.

    Raises:
        ValueError: no frames, or sides or frames that are not of that form, naming the nearest that are.
    """
    if not frames:
        raise ValueError(
            "frames=null: these networks make clips and voxels (data=moving_digits, solids, clips, volumes)"
        )
    base, n = halvings(image_size)
    first, doublings = frames, 0
    while first % 2 == 0 and doublings < n:
        first, doublings = first // 2, doublings + 1
    if first > 7:
        sizes = sorted({b * 2**k for b in range(1, 8) for k in range(n + 1)})
        near = [s for s in sizes if s < frames][-1:] + [s for s in sizes if s > frames][:1]
        raise ValueError(
            f"frames={frames}: with image_size={image_size} must be 1 to 7 times a power of two up to {2**n}; "
            f"the nearest: {' or '.join(map(str, near))}"
        )
    sides = {"kernel_size": (3, 4, 4), "stride": (1, 2, 2), "padding": 1}
    return (first, base, base), [sides] * (n - doublings) + [KERNEL] * doublings


class Generator(PyramidGenerator):
    """Latents (batch, latent_dim), labels (batch,) -> volumes (batch, channels, frames, H, W) in [-1, 1].

    Args:
        image_size, channels, latent_dim, num_classes: see ``arguments``.
        frames: of a clip, or the depth of voxels: 1 to 7 times a power of two.
        width: channels of the finest stage.
        norm: normalisation after every hidden layer.
    """

    def __init__(
        self,
        frames: Frames | None,
        image_size: int,
        channels: int = 1,
        latent_dim: Width = 100,
        width: Width = 64,
        num_classes: Classes = 0,
        norm: Normalization = "batch",
    ):
        super().__init__(*stages(frames, image_size), channels, latent_dim, width, num_classes, norm)


class Discriminator(PyramidDiscriminator):
    """Volumes (batch, channels, frames, image_size, image_size) in [-1, 1], labels (batch,) -> logits (batch,).

    Args:
        image_size, channels, num_classes, minibatch_stddev: see ``arguments``.
        frames: of a clip, or the depth of voxels: 1 to 7 times a power of two.
        width: channels of the finest stage.
        norm: normalisation after every hidden layer but the first. ``batch`` couples the examples of a batch.
    """

    def __init__(
        self,
        frames: Frames | None,
        image_size: int,
        channels: int = 1,
        width: Width = 64,
        num_classes: Classes = 0,
        norm: Normalization = "batch",
        minibatch_stddev: Group = 0,
    ):
        super().__init__(*stages(frames, image_size), channels, width, num_classes, norm, minibatch_stddev)
