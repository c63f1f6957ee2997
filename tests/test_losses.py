"""Every loss against values worked out by hand from the equations in its paper."""

import inspect

import pytest
import torch

from sparring import losses

REAL = torch.tensor([0.5, -1.0, 3.0], dtype=torch.float64)
FAKE = torch.tensor([0.25, 2.0, -1.5], dtype=torch.float64)

TWO_REAL, TWO_FAKE = (torch.stack([logits, logits], 1) for logits in (REAL, FAKE))  # of two discriminators

# log(1 + e^-r) + log(1 + e^f), which three losses share: -log sigmoid(r) - log(1 - sigmoid(f))
CROSS_ENTROPY = [1.3000164040589501, 3.4401896985611957, 0.25000062955649444]
SIGMOID_OF_REAL = [0.6224593312018546, 0.2689414213699951, 0.9525741268224334]

# class: the discriminator's loss of (REAL, FAKE), the generator's of FAKE, the belief in REAL
TABLE = {
    losses.Minimax: (
        CROSS_ENTROPY,
        [-0.8259394198788436, -2.1269280110429727, -0.20141327798275246],  # log(1 - sigmoid(f)) = -log(1 + e^f)
        SIGMOID_OF_REAL,
    ),
    losses.NonSaturating: (
        CROSS_ENTROPY,
        [0.5759394198788437, 0.1269280110429726, 1.7014132779827524],  # -log sigmoid(f) = log(1 + e^-f)
        SIGMOID_OF_REAL,
    ),
    losses.Probability: (
        CROSS_ENTROPY,
        [-0.5621765008857981, -0.8807970779778823, -0.18242552380635635],  # -1 / (1 + e^-f)
        SIGMOID_OF_REAL,
    ),
    losses.LeastSquares: (
        [0.15625, 4.0, 3.125],  # (.25 + .0625)/2, (4 + 4)/2, (4 + 2.25)/2
        [0.28125, 0.5, 3.125],  # .75^2/2, 1^2/2, 2.5^2/2
        [0.5, -1.0, 3.0],
    ),
    losses.Wasserstein: ([-0.25, 3.0, -4.5], [-0.25, -2.0, 1.5], [0.5, -1.0, 3.0]),
    losses.Hinge: (
        [1.75, 5.0, 0.0],  # .5 + 1.25, 2 + 3, 0 + 0
        [-0.25, -2.0, 1.5],
        [0.5, -1.0, 3.0],
    ),
    losses.Relativistic: (
        [0.5759394198788436, 3.048587351573742, 0.011047744848593817],  # log(1 + e^(f-r))
        [0.8259394198788436, 0.04858735157374206, 4.511047744848594],  # log(1 + e^(r-f))
        [0.5, -1.0, 3.0],
    ),
    losses.RelativisticAverage: (
        [1.019364925333587, 2.9396934752326374, 0.15452121651893544],  # log(1 + e^(.25-r)) + log(1 + e^(f-5/6))
        [1.8526982586669205, 0.5230268085659705, 5.237854549852269],  # log(1 + e^(5/6-f)) + log(1 + e^(r-.25))
        [0.5, -1.0, 3.0],
    ),
}
every_loss = pytest.mark.parametrize("loss", TABLE, ids=lambda loss: loss.__name__)


def values(*numbers: float) -> torch.Tensor:
    return torch.tensor(numbers, dtype=torch.float64)


def test_every_loss_has_a_row_of_values_worked_out_by_hand():
    found = {loss for _, loss in inspect.getmembers(losses, inspect.isclass) if issubclass(loss, losses.Loss)}
    assert found - {losses.Loss} == set(TABLE)


@every_loss
def test_both_losses_are_the_papers_and_belief_is_a_probability_for_the_cross_entropy_losses_alone(loss):
    found = loss().discriminator(REAL, FAKE), loss().generator(FAKE, REAL), loss().belief(REAL)
    for tensor, expected in zip(found, TABLE[loss], strict=True):
        torch.testing.assert_close(tensor, values(*expected), rtol=1e-12, atol=1e-12)
    for tensor, of_two in zip(
        found, (loss().discriminator(TWO_REAL, TWO_FAKE), loss().generator(TWO_FAKE, TWO_REAL)), strict=False
    ):
        torch.testing.assert_close(of_two, torch.stack([tensor, tensor], 1))


@every_loss
def test_the_gradients_are_those_of_the_equations(loss):
    real, fake = REAL.clone().requires_grad_(), FAKE.clone().requires_grad_()
    assert torch.autograd.gradcheck(loss().discriminator, (real, fake))
    assert torch.autograd.gradcheck(loss().generator, (fake, real))


@every_loss
def test_logits_of_any_size_give_finite_losses_and_gradients(loss):
    real, fake = values(-1e4, 1e4).requires_grad_(), values(1e4, -1e4).requires_grad_()
    total = loss().discriminator(real, fake).sum() + loss().generator(fake, real).sum()
    total.backward()
    assert total.isfinite() and real.grad.isfinite().all() and fake.grad.isfinite().all()


def test_only_the_saturating_generator_learns_little_when_d_is_sure():
    sure = values(-10.0).requires_grad_()  # D takes the fake for a fake
    slopes = {loss: torch.autograd.grad(loss().generator(sure, values(0.0)).sum(), sure)[0].item() for loss in TABLE}
    assert slopes[losses.Minimax] == pytest.approx(-4.5397868702434395e-05)  # -sigmoid(-10)
    assert slopes[losses.NonSaturating] == pytest.approx(-0.9999546021312976)  # -sigmoid(10)
    assert all(slope < 0 for slope in slopes.values()), "every generator wants higher logits for its fakes"
