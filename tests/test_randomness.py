"""Every draw is a function of its key, and of nothing else."""

import tracemalloc

import pytest
import torch

from sparring.randomness import Draws, generator, seed_layers, seed_of

KEY = (0, 12, "generator", 0)  # seed, iteration, player, turn
WEIGHTS = torch.tensor([0.1, 0.2, 0.3, 0.4])
KINDS = {
    "normal": lambda draws, purpose: draws.normal(purpose, 3),
    "uniform": lambda draws, purpose: draws.uniform(purpose, 3),
    "choice": lambda draws, purpose: draws.choice(purpose, WEIGHTS),
}
every_kind = pytest.mark.parametrize("draw", KINDS.values(), ids=KINDS)


def the_draws(*key, part=slice(0, 64)) -> Draws:
    return Draws(key or KEY, 64, part)


@every_kind
def test_the_same_key_draws_the_same_numbers(draw):
    assert torch.equal(draw(the_draws(), "latents"), draw(the_draws(), "latents"))
    draws = the_draws()
    first = draw(draws, "latents")
    draw(draws, "others")
    assert torch.equal(first, draw(draws, "latents")), "nothing is remembered between draws"


@every_kind
@pytest.mark.parametrize("i", range(4), ids=["seed", "iteration", "player", "turn"])
def test_every_part_of_the_key_changes_the_numbers(draw, i):
    other = list(KEY)
    other[i] = "discriminator" if i == 2 else KEY[i] + 1
    assert not torch.equal(draw(the_draws(), "latents"), draw(the_draws(*other), "latents"))


@every_kind
def test_another_purpose_draws_other_numbers(draw):
    assert not torch.equal(draw(the_draws(), "latents"), draw(the_draws(), "labels"))


def test_a_seed_tells_order_and_type_of_the_key_and_is_the_same_in_every_process():
    seeds = [seed_of(1, 2), seed_of(2, 1), seed_of("1", 2), seed_of(12), seed_of("1, 2"), seed_of(1, 2, "")]
    assert len(set(seeds)) == len(seeds)
    assert all(0 <= seed < 2**63 for seed in seeds)
    assert seed_of(7, 0, "generator", 0, "latents") == 8076704579731915192  # Python's own hash() differs by process


@every_kind
@pytest.mark.parametrize("ranks", [2, 4, 64])
def test_the_ranks_slices_together_are_the_draws_of_one_process(draw, ranks):
    size = 64 // ranks
    slices = [the_draws(part=slice(rank * size, (rank + 1) * size)) for rank in range(ranks)]
    assert all(len(part) == size for part in slices)
    assert torch.equal(torch.cat([draw(part, "latents") for part in slices]), draw(the_draws(), "latents"))


@every_kind
def test_micro_batches_draw_their_part_of_the_ranks_numbers(draw):
    rank = the_draws(part=slice(16, 32))
    micro = [rank.only(slice(start, start + 4)) for start in range(0, 16, 4)]
    assert [len(part) for part in micro] == [4] * 4
    assert torch.equal(torch.cat([draw(part, "latents") for part in micro]), draw(rank, "latents"))
    assert torch.equal(draw(micro[1].only(slice(1, 3)), "latents"), draw(the_draws(), "latents")[21:23])
    assert torch.equal(
        draw(the_draws(part=slice(None)).only(slice(2, 4)), "latents"), draw(the_draws(), "latents")[2:4]
    )


@every_kind
def test_nothing_depends_on_torchs_global_generator_or_changes_it(draw):
    torch.manual_seed(1)
    state, first = torch.get_rng_state(), draw(the_draws(), "latents")
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(draw(the_draws(), "latents"), first)


def test_the_numbers_have_the_shape_and_distribution_that_was_asked_for():
    draws = Draws(KEY, 20_000, slice(0, 20_000))
    normal, uniform = draws.normal("a", 2), draws.uniform("b", 1, 1)
    assert normal.shape == (20_000, 2) and uniform.shape == (20_000, 1, 1)
    assert abs(normal.mean()) < 0.02 and abs(normal.std() - 1) < 0.02
    assert uniform.min() >= 0 and uniform.max() < 1
    assert abs(uniform.mean() - 0.5) < 0.01 and abs(uniform.var() - 1 / 12) < 0.002
    shares = draws.choice("c", 5 * WEIGHTS).bincount(minlength=4) / 20_000
    torch.testing.assert_close(shares, WEIGHTS, rtol=0, atol=0.015)


def test_a_generator_of_the_same_key_starts_anew():
    first, second = generator(3, "order"), generator(3, "order")
    assert torch.equal(torch.randperm(50, generator=first), torch.randperm(50, generator=second))
    assert not torch.equal(torch.randperm(50, generator=first), torch.randperm(50, generator=generator(3, "order")))


def test_seeding_layers_decides_their_draws_and_holds_no_memory():
    """``torch.manual_seed`` would keep a stack trace of every call."""
    seed_layers(0, 2, device=torch.device("cpu"))
    drawn = torch.rand(2)
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for i in range(200):
        seed_layers(0, i, device=torch.device("cpu"))
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 200 * 100
    seed_layers(0, 2, device=torch.device("cpu"))
    assert torch.equal(torch.rand(2), drawn)
