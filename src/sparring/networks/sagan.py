"""SAGAN (Zhang et al. 2019): residual networks with self-attention, both spectrally normalised.

Self-attention stands at 32 pixels, as in the paper's networks for 128, and for smaller images at half their size. The
details are those of StudioGAN's CIFAR-10 score (Kang et al. 2023): orthogonal weights, batch norm's epsilon 1e-4.
"""

from functools import partial

from torch import Tensor, nn

from sparring.networks.layers import BaseDiscriminator, halvings, initialize_orthogonally, normalize_spectrally
from sparring.networks.resnet import Ascent, Descent

ATTENTION = 32  # pixels, at most


class Generator(nn.Module):
    """Latents (batch, latent_dim), labels (batch,) -> images (batch, channels, image_size, image_size) in [-1, 1].

    At 32 pixels, width 64 and ten classes: 4,386,308 parameters, those that StudioGAN's log of its published run names.

    Args:
        image_size: b * 2**n with 4 <= b <= 7.
        channels: 1 or 3, of the images.
        latent_dim: size of the noise vector.
        width: a quarter of every stage's channels up to 32 pixels, the finest stage's for larger images.
        num_classes: number of labels, which choose the gains and shifts of the batch norms; 0 for no labels.
    """

    def __init__(
        self, image_size: int, channels: int = 3, latent_dim: int = 128, width: int = 64, num_classes: int = 0
    ):
        super().__init__()
        _, self.n = halvings(image_size)
        embed = partial(nn.Embedding, num_classes) if num_classes else None
        self.ascent = Ascent(latent_dim, image_size, channels, width, [embed] * self.n, eps=1e-4, attention=ATTENTION)
        self.apply(initialize_orthogonally)
        normalize_spectrally(self)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.ascent(latents, [labels] * self.n)


class Discriminator(BaseDiscriminator):
    """Images (batch, channels, image_size, image_size) in [-1, 1], labels (batch,) -> logits (batch,).

    At 32 pixels, width 64 and ten classes: 1,075,586 parameters, those that StudioGAN's log of its published run names.

    Args:
        image_size: b * 2**n with 4 <= b <= 7.
        channels: 1 or 3, of the images.
        width: half of every stage's channels up to 32 pixels, the finest stage's for larger images.
        num_classes: number of labels, 0 for an unconditional network.
        spectral_norm: divide every weight matrix, the head's too, by its largest singular value.
        minibatch_stddev: group size of one more feature that tells how much a batch varies, 0 for none.
    """

    attention = ATTENTION

    def __init__(
        self,
        image_size: int,
        channels: int = 3,
        width: int = 64,
        num_classes: int = 0,
        spectral_norm: bool = True,
        minibatch_stddev: int = 0,
    ):
        descent = Descent(image_size, channels, width, wide=True, attention=self.attention)
        super().__init__(descent.dim, num_classes, minibatch_stddev)
        self.descent = descent
        self.apply(initialize_orthogonally)
        if spectral_norm:
            normalize_spectrally(self)

    def features(self, images: Tensor) -> Tensor:
        return self.descent(images)
