"""The engine: turns, the clock, what learns when, and what is said when training diverges."""

import copy
import math

import pytest
import torch

from conftest import blobs, engine, fit, small_game
from sparring.config.errors import TrainingDiverged
from sparring.losses import Loss, NonSaturating
from sparring.networks import dcgan
from sparring.regularizers.gradients import R1, GradientPenalty, input_gradient
from sparring.training.ema import EMA
from sparring.training.optimizers import PlayerOptimizer
from sparring.training.schedules import Linear
from watching import Rows, Watch


def weights(network):
    return torch.cat([p.detach().flatten() for p in network.parameters()]).clone()


def same(a, b):
    return all(torch.equal(x, y) for x, y in zip(a.state_dict().values(), b.state_dict().values(), strict=True))


def test_each_turn_changes_its_own_player_alone():
    game = small_game()
    seen, after = [], game.after

    def record(player, turn):
        seen.append((player, weights(game.discriminator), weights(game.generator)))
        after(player, turn)

    game.after = record
    start = weights(game.discriminator), weights(game.generator)
    fit(engine(game), 1)
    (first, d1, g1), (second, d2, g2) = seen
    assert (first, second) == ("discriminator", "generator")
    assert not torch.equal(d1, start[0]) and torch.equal(g1, start[1])
    assert torch.equal(d2, d1) and not torch.equal(g2, g1)


def test_no_weight_gradients_of_the_discriminator_are_computed_in_the_generators_turn():
    game = small_game()
    terms, learning = game.terms, []

    def record(player, turn):
        learning.append((player, {n for n, p in game.named_parameters() if p.requires_grad}))
        return terms(player, turn)

    game.terms = record
    fit(engine(game), 1)
    assert [(p, {n.split(".")[0] for n in names}) for p, names in learning] == [
        ("discriminator", {"discriminator"}),
        ("generator", {"generator"}),
    ]


def test_an_iteration_equals_the_papers_algorithm_written_by_hand():
    """Goodfellow et al. 2014, algorithm 1, on the same noise and images."""
    game = small_game()
    module = engine(game, n_dis=2)
    by_hand = copy.deepcopy(game)
    optimizers = {
        name: torch.optim.Adam(network.parameters(), 1e-3, betas=(0.5, 0.999))
        for name, network in (("d", by_hand.discriminator), ("g", by_hand.generator))
    }
    for iteration in range(3):
        for turn in range(2):
            images = module.batches.batch("discriminator", iteration, turn, 2)["images"].float() / 127.5 - 1
            noise = module.batches.draws("discriminator", iteration, turn).normal("latents", 4)
            real, fake = by_hand.discriminator(images), by_hand.discriminator(by_hand.generator(noise).detach())
            loss = -(real.sigmoid().log() + (1 - fake.sigmoid()).log()).mean()
            optimizers["d"].zero_grad()
            loss.backward()
            optimizers["d"].step()
        noise = module.batches.draws("generator", iteration, 0).normal("latents", 4)
        loss = -by_hand.discriminator(by_hand.generator(noise)).sigmoid().log().mean()
        optimizers["g"].zero_grad()
        loss.backward()
        optimizers["g"].step()
    fit(module, 3)
    for trained, expected in zip(game.parameters(), by_hand.parameters(), strict=True):
        torch.testing.assert_close(trained, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("n_dis", "accumulate"), [(1, 1), (3, 1), (1, 2), (2, 4)])
def test_the_clock_counts_real_images_of_all_discriminator_turns(n_dis, accumulate):
    rows, game = Rows(), small_game()
    module = engine(game, n_dis=n_dis, accumulate=accumulate, log_every=2)
    trainer = fit(module, 6, loggers=[rows])
    assert trainer.global_step == module.iteration == 6
    assert module.kimg == pytest.approx(6 * n_dis * 8 / 1000)
    assert [(row["step"], row["kimg"]) for row in rows.rows] == [
        (i, pytest.approx(i * n_dis * 8 / 1000)) for i in (2, 4, 6)
    ]


def test_every_term_is_logged_by_its_name_with_the_usual_diagnostics():
    rows = Rows()
    game = small_game(regularizers={"r1": R1(), "gradient_penalty": GradientPenalty()})
    fit(engine(game, log_every=2), 2, loggers=[rows])
    assert set(rows.rows[0]) == {
        *("step", "kimg", "images_per_second", "D(x)", "D(G(z))", "separation", "diversity"),
        *(f"discriminator/{n}" for n in ("adversarial", "r1", "gradient_penalty", "gradient_norm", "lr")),
        *(f"generator/{n}" for n in ("adversarial", "gradient_norm", "lr")),
    }
    assert 0 < rows.rows[0]["D(x)"] < 1


def test_micro_batches_make_the_update_of_the_whole_batch():
    games = [small_game(regularizers={"gp": GradientPenalty(), "r1": R1()}) for _ in range(2)]
    for game, accumulate in zip(games, (1, 4), strict=True):
        fit(engine(game, accumulate=accumulate), 3)
    for whole, parts in zip(games[0].parameters(), games[1].parameters(), strict=True):
        torch.testing.assert_close(whole, parts, rtol=1e-4, atol=1e-6)


def test_reused_fakes_are_made_once_an_iteration_and_judged_in_both_turns():
    for reuse, passes in ((False, 2), (True, 1)):
        game, made = small_game(), []
        game.generator.register_forward_hook(lambda *_, made=made: made.append(1))
        start = weights(game.generator)
        fit(engine(game, reuse_fakes=reuse), 3)
        assert len(made) == 3 * passes
        assert not torch.equal(weights(game.generator), start)


def test_reused_fakes_are_judged_by_the_labels_that_they_were_made_of():
    game, pairs = small_game(classes=3), {"made": [], "judged": []}
    produce, discriminate = game.produce, game.discriminate

    def made(latents, condition):
        images = produce(latents, condition)
        pairs["made"].append((images.detach(), condition))
        return images

    def judged(images, condition):
        pairs["judged"].append((images.detach(), condition))
        return discriminate(images, condition)

    game.produce, game.discriminate = made, judged
    fit(engine(game, reuse_fakes=True), 1)
    ((fakes, labels),) = pairs["made"]
    of_fakes = [condition for images, condition in pairs["judged"] if torch.equal(images, fakes)]
    assert len(of_fakes) == 2 and all(torch.equal(condition, labels) for condition in of_fakes)


def test_clipping_bounds_each_players_whole_gradient():
    norms, game = [], small_game()

    def sgd(parameters):
        return torch.optim.SGD(parameters, lr=1.0)

    optimizers = {
        "discriminator": PlayerOptimizer(sgd, clip_norm=1e-3),
        "generator": PlayerOptimizer(sgd, clip_norm=1e-5),
    }
    before = weights(game.discriminator), weights(game.generator)
    fit(engine(game, optimizers=optimizers), 1)
    for old, network in zip(before, (game.discriminator, game.generator), strict=True):
        norms.append((weights(network) - old).norm().item())
    assert norms == [pytest.approx(1e-3, rel=1e-2), pytest.approx(1e-5, rel=1e-2)]


def test_a_schedule_follows_kimg_and_each_player_its_own():
    rows, game = Rows(), small_game()

    def adam(parameters):
        return torch.optim.Adam(parameters, 0.1)

    optimizers = {
        "discriminator": PlayerOptimizer(adam),
        "generator": PlayerOptimizer(adam, schedule=Linear(end_kimg=0.032)),
    }
    fit(engine(game, optimizers=optimizers, log_every=1), 5, loggers=[rows])
    assert [row["discriminator/lr"] for row in rows.rows] == pytest.approx([0.1] * 5)
    assert [row["generator/lr"] for row in rows.rows] == pytest.approx([0.1, 0.075, 0.05, 0.025, 0.0])


def test_the_average_follows_the_generator_once_an_iteration():
    game = small_game()
    module = engine(game, ema=EMA(game.generator, half_life_kimg=0.016), n_dis=2)  # 16 images: one iteration
    expected = [weights(game.generator)]

    def look(module):
        expected.append((expected[-1] + weights(game.generator)) / 2)

    fit(module, 4, [Watch(look)])
    torch.testing.assert_close(weights(module.ema.network), expected[-1])


class Diverging(NonSaturating):
    """NaN from the third iteration on, in the generator's loss."""

    def generator(self, fake, real=None):
        self.calls = getattr(self, "calls", 0) + 1
        return super().generator(fake) * (float("nan") if self.calls > 2 else 1)


def test_nan_stops_the_run_naming_the_term_the_iteration_and_the_checkpoint(tmp_path):
    module = engine(small_game(Diverging()), log_every=10)
    module.last_checkpoint = tmp_path / "good.ckpt"
    with pytest.raises(TrainingDiverged, match=r"generator/adversarial .* in iteration 3 \(0.024 kimg\)") as error:
        fit(module, 20)
    assert str(module.last_checkpoint) in str(error.value)
    assert module.iteration < 20


def test_a_checkpoint_of_weights_that_are_not_finite_is_refused(tmp_path):
    module = engine(small_game(Diverging()), log_every=1000)
    with pytest.raises(TrainingDiverged):
        fit(module, 5).save_checkpoint(tmp_path / "bad.ckpt")
    assert not (tmp_path / "bad.ckpt").exists()


def test_dropout_is_the_same_in_a_run_of_the_same_seed_and_another_in_another():
    def trained(seed):
        game = small_game()
        game.discriminator.layers.append(torch.nn.Dropout(0.5))
        torch.manual_seed(torch.seed())
        fit(engine(game, seed=seed), 3)
        return game

    assert same(trained(1), trained(1))
    assert not same(trained(1), trained(2))


def test_bf16_trains_with_penalties_in_float32():
    kinds = []

    class Spy(R1):
        def forward(self, turn):
            kinds.append((turn.real_logits.dtype, input_gradient(turn, turn.reals, "real").dtype))
            return super().forward(turn)

    game = small_game(regularizers={"r1": Spy()}, family=dcgan)
    start = weights(game.discriminator)
    fit(engine(game), 2, precision="bf16-mixed")
    assert kinds[0] == (torch.bfloat16, torch.float32)
    assert weights(game.discriminator).dtype == torch.float32 and not torch.equal(weights(game.discriminator), start)


def test_adams_second_beta_follows_its_schedule():
    optimizers = {
        player: PlayerOptimizer(
            lambda p: torch.optim.Adam(p, 1e-3, betas=(0.5, 0.9)), beta2_schedule=Linear(0.04, final=1.1)
        )
        for player in ("discriminator", "generator")
    }
    module = engine(small_game(), optimizers=optimizers)  # 8 images an iteration
    seen = []
    watch = Watch(lambda module: seen.append([o.param_groups[0]["betas"] for o in module.trainer.optimizers]))
    fit(module, 7, callbacks=[watch])
    expected = [0.9 * (1 + 0.1 * min(i * 8 / 40, 1)) for i in range(7)]
    assert seen == [[(0.5, pytest.approx(b))] * 2 for b in expected]


def test_double_precision_trains_in_float64():
    game = small_game(regularizers={"gp": GradientPenalty()})
    fit(engine(game), 2, precision="64-true")
    assert next(game.parameters()).dtype == torch.float64


def test_a_loss_that_needs_reals_in_the_generators_turn_gets_fresh_ones():
    class Relativistic(Loss):
        generator_needs_reals = True
        pairs = []

        def discriminator(self, real, fake):
            return torch.nn.functional.softplus(fake - real)

        def generator(self, fake, real=None):
            self.pairs.append(real)
            return torch.nn.functional.softplus(real - fake)

    loss = Relativistic()
    module = engine(small_game(loss), columns=blobs(32))
    fit(module, 2)
    assert [len(real) for real in loss.pairs] == [8, 8]
    assert module.kimg == pytest.approx(0.016)  # the clock counts the first player's reals alone


def test_a_batch_of_one_and_data_of_one_image_are_trained_on():
    for options in ({"batch_size": 8, "accumulate": 8}, {"columns": blobs(1), "batch_size": 4}):
        game, rows = small_game(), Rows()
        start = weights(game)
        fit(engine(game, log_every=1, **options), 2, loggers=[rows])
        assert weights(game).isfinite().all() and (weights(game) != start).any()
        assert len(rows.rows) == 2 and all(math.isfinite(value) for row in rows.rows for value in row.values())
