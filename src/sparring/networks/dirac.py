"""The smallest GAN: one number against one number (Mescheder et al. 2018, definition 2.1)."""

import torch
from torch import Tensor, nn

from sparring.networks.base_discriminator import BaseDiscriminator


class Generator(nn.Module):
    """Latents (batch, latent_dim) -> theta, (batch, 1), whatever the latents are."""

    def __init__(self, start: float = 1.0):
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(start))

    def forward(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.theta.expand(len(latents), 1)


class Discriminator(BaseDiscriminator):
    """Points (batch, 1) -> logits psi * x, (batch,)."""

    def __init__(self, start: float = 1.0):
        super().__init__(feature_dim=1)
        self.head = nn.Identity()
        self.psi = nn.Parameter(torch.tensor(start))

    def features(self, images: Tensor) -> Tensor:
        return self.psi * images

    def verdict(self, features: Tensor, labels: Tensor | None = None) -> Tensor:
        return features.squeeze(1)
