"""The loop that people write by hand, after PyTorch's DCGAN example, around the same networks, optimizer and batches."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits, relu

from sparring.games.generation import Generation


@dataclass(frozen=True)
class Equations:
    """What is minimised of logits (batch,): D's of reals and of fakes, and G's."""

    real: Callable[[Tensor], Tensor]
    fake: Callable[[Tensor], Tensor]
    generator: Callable[[Tensor], Tensor]


def _towards(label: float) -> Callable[[Tensor], Tensor]:
    return lambda logits: binary_cross_entropy_with_logits(logits, torch.full_like(logits, label))


EQUATIONS = {
    "NonSaturating": Equations(_towards(1.0), _towards(0.0), _towards(1.0)),
    "Hinge": Equations(
        lambda logits: relu(1 - logits).mean(), lambda logits: relu(1 + logits).mean(), lambda logits: -logits.mean()
    ),
}


class PlainLoop:
    """Discriminator on reals, on fakes, its step; generator, its step; losses and D's means read in each iteration.

    As the example does it: D's gradients of the generator's turn are computed and thrown away, and weights lie in PyTorch's
    default order.

    Args:
        game: whose networks, loss and latents are taken; unconditional, without regularizers.
        reals: endless batches (batch, C, H, W) in [-1, 1].
        optimizers: of each player, from its parameters.
        n_dis: steps of the discriminator an iteration.
        reuse_fakes: show the fakes of the discriminator's (last) step to the generator's turn, as the example does.
        device: where it computes.
    """

    def __init__(
        self,
        game: Generation,
        reals: Iterator[Tensor],
        optimizers: dict[str, Callable[[list[nn.Parameter]], torch.optim.Optimizer]],
        n_dis: int = 1,
        reuse_fakes: bool = True,
        device: torch.device | str = "cpu",
    ):
        copies = [copy.deepcopy(network) for network in (game.generator, game.discriminator)]
        self.generator, self.discriminator = (c.to(device, memory_format=torch.contiguous_format) for c in copies)
        self.optimizer_g = optimizers["generator"](list(self.generator.parameters()))
        self.optimizer_d = optimizers["discriminator"](list(self.discriminator.parameters()))
        self.equations = EQUATIONS[type(game.loss).__name__]
        self.reals, self.latent_dim, self.device = reals, game.latent_dim, device
        self.n_dis, self.reuse_fakes = n_dis, reuse_fakes
        self.read: list[float] = []

    def iterate(self, times: int) -> None:
        for _ in range(times):
            self.read = self.iteration()

    def iteration(self) -> list[float]:
        """One iteration; what it read: both losses, D's mean of reals, of fakes before and after its step."""
        for _ in range(self.n_dis):
            self.discriminator.zero_grad()
            real = next(self.reals).to(self.device)
            real_logits = self.discriminator(real)
            loss_real = self.equations.real(real_logits)
            loss_real.backward()
            mean_real = real_logits.mean().item()
            fake = self._fakes(len(real))
            fake_logits = self.discriminator(fake.detach())
            loss_fake = self.equations.fake(fake_logits)
            loss_fake.backward()
            mean_fake = fake_logits.mean().item()
            loss_d = loss_real + loss_fake
            self.optimizer_d.step()

        self.generator.zero_grad()
        if not self.reuse_fakes:
            fake = self._fakes(len(real))
        logits = self.discriminator(fake)
        loss_g = self.equations.generator(logits)
        loss_g.backward()
        mean_after = logits.mean().item()
        self.optimizer_g.step()
        return [loss_d.item(), loss_g.item(), mean_real, mean_fake, mean_after]

    def _fakes(self, count: int) -> Tensor:
        return self.generator(torch.randn(count, self.latent_dim, device=self.device))
