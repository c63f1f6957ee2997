"""Adversarial losses, an equation each.

r = D(x) and f = D(G(z)) are logits, (batch,), or (batch, n) for n discriminators. Every method returns a tensor of
their shape: the unreduced loss, to be minimised. sp is softplus, so that -log sigmoid(x) = sp(-x).
"""

from abc import ABC, abstractmethod

from torch import Tensor
from torch.nn.functional import relu, softplus


class Loss(ABC):
    """What the two players minimise.

    Attributes:
        generator_needs_reals: the generator's loss compares fakes with reals.
        couples_batch: the loss of an example depends on the others of its batch, so that ranks differ from one process.
    """

    generator_needs_reals = False
    couples_batch = False

    @abstractmethod
    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        """Return the discriminator's loss of each pair of logits."""

    @abstractmethod
    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        """Return the generator's loss of each fake's logits; ``real`` is given if ``generator_needs_reals``."""

    def belief(self, logits: Tensor) -> Tensor:
        """Return D(x) as the loss's paper defines it: a probability for the cross-entropy losses, else the logits."""
        return logits


class Minimax(Loss):
    """D: sp(-r) + sp(f). G: -sp(f), which saturates when D wins (Goodfellow et al. 2014, eq. 1)."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(-real) + softplus(fake)

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return -softplus(fake)

    def belief(self, logits: Tensor) -> Tensor:
        return logits.sigmoid()


class NonSaturating(Minimax):
    """D as in minimax. G: sp(-f) = -log D(G(z)) (Goodfellow et al. 2014, section 3)."""

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return softplus(-fake)


class Probability(Minimax):
    """D as in minimax. G: -sigmoid(f), which maximises D's belief E[D(G(z))] itself."""

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return -fake.sigmoid()


class LeastSquares(Loss):
    """D: (r-1)^2/2 + f^2/2. G: (f-1)^2/2 (Mao et al. 2017, LSGAN, eq. 9)."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return ((real - 1).square() + fake.square()) / 2

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return (fake - 1).square() / 2


class Wasserstein(Loss):
    """D: f - r. G: -f (Arjovsky et al. 2017). D must be kept Lipschitz: weight_clipping or gradient_penalty."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return fake - real

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return -fake


class Hinge(Loss):
    """D: relu(1-r) + relu(1+f). G: -f (Lim & Ye 2017, Geometric GAN; Miyato et al. 2018, eq. 16-17)."""

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return relu(1 - real) + relu(1 + fake)

    def generator(self, fake: Tensor, real: Tensor | None = None) -> Tensor:
        return -fake


class Relativistic(Loss):
    """D: sp(-(r-f)). G: sp(-(f-r)). Reals and fakes in pairs (Jolicoeur-Martineau 2019, RpGAN; R3GAN, eq. 2)."""

    generator_needs_reals = True

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(fake - real)

    def generator(self, fake: Tensor, real: Tensor) -> Tensor:
        return self.discriminator(fake, real)


class RelativisticAverage(Loss):
    """D: sp(-(r-mean f)) + sp(f-mean r). G: with the roles swapped (Jolicoeur-Martineau 2019, RaGAN, eq. 4-5).

    The means are those of the batch that a rank sees.
    """

    generator_needs_reals = True
    couples_batch = True

    def discriminator(self, real: Tensor, fake: Tensor) -> Tensor:
        return softplus(fake.mean(0) - real) + softplus(fake - real.mean(0))

    def generator(self, fake: Tensor, real: Tensor) -> Tensor:
        return self.discriminator(fake, real)
