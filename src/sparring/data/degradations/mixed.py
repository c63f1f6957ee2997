"""Several degradations; each image gets one."""

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor, nn

from sparring.data.degradations.base import Degradation, choose_per_image
from sparring.randomness import Draws


class Mixed(Degradation):
    """Each image is damaged by one of ``parts``, drawn with equal probability; without lost pixels its mask is 0.

    All parts are computed for all images, so that nothing waits for what was drawn.

    Args:
        parts: by name; at least one, and each keeps the image's size.
    """

    def __init__(self, parts: Mapping[str, Degradation]):
        super().__init__()
        if not parts:
            raise ValueError("parts={}: name at least one degradation")
        for name, part in parts.items():
            if part.image_size(64) != 64:
                raise ValueError(f"parts.{name}: {type(part).__name__} changes the size, which all must keep")
        self.parts: Mapping[str, Degradation] = nn.ModuleDict(parts)  # pyright: ignore[reportAttributeAccessIssue]
        self.masks = any(part.masks for part in parts.values())

    def damage(self, images: Tensor, draws: Draws) -> tuple[Tensor, Tensor | None]:
        nothing = torch.zeros_like(images[:, :1])
        damaged, masks = [], []
        for name, part in self.parts.items():
            result, mask = part.damage(images, replace(draws, key=(*draws.key, "degradation part", name)))
            damaged.append(result)
            masks.append(nothing if mask is None else mask)
        purpose = "degradation part"  # the same for images and masks
        mask = choose_per_image(masks, draws, purpose) if self.masks else None
        return choose_per_image(damaged, draws, purpose), mask

    def check_fits(self, size: int) -> None:
        for part in self.parts.values():
            part.check_fits(size)
