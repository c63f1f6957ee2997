"""The original game: a generator makes images from noise, a discriminator learns to distinguish them from reals."""

from collections.abc import Mapping
from typing import Annotated, Literal

from pydantic import Field
from torch import Tensor, nn

from sparring.augment.base import Augment
from sparring.config.errors import UserError
from sparring.games.latents import FromLatents
from sparring.games.two_player import TwoPlayer
from sparring.losses import Loss
from sparring.networks.arguments import Width
from sparring.regularizers.base import Regularizer


class Generation(FromLatents, TwoPlayer):
    """Image generation from latents, optionally given a class label.

    Args:
        generator: latents (batch, latent_dim), labels (batch,) or None -> images (batch, C, H, W) in [-1, 1].
        discriminator: images, labels or None -> logits (batch,).
        loss, regularizers, augment, options: those of ``TwoPlayer``.
        latent_dim: length of the noise vector.
        latent: ``normal``, N(0, 1), or ``uniform``, U(-1, 1).
        conditional: both networks see the class label.
        packing: images that the discriminator sees as one, stacked by channel (Lin et al. 2018, PacGAN); its network
            then has that many times the channels.
    """

    def __init__(
        self,
        generator: nn.Module,
        discriminator: nn.Module,
        loss: Loss,
        regularizers: Mapping[str, Regularizer] | None = None,
        augment: Augment | None = None,
        latent_dim: Width = 100,
        latent: Literal["normal", "uniform"] = "normal",
        conditional: bool = False,
        packing: Annotated[int, Field(ge=1, le=64)] = 1,
        **options,
    ):
        super().__init__(generator, discriminator, loss, regularizers, augment, **options)
        if packing > 1 and conditional:
            raise ValueError(f"packing={packing}: a pack has no single label: conditional=false")
        self.latent_dim = latent_dim
        self.latent = latent
        self.conditional = conditional
        self.packing = packing

    def shown(self, images: Tensor, condition: Tensor | None) -> Tensor:
        """Return images (batch, C, ...) as packs (batch / packing, packing * C, ...)."""
        if self.packing == 1:
            return images
        if len(images) % self.packing:
            raise UserError(
                f"model.packing={self.packing} does not divide data.batch_size={len(images)}: a pack is judged as one"
            )
        return images.reshape(-1, self.packing * images.shape[1], *images.shape[2:])
