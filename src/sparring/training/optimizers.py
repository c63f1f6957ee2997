"""How a player learns."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import nn

from sparring.games.clock import Clock
from sparring.regularizers.base import Schedule
from sparring.training.schedules import Constant


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

    def lr(self, optimizer: torch.optim.Optimizer, kimg: float) -> float:
        """Return the learning rate at ``kimg``."""
        return float(optimizer.defaults["lr"]) * self.schedule(kimg)

    def follow_schedules(self, optimizer: torch.optim.Optimizer, clock: Clock) -> None:
        """Set what is scheduled to its value now."""
        lr = clock.scheduled(lambda kimg: self.lr(optimizer, kimg))
        for group in optimizer.param_groups:
            group["lr"] = lr
            if self.beta2_schedule is not None:
                beta1, beta2 = optimizer.defaults["betas"]
                group["betas"] = (beta1, beta2 * self.beta2_schedule(clock.kimg_at(clock.iteration)))


def set_capturable(optimizer: torch.optim.Optimizer, capturable: bool, device: torch.device) -> None:
    """Decide whether its steps can be recorded as part of a CUDA graph, whatever its stored state says."""
    for group in optimizer.param_groups:
        if "capturable" in group:
            group["capturable"] = capturable
    if capturable:
        optimizer._warned_capturable_if_run_uncaptured = True  # the first iterations are not captured, on purpose
        for state in optimizer.state.values():
            if "step" in state:
                state["step"] = torch.as_tensor(state["step"], dtype=torch.float32, device=device)
