"""BigGAN (Brock et al. 2019): SAGAN, wider, whose latents reach every block of the generator.

Self-attention is at 64 pixels, and for smaller images at half their size. At 32 pixels the networks are those of
StudioGAN's CIFAR-10 score (Kang et al. 2023), at 128 the paper's but for where D's shortcuts start (``DownBlock``);
beyond, the coarse stages have 16 times the width throughout, where the paper has 8 in some.
"""

from functools import partial

import torch
from torch import Tensor, nn

from sparring.networks import sagan
from sparring.networks.arguments import Classes, Width
from sparring.networks.layers import halvings, initialize_orthogonally, normalize_spectrally
from sparring.networks.resnet import Ascent

ATTENTION = 64  # pixels, at most


class Generator(nn.Module):
    """Latents (batch, latent_dim), labels (batch,) -> images (batch, channels, image_size, image_size) in [-1, 1].

    The latents are cut into one chunk for the first layer and one for each block. The label's embedding, which all
    blocks share, and the block's chunk decide linearly the gains and shifts of the block's batch norms. All weights but
    the embedding are spectrally normalised.

    Args:
        image_size, channels, num_classes: see ``arguments``.
        latent_dim: size of the noise vector. If its n + 1 chunks are not equally long, the last are longer by one.
        width: a quarter of every stage's channels up to 32 pixels, the finest stage's for larger images.
        embedding_dim: length of a label's embedding.
    """

    def __init__(
        self,
        image_size: int,
        channels: int = 3,
        latent_dim: Width = 80,
        width: Width = 96,
        num_classes: Classes = 0,
        embedding_dim: Width = 128,
    ):
        super().__init__()
        _, n = halvings(image_size)
        if latent_dim <= n:
            raise ValueError(
                f"latent_dim={latent_dim}: must be at least {n + 1}, one for the first layer and each block"
            )
        self.chunks = [(latent_dim + i) // (n + 1) for i in range(n + 1)]
        label_dim = embedding_dim if num_classes else 0
        embeds = [partial(nn.Linear, label_dim + chunk, bias=False) for chunk in self.chunks[1:]]
        self.ascent = Ascent(self.chunks[0], image_size, channels, width, embeds, eps=1e-4, attention=ATTENTION)
        self.embedding = nn.Embedding(num_classes, embedding_dim) if num_classes else None
        self.apply(initialize_orthogonally)
        normalize_spectrally(self.ascent)

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        first, *chunks = latents.split(self.chunks, dim=1)
        if self.embedding is not None:
            label = self.embedding(labels)
            chunks = [torch.cat([label, chunk], dim=1) for chunk in chunks]
        return self.ascent(first, chunks)


class Discriminator(sagan.Discriminator):
    """SAGAN's, with self-attention at up to 64 pixels."""

    attention = ATTENTION
