"""The loop that people write by hand, after PyTorch's DCGAN example, around given networks, optimizers and batches."""

import copy
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn, ones_like, zeros_like
from torch.nn.functional import binary_cross_entropy_with_logits as cross_entropy
from torch.nn.functional import relu

from sparring.games.generation import Generation
from sparring.losses import Hinge, NonSaturating

# What is minimised, of logits (batch,): D's loss of reals, D's loss of fakes, G's loss of fakes.
EQUATIONS = {
    NonSaturating: (
        lambda logits: cross_entropy(logits, ones_like(logits)),
        lambda logits: cross_entropy(logits, zeros_like(logits)),
        lambda logits: cross_entropy(logits, ones_like(logits)),
    ),
    Hinge: (
        lambda logits: relu(1 - logits).mean(),
        lambda logits: relu(1 + logits).mean(),
        lambda logits: -logits.mean(),
    ),
}


class BaselineLoop:
    """Discriminator on reals, on fakes, its step; generator, its step; losses and D's means read in each iteration.

    As in the example, D's gradients of the generator's turn are computed and dropped, and weights have PyTorch's
    default memory format.

    Args:
        game: its networks, loss and latents are used; unconditional, without regularizers.
        reals: endless batches (batch, C, H, W) in [-1, 1].
        optimizers: build each player's optimizer from its parameters.
        n_dis: steps of the discriminator per iteration.
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
        layout = {"memory_format": torch.contiguous_format}
        self.generator = copy.deepcopy(game.generator).to(device).to(**layout)
        self.discriminator = copy.deepcopy(game.discriminator).to(device).to(**layout)
        self.optimizer_g = optimizers["generator"](list(self.generator.parameters()))
        self.optimizer_d = optimizers["discriminator"](list(self.discriminator.parameters()))
        self.loss_of_reals, self.loss_of_fakes, self.loss_of_generator = EQUATIONS[type(game.loss)]
        self.reals, self.latent_dim, self.device = reals, game.latent_dim, device
        self.n_dis, self.reuse_fakes = n_dis, reuse_fakes

    def iterate(self, times: int) -> None:
        for _ in range(times):
            self.iteration()

    def iteration(self) -> list[float]:
        """Do one iteration; return both losses, and D's mean of reals, and of fakes before and after its step."""
        for _ in range(self.n_dis):
            self.discriminator.zero_grad()
            real = next(self.reals).to(self.device)
            real_logits = self.discriminator(real)
            loss_real = self.loss_of_reals(real_logits)
            loss_real.backward()
            mean_real = real_logits.mean().item()
            fake = self.generator(self.latents(len(real)))
            fake_logits = self.discriminator(fake.detach())
            loss_fake = self.loss_of_fakes(fake_logits)
            loss_fake.backward()
            mean_fake = fake_logits.mean().item()
            loss_d = loss_real + loss_fake
            self.optimizer_d.step()

        self.generator.zero_grad()
        if not self.reuse_fakes:
            fake = self.generator(self.latents(len(real)))
        logits = self.discriminator(fake)
        loss_g = self.loss_of_generator(logits)
        loss_g.backward()
        mean_after = logits.mean().item()
        self.optimizer_g.step()
        return [loss_d.item(), loss_g.item(), mean_real, mean_fake, mean_after]

    def latents(self, count: int) -> Tensor:
        """Draw latents (count, latent_dim)."""
        return torch.randn(count, self.latent_dim, device=self.device)
