"""How a player learns."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from sparring.training.schedules import Constant, Schedule, at


@dataclass
class PlayerOptimizer:
    """How one player learns.

    Args:
        build: makes the optimizer from its parameters.
        schedule: factor of the learning rate as a function of kimg.
        clip_norm: largest norm of the player's whole gradient; None for no clipping.
        beta2_schedule: factor of Adam's second beta as a function of kimg; None for a constant one.
    """

    build: Callable[[list[nn.Parameter]], torch.optim.Optimizer]
    schedule: Schedule = Constant()
    clip_norm: float | None = None
    beta2_schedule: Schedule | None = None

    def lr(self, base: dict[str, Any], kimg: float) -> float | Tensor:
        """The learning rate at the clock's ``kimg``; ``base`` are the optimizer's defaults."""
        return at(lambda now: float(base["lr"]) * self.schedule(now), kimg)

    def follow(self, optimizer: torch.optim.Optimizer, base: dict[str, Any], kimg: float) -> None:
        """Set what is scheduled as it is to be at ``kimg``."""
        for group in optimizer.param_groups:
            group["lr"] = self.lr(base, kimg)
            if self.beta2_schedule is not None:
                group["betas"] = (base["betas"][0], base["betas"][1] * self.beta2_schedule(kimg))


def set_capturable(optimizer: torch.optim.Optimizer, capturable: bool, device: torch.device) -> None:
    """Whether its steps may be recorded as part of a CUDA graph, whatever it was when its state was stored."""
    for group in optimizer.param_groups:
        if "capturable" in group:
            group["capturable"] = capturable
    if capturable:
        optimizer._warned_capturable_if_run_uncaptured = True  # the first iterations are, on purpose
        for state in optimizer.state.values():
            if "step" in state:
                state["step"] = torch.as_tensor(state["step"], dtype=torch.float32, device=device)
