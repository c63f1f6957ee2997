"""The generator's running average, which is shown, scored and published."""

# pyright: reportPrivateImportUsage=false

import copy

import torch
from torch import Tensor, nn

from sparring.regularizers.base import Schedule
from sparring.training.schedules import Constant


class EMA(nn.Module):
    """Exponential moving average of a network's parameters; its buffers are copied.

    After an update that saw n images the average keeps 0.5**(n / half-life) of itself. During the first part of
    training the half-life is shortened to ``rampup`` times the images seen so far (Karras et al. 2020, StyleGAN2-ADA),
    so that the random initialisation is soon forgotten.

    Args:
        network: what is averaged; a copy is kept and never trained.
        half_life_kimg: thousands of images after which half of the average is new. 0 copies the network.
        rampup: share of the images seen so far that bounds the half-life; ``None`` for no ramp.
        schedule: factor of the half-life as a function of kimg; None for a constant one.
    """

    def __init__(
        self,
        network: nn.Module,
        half_life_kimg: float,
        rampup: float | None = None,
        schedule: Schedule | None = None,
    ):
        super().__init__()
        self.network = copy.deepcopy(network).requires_grad_(False).eval()
        self.half_life_kimg = half_life_kimg
        self.rampup = rampup
        self.schedule = schedule or Constant()

    def decay(self, kimg: float, step_kimg: float) -> float:
        """Return the share of the old average in the update that brings the clock to ``kimg`` and saw ``step_kimg``."""
        half_life = self.half_life_kimg * self.schedule(kimg)
        if self.rampup is not None:
            half_life = min(half_life, self.rampup * kimg)
        return 0.5 ** (step_kimg / half_life) if half_life > 0 else 0.0

    @torch.no_grad()
    def update(self, network: nn.Module, share: float | Tensor) -> None:
        """Move the average by ``share``, 1 - decay, of the way to ``network``: one fused call for all parameters."""
        average: list[Tensor] = list(self.network.parameters())
        new: list[Tensor] = list(network.parameters())
        if isinstance(share, Tensor):  # lerp would wait for its value
            torch._foreach_add_(average, torch._foreach_mul(torch._foreach_sub(new, average), share))
        else:
            torch._foreach_lerp_(average, new, share)
        if buffers := list(network.buffers()):
            torch._foreach_copy_(list(self.network.buffers()), buffers)
