"""Translation of paired images, restoration, super-resolution: an image is made from an image."""

import torch
from pydantic import NonNegativeFloat
from torch import Tensor, nn
from torch.nn.functional import interpolate

from sparring.config.errors import UserError
from sparring.data.degradations.base import Degradation
from sparring.data.degradations.masks import Mask, mean_fill
from sparring.games.perceptual import Perceptual
from sparring.games.turn import Turn
from sparring.games.two_player import TwoPlayer
from sparring.randomness import Draws


class Translation(TwoPlayer):
    """The generator gets an image; its output is judged, and compared with the target image.

    Its input is the column ``inputs`` of the data (Isola et al. 2017, pix2pix), or the target after a ``degradation``:
    damaged (Pathak et al. 2016, context encoders) or made small (Ledig et al. 2017, SRGAN). G minimises the adversarial
    term + ``l1_weight`` E|y - G(x)| (pix2pix, eq. 4) + ``l2_weight`` E(y - G(x))^2 (context encoders, eq. 1) -
    ``psnr_weight`` E PSNR(G(x), y) in dB (Chen et al. 2021, HINet: images near their target count as much as others) +
    ``perceptual``. Where a part of an image was lost, its other pixels are copied to the output.

    Args:
        generator: images (batch, C_in, h, w) in [-1, 1] -> images (batch, C, H, W) in [-1, 1]. A degradation that keeps
            the size adds a channel to its input: 1 where pixels are lost, else 0.
        discriminator: images, None -> logits; of C + C_in channels with ``judge_pairs``.
        degradation: makes the inputs from the images; None for data that have inputs.
        judge_pairs: D sees the input as well as the image.
        adversarial_weight: factor of G's adversarial term; 0 leaves the comparison with the target.
        discriminator_weight: factor of D's adversarial term; pix2pix halves it.
        l1_weight, l2_weight: of the mean absolute and the mean squared difference.
        psnr_weight: of the mean peak signal-to-noise ratio.
        perceptual: distance to the target in VGG's features.
        options: those of ``TwoPlayer``.
    """

    translates = True

    def __init__(
        self,
        *,
        degradation: Degradation | None = None,
        judge_pairs: bool = True,
        adversarial_weight: NonNegativeFloat = 1.0,
        discriminator_weight: NonNegativeFloat = 1.0,
        l1_weight: NonNegativeFloat = 100.0,
        l2_weight: NonNegativeFloat = 0.0,
        psnr_weight: NonNegativeFloat = 0.0,
        perceptual: Perceptual | None = None,
        **options,
    ):
        super().__init__(**options)
        self.degradation, self.needs_pairs = degradation, degradation is None
        self.adds_mask = degradation is not None and degradation.image_size(64) == 64
        self.judge_pairs = judge_pairs
        self.weights = {"discriminator": discriminator_weight, "generator": adversarial_weight}
        self.l1_weight, self.l2_weight, self.psnr_weight = l1_weight, l2_weight, psnr_weight
        self.perceptual = perceptual or None  # model/perceptual=none is an empty node
        self.draws_reals = frozenset({"discriminator", "generator"})

    def terms(self, player: str, turn: Turn) -> dict[str, Tensor]:
        terms = super().terms(player, turn)
        terms["adversarial"] = self.weights[player] * terms["adversarial"]
        if player == "generator":
            difference = turn.fakes - turn.reals
            if self.l1_weight:
                terms["l1"] = self.l1_weight * difference.abs().mean()
            if self.l2_weight:
                terms["l2"] = self.l2_weight * difference.square().mean()
            if self.psnr_weight:
                noise = difference.square().flatten(1).mean(1) + 1e-8  # a finite gradient at the target
                terms["psnr"] = -self.psnr_weight * 10 * (4 / noise).log10().mean()
            if self.perceptual is not None:
                terms["perceptual"] = self.perceptual.weight * self.perceptual(turn.fakes, turn.reals).mean()
        return terms

    def produce(self, latents: None, condition: Tensor, producer: nn.Module | None = None) -> Tensor:
        images = (producer or self.generator)(condition)
        if self.degradation is None or not self.degradation.masks:
            return images
        lost = condition[:, -1:] > 0
        unmasked = ~lost.any((1, 2, 3), keepdim=True)  # images without lost pixels were damaged in another way
        return torch.where(lost | unmasked, images, condition[:, :-1].to(images.dtype))

    def condition(self, batch: dict[str, Tensor], draws: Draws) -> Tensor:
        if self.degradation is None:
            return self.scaled(batch["inputs"])
        return self._with_mask(*self.degradation(self.reals(batch), draws))

    def condition_for(self, images: Tensor, lost: Tensor) -> Tensor:
        """Return the generator's input for a person's own images.

        Args:
            images: (batch, C, h, w) in [-1, 1].
            lost: (batch, 1, h, w), above 0 where pixels are lost; a model that was not trained on lost pixels ignores
                it.

        Raises:
            UserError: no pixel is lost, and the model does nothing but fill in lost pixels.
        """
        if isinstance(self.degradation, Mask) and not lost.any():
            raise UserError("nothing is transparent in it, and this model fills in what is")
        fills = [part.fill for part in self.modules() if isinstance(part, Mask)]
        if fills:
            return self._with_mask(images.masked_fill(lost > 0, fills[0]), lost)
        return self._with_mask(images, None)

    def _with_mask(self, images: Tensor, lost: Tensor | None) -> Tensor:
        if not self.adds_mask:
            return images
        return torch.cat([images, torch.zeros_like(images[:, :1]) if lost is None else lost], 1)

    def shown(self, images: Tensor, condition: Tensor) -> Tensor:
        return torch.cat([images, condition.to(images.dtype)], 1) if self.judge_pairs else images

    def baselines(self, condition: Tensor, size: tuple[int, ...]) -> dict[str, Tensor]:
        """Return the input; with lost pixels also ``mean_fill`` of it, and instead of a small input its enlargement.

        The ``bicubic`` filter is that of the publications, a = -0.5 as Pillow's and MATLAB's; torch's default has
        -0.75.
        """
        if self.adds_mask:
            images, lost = condition[:, :-1], condition[:, -1:]
            masks = self.degradation is not None and self.degradation.masks
            return {"input": images} | ({"mean_fill": mean_fill(images, lost)} if masks else {})
        if condition.shape[2:] == size:
            return {"input": condition}
        return {"bicubic": interpolate(condition, size, mode="bicubic", antialias=True).clamp(-1, 1)}

    def check_fits(self, producer: nn.Module, columns: dict[str, Tensor]) -> None:
        if self.degradation is not None:
            try:
                self.degradation.check_fits(columns["images"].shape[-1])
            except ValueError as error:
                raise UserError(f"model.degradation: {error}") from error
        elif "inputs" not in columns:
            raise UserError(
                "model: it makes images from images, and these data have no inputs: data=pairs "
                "(model=cyclegan: data=unpaired)"
            )
        if self.perceptual is not None:
            self.perceptual.prepare(columns["images"].shape[1:])
        if self.augment is not None and self.judge_pairs:
            raise UserError(
                "augment: D sees an image and its input, which would not be augmented alike: model.judge_pairs=false"
            )
        super().check_fits(producer, columns)
