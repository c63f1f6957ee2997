"""CycleGAN: there and back, by hand with generators that multiply; the pool of earlier fakes; going on after a stop."""

import numpy as np
import pytest
import torch
from torch import nn

from conftest import engine, fit
from sparring.augment.diffaugment import DiffAugment
from sparring.config.errors import UserError
from sparring.data.cache import load
from sparring.games.clock import Clock
from sparring.games.cyclegan import CycleGAN
from sparring.games.image_pool import ImagePool
from sparring.games.turn import Turn
from sparring.losses import LeastSquares
from sparring.networks import cyclegan, patch
from sparring.randomness import Draws
from sparring.regularizers.generator import PathLength
from sparring.regularizers.lecam import LeCam
from sparring.training.build import build_game, build_module, open_source
from sparring.training.callbacks.checkpoints import Checkpoints
from sparring.training.stored_weights import open_sampler
from turns import float64 as float64

pytestmark = pytest.mark.usefixtures("float64")


class Factor(nn.Module):
    """G(x) = a x"""

    def __init__(self, a: float):
        super().__init__()
        self.a = nn.Parameter(torch.tensor(a))

    def forward(self, condition):
        return self.a * condition


class Mean(nn.Module):
    """D(x) = w times the mean of x"""

    def __init__(self, w: float):
        super().__init__()
        self.w = nn.Parameter(torch.tensor(w))

    def forward(self, images, labels=None):
        return self.w * images.mean((1, 2, 3))


def a_game(there=0.5, back=3.0, judges=(2.0, -1.0), **options) -> CycleGAN:
    networks = Factor(there), Mean(judges[0]), Factor(back), Mean(judges[1])
    settings = {"image_size": 2, "channels": 1, "input_channels": 1, "pool": 0} | options
    return CycleGAN(*networks, settings.pop("loss", LeastSquares()), **settings)


def a_turn(game, player, iteration=0, count=2) -> Turn:
    """Inputs x = 1 and images y = -1 everywhere."""
    batch = {"images": torch.zeros(count, 1, 2, 2, dtype=torch.uint8)}
    batch["inputs"] = torch.full_like(batch["images"], 255)
    return Turn(
        game, player, batch, Draws((0, iteration, player, 0), count, slice(0, count)), Clock(iteration=iteration)
    )


def test_the_generators_terms_are_those_worked_out_by_hand():
    game = a_game()
    terms = game.terms("generator", a_turn(game, "generator"))
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(
        {
            "there/adversarial": (2 * 0.5 - 1) ** 2 / 2,  # D says 1 of G(x) = 0.5
            "back/adversarial": (-1 * -3 - 1) ** 2 / 2,  # and its like 3 of F(y) = -3
            "cycle": 10 * (abs(3 * 0.5 - 1) + abs(0.5 * -3 + 1)),
            "identity": 5 * (abs(0.5 * -1 + 1) + abs(3 - 1)),
        }
    )
    game = a_game(cycle_weight=2.0, identity_weight=0.0)
    terms = game.terms("generator", a_turn(game, "generator"))
    assert "identity" not in terms and terms["cycle"].item() == pytest.approx(2)


def test_the_discriminators_terms_are_those_worked_out_by_hand():
    game = a_game(adversarial_weight=3.0)  # of the generators
    turn = a_turn(game, "discriminator")
    terms = game.terms("discriminator", turn)
    assert {name: value.item() for name, value in terms.items()} == pytest.approx(
        {"there/adversarial": (9 + 1) / 2, "back/adversarial": (4 + 9) / 2}
    )
    told = {name: value.item() for name, value in turn.notes.items()}
    assert told == {"there/D(x)": -2, "there/D(G(z))": 1, "back/D(x)": -1, "back/D(G(z))": 3}


def test_the_cycle_and_the_identity_teach_either_generator():
    game = a_game()
    terms = game.terms("generator", a_turn(game, "generator"))
    slopes = {
        name: [g.item() for g in torch.autograd.grad(terms[name], [game.there.generator.a, game.back.generator.a])]
        for name in ("cycle", "identity")
    }
    # cycle: 10 (|b a - 1| + |1 - a b|), b a = 1.5; identity: 5 (|1 - a| + |b - 1|)
    assert slopes == {"cycle": [20 * 3.0, 20 * 0.5], "identity": [-5.0, 5.0]}


def test_the_halves_remember_apart():
    game = a_game(regularizers={"lecam": LeCam(start=100)})
    assert game.there.augment is None and game.there.regularizers["lecam"] is not game.back.regularizers["lecam"]
    turn = a_turn(game, "discriminator")
    game.terms("discriminator", turn)
    with torch.no_grad():
        game.after("discriminator", turn)
    assert game.there.regularizers["lecam"].means.flatten().tolist() == [-2, 1]  # logits of the reals, of the fakes
    assert game.back.regularizers["lecam"].means.flatten().tolist() == [-1, 3]
    game = a_game(augment=DiffAugment())
    assert game.there.augment is not game.back.augment is not None


def test_the_producer_goes_there():
    game, x = a_game(), torch.ones(1, 1, 2, 2)
    assert game.producer is game.there.generator
    assert game.produce(None, x).unique().item() == 0.5 and game.produce(None, x, Factor(7.0)).unique().item() == 7
    assert torch.equal(game.condition({"inputs": x, "images": -x}, None), x)
    assert list(game.baselines(x, (2, 2))) == ["input"] and torch.equal(game.condition_for(x, 0 * x), x)


# ---- the pool -----------------------------------------------------------------------------------------------------


def numbered(first: int, count: int) -> torch.Tensor:
    """Fakes that are known by their only number."""
    return torch.arange(first, first + count).double().view(-1, 1, 1, 1)


def shown(pool: ImagePool, batch: int, times: int) -> list[list[float]]:
    """What discriminators see of fakes 0, 1, ... that come in batches."""
    return [
        pool(numbered(i * batch, batch), Draws((0, i), batch, slice(0, batch))).flatten().tolist() for i in range(times)
    ]


def test_a_pool_is_filled_by_fakes_that_are_shown():
    pool = ImagePool(7, (1, 1, 1))
    assert shown(pool, 3, 3) == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert pool.kept.flatten().tolist() == list(range(7))


@pytest.mark.parametrize("batch", [1, 4])
def test_then_half_of_what_is_shown_are_older_fakes_and_each_is_shown_in_its_place_once(batch):
    pool, times = ImagePool(8, (1, 1, 1)), 4000 // batch
    seen = shown(pool, batch, times)
    later = [
        (value, i * batch + j) for i, values in enumerate(seen) for j, value in enumerate(values) if i * batch >= 8
    ]
    old = [value for value, now in later if value != now]
    assert len(old) / len(later) == pytest.approx(0.5, abs=0.03)
    assert len(set(old)) == len(old), "what is shown leaves the pool"
    gone = {value for value, _ in later}
    assert not gone & set(pool.kept.flatten().tolist()), "and what was shown at once was not kept"
    ages = torch.tensor([now - value for value, now in later if value != now])
    assert set((ages % 8).tolist()) == set(range(8)), "they leave from any place"


def test_a_batch_larger_than_the_pool_changes_as_many_as_it_holds():
    pool = ImagePool(3, (1, 1, 1))
    seen = shown(pool, 5, 40)
    assert seen[0] == [0, 1, 2, 3, 4]
    for i, values in enumerate(seen):
        assert len(values) == 5 and values[3:] == [5 * i + 3, 5 * i + 4]
    assert any(values[:3] != [5 * i, 5 * i + 1, 5 * i + 2] for i, values in enumerate(seen))


def test_without_a_pool_the_newest_are_shown():
    assert shown(ImagePool(0, (1, 1, 1)), 2, 3) == [[0, 1], [2, 3], [4, 5]]


def test_the_discriminators_alone_are_shown_the_pool():
    game = a_game(pool=2)
    game.terms("discriminator", a_turn(game, "discriminator"))
    assert game.pools["there"].kept.unique().tolist() == [0.5] and game.pools["back"].kept.unique().tolist() == [-3]
    with torch.no_grad():
        game.there.generator.a.fill_(0.7)
    seen = set()
    for iteration in range(1, 12):
        turn = a_turn(game, "discriminator", iteration)
        terms = game.terms("discriminator", turn)
        fakes = turn.parts["there"].fakes
        seen |= set(fakes.mean((1, 2, 3)).tolist())
        expected = (9 + (2 * fakes.mean((1, 2, 3))) ** 2).mean().item() / 2
        assert terms["there/adversarial"].item() == pytest.approx(expected)
    assert seen == {0.5, 0.7}
    before = game.pools["there"].seen.item()
    game.terms("generator", a_turn(game, "generator"))
    assert game.pools["there"].seen.item() == before


# ---- training -----------------------------------------------------------------------------------------------------


def trainable(pool: int = 6, **options):
    """A small one of the published networks, inputs twice as many as images."""
    torch.manual_seed(0)
    draw = torch.Generator().manual_seed(0)
    columns = {
        "images": torch.randint(0, 256, (10, 1, 8, 8), generator=draw, dtype=torch.uint8),
        "inputs": torch.randint(0, 256, (20, 3, 8, 8), generator=draw, dtype=torch.uint8),
    }

    def maker(before, after):
        return cyclegan.Generator(8, before, after, width=2, blocks=1)

    def judge(channels):
        return patch.Discriminator(8, channels, width=2, norm="none", layers=1)

    options = {"image_size": 8, "channels": 1, "input_channels": 3, "identity_weight": 0.0, "pool": pool} | options
    regularizers = {"lecam": LeCam(start=1)}
    game = CycleGAN(maker(3, 1), judge(1), maker(1, 3), judge(3), LeastSquares(), regularizers, **options)
    module = engine(game, columns, batch_size=4, n_dis=2, accumulate=2)
    module.batches.paired = False
    return module


def test_a_run_that_is_stopped_goes_on_bit_for_bit_with_its_pool(tmp_path):
    fit(whole := trainable(), 7, precision="64-true")
    fit(trainable(), 3, [Checkpoints(tmp_path, every_kimg=1000)], precision="64-true")
    fit(rest := trainable(), 7, precision="64-true", resume=tmp_path / "last.ckpt")
    one, other = whole.state_dict(), rest.state_dict()
    assert one.keys() == other.keys() and "game.pools.there.kept" in one and one["game.pools.back.seen"] == 7 * 2 * 4
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
    assert one["game.pools.back.kept"].abs().sum() > 0


def test_all_four_networks_learn():
    module = trainable()
    start = {name: value.clone() for name, value in module.game.named_parameters() if value.ndim > 1}
    fit(module, 1, precision="64-true")
    assert all(not torch.equal(value, start[name]) for name, value in module.game.named_parameters() if value.ndim > 1)


def test_going_there_and_back_comes_to_leave_an_image_as_it_was():
    game = a_game(cycle_weight=100.0, identity_weight=0.0)
    draw = torch.Generator().manual_seed(0)
    columns = {
        name: torch.randint(0, 256, (16, 1, 2, 2), generator=draw, dtype=torch.uint8) for name in ("images", "inputs")
    }
    fit(engine(game, columns, lr=0.02), 60, precision="64-true")
    assert game.there.generator.a.item() * game.back.generator.a.item() == pytest.approx(1, abs=0.1)  # at first 1.5


def refusal(game: CycleGAN, **columns) -> str:
    with pytest.raises(UserError) as error:
        game.check_fits(game.producer, columns)
    return str(error.value)


def test_what_does_not_fit_is_refused_before_training():
    def grey(count=3, channels=1):
        return torch.zeros(count, channels, 2, 2, dtype=torch.uint8)

    game = a_game()
    game.check_fits(game.producer, {"images": grey(), "inputs": grey(5)})
    assert "data=unpaired" in refusal(game, images=grey())
    module = trainable(identity_weight=5.0)
    assert "model.identity_weight=5.0" in refusal(module.game, **module.batches.columns)
    module = trainable()
    module.game.back.generator = Factor(1.0)
    assert "the way back: the generator makes (1, 8, 8)" in refusal(module.game, **module.batches.columns)
    game = a_game(regularizers={"it": PathLength()})
    assert "regularizer.it" in refusal(game, images=grey(), inputs=grey())


def test_the_way_back_makes_inputs_of_images(composed, tmp_path):
    columns = {"images": torch.randint(0, 256, (20, 3, 32, 32), dtype=torch.uint8)}
    np.savez(tmp_path / "pairs.npz", a=columns["images"].permute(0, 2, 3, 1), b=columns["images"].permute(0, 2, 3, 1))
    cfg = composed("data=unpaired", f"data.path={tmp_path / 'pairs.npz'}", "model.width=8", "data.aligned=true")
    data = load(open_source(cfg), tmp_path / "cache")
    module = build_module(cfg, build_game(cfg), data)
    clock = {"global_step": 7, "kimg": 0.1}
    torch.save({"state_dict": module.state_dict()} | clock, tmp_path / "last.ckpt")
    sampler = open_sampler(cfg, tmp_path / "last.ckpt", data=data, back=True)
    assert torch.equal(sampler.examples["inputs"], module.held_out["images"])
    made = sampler.show(None, sampler.inputs(range(2)))
    game = module.game.eval()
    assert torch.equal(made, game.as_data(game.back.generator(game.scaled(module.held_out["images"][:2])).detach()))
    with pytest.raises(UserError, match="sample.back=true: only for model=cyclegan.*Generation"):
        cfg = composed("model=mlp")
        torch.save({"state_dict": _stored(build_game(cfg))} | clock, tmp_path / "other.ckpt")
        open_sampler(cfg, tmp_path / "other.ckpt", back=True)


def _stored(game) -> dict:
    producer = {f"ema.network.{name}": value for name, value in game.producer.state_dict().items()}
    return {f"game.{name}": value for name, value in game.state_dict().items()} | producer
