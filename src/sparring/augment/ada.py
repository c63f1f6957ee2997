"""Adaptive discriminator augmentation (Karras et al. 2020, StyleGAN2-ADA)."""

from collections.abc import Callable
from typing import Annotated

import torch
from pydantic import Field, PositiveInt
from torch import Tensor

from sparring.augment.base import Augment, check_images
from sparring.augment.transforms import color_matrix, cutout, geometric_matrix, warp
from sparring.distributed import collectives
from sparring.randomness import Draws

Share = Annotated[float, Field(ge=0, le=1)]


class ADA(Augment):
    """Each of many changes is made with probability p times its multiplier, p being driven by how D overfits.

    The changes are those of ``bgc`` (Karras et al. 2020, appendix B): flips, rotations by 90 degrees and whole shifts;
    scales, rotations and fractional shifts; brightness, contrast, luma flips, hue and saturation; and, if asked for,
    cutout. All geometry is one warp by bilinear sampling, the edge mirrored without end, where the published code
    filters with wavelets at twice the resolution and mirrors once.

    After every ``adjust_every`` turns of D p rises if r_t = E[sign D(x)] of the reals that D saw in them is above
    ``target``, and falls if below, by the share that these reals are of ``adjust_kimg``.

    Args:
        p: strength at the start, in [0, 1].
        target: of r_t; None keeps p as it is.
        adjust_every: turns of D between two moves of p.
        adjust_kimg: thousands of reals in which p can go from 0 to 1.
        schedule: factor of a p without target as a function of kimg; None for a constant p.
        blit: multiplier of the probabilities of flips, rotations by 90 degrees and whole shifts.
        geometry: ... of scales, rotations and fractional shifts.
        color: ... of changes of colour.
        cutout: ... of a zeroed square of half the size.
    """

    p: Tensor
    signs: Tensor

    def __init__(
        self,
        p: Share = 0.0,
        target: Annotated[float, Field(ge=-1, le=1)] | None = 0.6,
        adjust_every: PositiveInt = 4,
        adjust_kimg: Annotated[float, Field(gt=0, le=1e9)] = 500.0,
        schedule: Callable[[float], float] | None = None,
        blit: Share = 1.0,
        geometry: Share = 1.0,
        color: Share = 1.0,
        cutout: Share = 0.0,
    ):
        super().__init__()
        if target is not None and schedule is not None:
            raise ValueError(f"target={target} and a schedule: p follows one of them; choose target=null")
        self.target = target
        self.adjust_every = adjust_every
        self.adjust_kimg = adjust_kimg
        self.schedule = schedule
        self.blit, self.geometry, self.color, self.cutout = blit, geometry, color, cutout
        self.register_buffer("p", torch.tensor(float(p)))
        self.register_buffer("signs", torch.zeros(3))  # since the last move: sum of sign D(x), reals, turns
        self._latest: list[Tensor] = []  # sum of sign D(x) and reals of this turn's micro-batches

    def notes(self, factor: float | Tensor = 1.0) -> dict[str, Tensor]:
        return {"augment/p": self.p * factor}

    def forward(self, images: Tensor, draws: Draws, purpose: str, factor: float | Tensor = 1.0) -> Tensor:
        check_images(images, draws)
        p = self.p * factor
        with torch.autocast(images.device.type, enabled=False):  # places in bfloat16 would be off by pixels
            images = images.to(torch.get_default_dtype())
            if self.blit or self.geometry:
                matrix = geometric_matrix(draws, purpose, p * self.blit, p * self.geometry, *images.shape[2:])
                images = warp(images, matrix)
            if self.color:
                matrix = color_matrix(draws, purpose, p * self.color)
                if images.shape[1] == 1:  # as three equal channels, which stay equal
                    matrix = torch.stack([matrix[:, :1, :3].sum(2), matrix[:, :1, 3]], 2)
                images = (matrix[:, :, :-1] @ images.flatten(2) + matrix[:, :, -1:]).view_as(images)
            return cutout(images, draws, purpose, p * self.cutout) if self.cutout else images

    def observe(self, real_logits: Tensor, reals: int) -> None:
        if self.target is not None:  # logits may be of packs of reals, or of several discriminators
            sign = real_logits.detach().sign().to(self.signs.dtype).mean()
            self._latest.append(torch.stack([sign * reals, torch.full_like(sign, reals)]))

    def after(self) -> None:
        if self.target is None:
            return
        latest = torch.stack(self._latest).sum(0)
        self._latest.clear()
        collectives.all_reduce([latest])
        self.signs += torch.cat([latest, latest.new_ones(1)])
        total, count, turns = self.signs
        due = (turns >= self.adjust_every).to(total)
        step = (total / count - self.target).sign() * count / (1000 * self.adjust_kimg)
        self.p.add_(due * step).clamp_(0, 1)
        self.signs.mul_(1 - due)
