"""Text by maximum likelihood and from a discriminator: the terms of each turn, starting points, refusals."""

import logging
import math

import pytest
import torch

from conftest import engine, fit
from sparring.config.errors import UserError
from sparring.data.modalities.images import Images
from sparring.data.text_lines import Text as Source
from sparring.evaluation.evaluator import Evaluator
from sparring.evaluation.extractors.none import NoFeatures
from sparring.evaluation.generated_sets import Generated
from sparring.evaluation.image_sets import Decoded
from sparring.evaluation.metrics.ngram import NGramScores
from sparring.evaluation.sampler import Sampler
from sparring.games.text_generation import MaximumLikelihood, TextGeneration
from sparring.games.turn import Turn
from sparring.losses import Hinge, Relativistic
from sparring.networks.text_lstm import Discriminator, Generator
from sparring.randomness import Draws
from sparring.regularizers.generator import ModeSeeking
from sparring.regularizers.gradients import R1, GradientPenalty
from sparring.training.stored_weights import load_initial_weights

LENGTH = 6


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Lines of which the last word is always the first one."""
    path = tmp_path_factory.mktemp("text") / "own.txt"
    words = ["ah", "oh", "eh"]
    path.write_text("\n".join(f"{a} {b} {c} {a}" for a in words for b in words for c in words))
    return Source(str(path), length=LENGTH).drawn()


def a_generator(data, **options) -> Generator:
    torch.manual_seed(0)
    return Generator(len(data.modality.symbols), LENGTH, width=16, **options)


def likelihood(data, **options) -> MaximumLikelihood:
    game = MaximumLikelihood(a_generator(data), **options)
    game.modality = data.modality
    return game


def adversarial(data, loss=None, **options) -> TextGeneration:
    torch.manual_seed(1)
    critic = Discriminator(len(data.modality.symbols), width=16, layers=1)
    game = TextGeneration(generator=a_generator(data), discriminator=critic, loss=loss or Hinge(), **options)
    game.modality = data.modality
    return game


def nll(game, data) -> float:
    return game.own_scores(data.columns, Draws((0,), len(data), slice(0, None)))["nll"].mean().item()


def test_the_score_is_of_the_units_of_a_line_alone_and_the_loss_of_all(data):
    game = likelihood(data)
    tokens = data.columns["images"][:2]
    each = game.generator.log_likelihood(data.modality.scaled(tokens))
    assert nll(game, data) == pytest.approx(
        -game.generator.log_likelihood(data.modality.scaled(data.columns["images"]))[:, :5].mean().item()
    ), "four words and the line's end"
    turn = Turn(game, "generator", {"images": tokens}, Draws((0,), 2, slice(0, 2)))
    assert game.terms("generator", turn)["nll"].item() == pytest.approx(-each.mean().item())


def test_it_is_of_the_weights_and_the_temperature_that_are_shown_and_stands_beside_that_of_what_was_learnt(
    data, tmp_path
):
    game, shown = likelihood(data), a_generator(data, temperature=0.5)
    torch.nn.init.normal_(shown.out.weight)
    rows = data.columns["images"]
    held_out, learnt = ({"images": part} for part in (rows[:7], rows[7:]))
    sampler = Sampler(game, shown, examples=held_out)
    expected = [  # of each line's five units, at the temperature
        -shown.log_likelihood(data.modality.scaled(part["images"]), 0.5)[:, :5].mean().item()
        for part in (held_out, learnt)
    ]
    assert expected[0] != pytest.approx(-shown.log_likelihood(data.modality.scaled(rows[:7]))[:, :5].mean().item())
    assert sampler.own_scores() == {"nll": pytest.approx(expected[0])}
    of = Decoded(data, held_out, "held out"), Decoded(data, learnt, "training")
    evaluator = Evaluator(NoFeatures(), {"ngram": NGramScores()}, samples=60, reals="all", seeds=1)
    evaluator.prepare(of[0], torch.device("cpu"), tmp_path, data)
    found = evaluator(lambda seed: Generated(sampler, 60, (), training=of[1]), [0])[0]
    assert [found["scores"]["nll"], found["baselines"]["training"]["nll"]] == pytest.approx(expected)
    with torch.no_grad():
        sampler.producer.out.weight.mul_(2)  # as if it had been trained on
    later = evaluator(lambda seed: Generated(sampler, 60, (), training=of[1]), [0])[0]["baselines"]["training"]
    assert later["nll"] != found["baselines"]["training"]["nll"], "it changes as others of training text do not"


def test_maximum_likelihood_comes_near_the_entropy_of_the_data(data):
    game = likelihood(data)
    fit(engine(game, data.columns, batch_size=27, lr=0.02), 250)
    assert nll(game, data) == pytest.approx(3 * math.log(3) / 5, abs=0.03), (
        "three free choices among three, of five units"
    )
    made = Sampler(game, game.producer, batch_size=64)
    texts = data.modality.texts(made.show(made.latents("test", 200)))
    assert sum(text.split()[0] == text.split()[-1] and len(text.split()) == 4 for text in texts) > 180
    assert len(set(texts)) > 20


def test_a_sample_is_a_function_of_its_number(data):
    game = likelihood(data)
    made = Sampler(game, game.producer)
    together, alone = made.show(made.latents("test", 100)), made.show(made.latents("test", 3, 70))
    assert torch.equal(together[70:73], alone) and together.dtype == data.columns["images"].dtype
    noise = made.latents("test", 500)
    assert noise.mean().item() == pytest.approx(0.5772, abs=0.03) and noise.std().item() == pytest.approx(
        math.pi / 6**0.5, abs=0.03
    )


@pytest.mark.parametrize("loss", [Hinge(), Relativistic()])
@pytest.mark.parametrize("regularizer", [R1(0.1), GradientPenalty(1.0)])
def test_the_generator_learns_what_the_discriminator_tells_it(loss, regularizer, data):
    game = adversarial(data, loss, regularizers={"it": regularizer}, spectral_norm=isinstance(loss, Hinge))
    before = nll(game, data)
    fit(engine(game, data.columns, batch_size=27, lr=5e-3), 60)
    assert nll(game, data) < before - 0.1


def test_likelihood_may_stand_beside_the_adversary(data):
    columns = {"images": data.columns["images"][:4]}
    game = adversarial(data, likelihood_weight=0.5)
    assert game.draws_reals == {"discriminator", "generator"}
    terms = game.terms("generator", Turn(game, "generator", columns, Draws((0,), 4, slice(0, 4))))
    expected = -0.5 * game.generator.log_likelihood(data.modality.scaled(columns["images"])).mean()
    assert set(terms) == {"adversarial", "nll"} and terms["nll"].item() == pytest.approx(expected.item())


def checkpoint(game, data, path):
    trainer = fit(engine(game, data.columns, batch_size=27), 2)
    trainer.save_checkpoint(path)
    return path


def test_adversarial_training_starts_from_a_run_of_maximum_likelihood(data, tmp_path, caplog):
    first = likelihood(data)
    path = checkpoint(first, data, tmp_path / "first.ckpt")
    game = adversarial(data)
    critic = {name: value.clone() for name, value in game.discriminator.state_dict().items()}
    module = engine(game, data.columns)
    with caplog.at_level(logging.INFO):
        load_initial_weights(module, path)
    assert "random weights: discriminator" in caplog.text
    assert all(torch.equal(value, first.generator.state_dict()[n]) for n, value in game.generator.state_dict().items())
    assert all(torch.equal(value, critic[name]) for name, value in game.discriminator.state_dict().items())
    module.ema.network.first  # noqa: B018, it is there, and is the other run's
    assert not torch.equal(module.ema.network.out.bias, a_generator(data).out.bias)


def test_weights_of_other_sizes_or_of_more_networks_are_refused_by_name(data, tmp_path):
    path = checkpoint(likelihood(data), data, tmp_path / "first.ckpt")
    other = adversarial(data)
    other.generator = Generator(len(data.modality.symbols), LENGTH, width=8)
    with pytest.raises(UserError, match=r"(?s)game.generator.out.weight: \(5, 16\) there, \(5, 8\) here"):
        load_initial_weights(engine(other, data.columns), path)
    path = checkpoint(adversarial(data), data, tmp_path / "second.ckpt")
    with pytest.raises(UserError, match=r"game.discriminator.*: .* there, absent here"):
        load_initial_weights(engine(likelihood(data), data.columns), path)


def test_what_means_nothing_for_text_is_refused(data):
    game = adversarial(data)
    with pytest.raises(UserError, match="sample.truncation=0.7: is for normal latents"):
        game.truncate(torch.zeros(1), 0.7)
    game.modality = Images()
    with pytest.raises(UserError, match=r"it writes text, and these data are images: data=text"):
        game.check_fits(game.producer, data.columns)
    game = adversarial(data, regularizers={"it": ModeSeeking()})
    with pytest.raises(UserError, match="regularizer.it: it moves latents"):
        game.check_fits(game.producer, data.columns)


def test_the_critic_sees_one_hot_units_of_both(data):
    game = adversarial(data)
    turn = Turn(game, "generator", {"images": data.columns["images"][:4]}, Draws((0,), 4, slice(0, 4)))
    assert turn.fakes.shape == turn.reals.shape and turn.fakes.requires_grad
    torch.testing.assert_close(turn.fakes.detach().amax(2), torch.ones(4, LENGTH))


def test_going_on_is_as_never_having_stopped(data, tmp_path):
    def module():
        return engine(adversarial(data, regularizers={"it": R1(0.1)}), data.columns, batch_size=8)

    whole = module()
    fit(whole, 6)
    fit(half := module(), 3).save_checkpoint(tmp_path / "half.ckpt")
    fit(again := module(), 6, resume=tmp_path / "half.ckpt")
    assert all(torch.equal(value, again.state_dict()[name]) for name, value in whole.state_dict().items())
    assert not torch.equal(half.game.generator.out.bias, whole.game.generator.out.bias)
