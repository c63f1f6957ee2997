"""The language model: what it draws, how likely it says that is, and where its gradient goes."""

import pytest
import torch
from torch.nn.functional import one_hot

from sparring.networks.text_lstm import Discriminator, Generator
from sparring.randomness import Draws


def gumbel(count: int, length: int, symbols: int, key: int = 0) -> torch.Tensor:
    return -(-Draws((key,), count, slice(0, count)).uniform("latents", length, symbols).clamp(min=1e-30).log()).log()


def a_generator(**options) -> Generator:
    torch.manual_seed(0)
    generator = Generator(4, 3, width=8, **options)
    for weight in generator.parameters():
        torch.nn.init.normal_(weight, std=0.7)
    return generator


def all_texts() -> torch.Tensor:
    """Each of the 64 texts of 3 units, one-hot."""
    return one_hot(torch.cartesian_prod(*[torch.arange(4)] * 3), 4).float()


def test_the_probabilities_of_all_texts_sum_to_one():
    assert a_generator().log_likelihood(all_texts()).sum(1).exp().sum().item() == pytest.approx(1, abs=1e-5)


@torch.no_grad()
def test_what_is_drawn_is_as_frequent_as_the_model_says():
    generator, count = a_generator(), 40_000
    drawn = generator(gumbel(count, 3, 4)).argmax(2) @ torch.tensor([16, 4, 1])
    expected = generator.log_likelihood(all_texts()).sum(1).exp()
    torch.testing.assert_close(drawn.bincount(minlength=64) / count, expected, atol=0.008, rtol=0)


@torch.no_grad()
def test_samples_are_one_hot_and_those_of_low_temperature_are_likelier():
    found = {}
    for temperature in (0.3, 1.0):
        generator = a_generator(temperature=temperature)
        texts = generator(gumbel(500, 3, 4))
        assert set(texts.unique().tolist()) == {0.0, 1.0} and torch.equal(texts.sum(2), torch.ones(500, 3))
        found[temperature] = generator.log_likelihood(texts).mean()
    assert found[0.3] > found[1.0] + 0.1


def test_the_gradient_of_a_unit_is_that_of_the_soft_one_and_reaches_what_stood_before_it():
    generator = a_generator(tau=0.7)
    noise = gumbel(2, 1, 4).requires_grad_()
    value = torch.randn(4)
    made = generator(noise)
    (found,) = torch.autograd.grad((made[:, 0] * value).sum(), noise, retain_graph=True)
    state, _ = generator.recurrent(generator.first.expand(2, 1, -1))
    scores = (generator.out(state[:, 0]) + noise[:, 0]).detach().requires_grad_()
    (expected,) = torch.autograd.grad(((scores / 0.7).softmax(1) * value).sum(), scores)
    torch.testing.assert_close(found[:, 0], expected)
    noise = gumbel(2, 3, 4).requires_grad_()
    (reached,) = torch.autograd.grad((generator(noise)[:, 2] * value).sum(), noise)
    assert (reached.abs().sum(2) > 0).all()


def test_a_text_depends_on_its_own_noise_alone():
    generator, noise = a_generator(), gumbel(6, 3, 4)
    assert torch.equal(generator(noise)[2:4], generator(noise[2:4]))


def test_a_critic_is_differentiable_twice_and_sees_the_order_of_units():
    torch.manual_seed(0)
    critic, texts = Discriminator(4, width=6), all_texts().requires_grad_()
    (gradient,) = torch.autograd.grad(critic(texts).sum(), texts, create_graph=True)
    gradient.square().sum().backward()
    assert all(block[0].weight.grad.abs().sum() > 0 for block in critic.blocks)
    assert critic.features(texts).shape == (64, critic.feature_dim)
    assert len(critic(all_texts()).unique()) > 50
