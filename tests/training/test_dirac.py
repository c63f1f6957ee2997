"""The Dirac-GAN: what theory says of convergence holds for our losses and penalties (Mescheder et al. 2018)."""

import pytest
import torch

from conftest import engine, fit
from sparring.data.mixture import Dirac
from sparring.data.modalities.points import Points
from sparring.games.clock import Clock
from sparring.games.generation import Generation
from sparring.games.turn import Turn
from sparring.losses import Minimax, NonSaturating, Wasserstein
from sparring.networks import dirac
from sparring.randomness import Draws
from sparring.regularizers.gradients import R1, R2
from sparring.training.optimizers import PlayerOptimizer

STEPS, STEP = 500, 0.1


def game_of(loss, regularizers) -> Generation:
    game = Generation(dirac.Generator(), dirac.Discriminator(), loss, regularizers, latent_dim=1)
    game.modality = Points()
    return game


def alternating(loss, **regularizers) -> list[float]:
    """|(theta, psi)| after 500 iterations of the engine; D's turn comes first."""
    game = game_of(loss, regularizers)
    sgd = {player: PlayerOptimizer(lambda p: torch.optim.SGD(p, STEP)) for player in game.players}
    fit(engine(game, Dirac().drawn().columns, batch_size=1, optimizers=sgd), STEPS, precision="64-true")
    return (game.generator.theta**2 + game.discriminator.psi**2).sqrt().item()


def simultaneous(loss, **regularizers) -> list[float]:
    """The same with both gradients taken before either moves."""
    game = game_of(loss, regularizers).double()
    weights = {"discriminator": game.discriminator.psi, "generator": game.generator.theta}
    columns = {name: column[:1] for name, column in Dirac().drawn().columns.items()}
    for iteration in range(STEPS):
        slopes = {}
        for player, weight in weights.items():
            turn = Turn(game, player, columns, Draws((iteration, player), 1, slice(0, 1)), Clock(iteration=iteration))
            (slopes[player],) = torch.autograd.grad(sum(game.terms(player, turn).values()), weight)
        for player, weight in weights.items():
            weight.data -= STEP * slopes[player]
    return (weights["generator"] ** 2 + weights["discriminator"] ** 2).sqrt().item()


@pytest.mark.parametrize("updates", [alternating, simultaneous])
@pytest.mark.parametrize("loss", [Minimax, NonSaturating])
def test_r1_converges(updates, loss):
    assert updates(loss(), r1=R1(0.3)) < 5e-3


@pytest.mark.parametrize("updates", [alternating, simultaneous])
def test_r2_converges_too(updates):
    assert updates(Minimax(), r2=R2(0.3)) < 5e-3


@pytest.mark.parametrize("loss", [Minimax, NonSaturating, Wasserstein])
def test_without_a_penalty_alternating_updates_circle(loss):
    assert 0.3 < alternating(loss()) < 3, "a hundred times as far away as with R1"


@pytest.mark.parametrize("loss", [Minimax, Wasserstein])
def test_without_a_penalty_simultaneous_updates_move_away(loss):
    assert simultaneous(loss()) > 1.42, "farther than the start, sqrt 2"
