"""Regularizers and augmentations that remember: what they remember, in the checkpoint and on two ranks."""

import pytest
import torch

from conftest import engine, fit, in_ranks, small_game
from plays import BATCH, Smooth, a_play, check_gradients, two
from plays import float64 as float64
from sparring import distributed
from sparring.augment import ADA
from sparring.networks import mlp
from sparring.regularizers import LeCam, PathLength


class Style(mlp.Generator):
    """An MLP that can be called in two parts, as StyleGAN2's generator."""

    def mapping(self, latents, labels=None):
        return self.layers[:2](self.latents(latents, labels))

    def synthesis(self, w):
        return self.layers[2:](w)


def taught(lecam: LeCam, play, real, fake) -> torch.Tensor | None:
    """What the term is for these logits; then what comes after the turn."""
    play.real_logits, play.fake_logits = torch.tensor(real), torch.tensor(fake)
    value = lecam(play)
    with torch.no_grad():
        lecam.after(play)
    return value


@pytest.mark.usefixtures("float64")
class TestLeCam:
    def test_its_means_follow_the_last_batch_until_it_starts(self):
        lecam = LeCam(start=2, decay=0.75)
        for iteration, (real, fake) in enumerate([(9.0, 9.0), (2.0, -1.0)]):
            assert taught(lecam, a_play(Smooth(), iteration), [real] * BATCH, [fake] * BATCH) is None
            assert lecam.means.flatten().tolist() == [real, fake]
        value = taught(lecam, a_play(Smooth(), 2), [3.0, -2, 0, 5], [1.0, 3, 0, -2])
        # relu(r + 1)^2 + relu(2 - f)^2
        assert value.tolist() == [16.0 + 1, 0 + 0, 1 + 4, 36 + 16]
        assert lecam.means.flatten().tolist() == [2 + (1.5 - 2) / 4, -1 + (0.5 + 1) / 4]

    def test_the_micro_batches_of_a_turn_count_as_one_batch(self):
        lecam, play = LeCam(start=0, decay=0.5), a_play(Smooth())
        for real in (1.0, 3.0):
            play.real_logits, play.fake_logits = torch.full((4,), real), torch.zeros(4)
            lecam(play)
        lecam.after(play)
        assert lecam.means.flatten().tolist() == [1.0, 0.0]
        lecam.after(play)
        assert lecam.means.flatten().tolist() == [1.0, 0.0], "nothing new was seen"

    def test_each_discriminator_has_means_of_its_own(self):
        lecam = LeCam(start=0, decay=0.0, discriminators=2)
        logits = [[1.0, 10.0]] * BATCH
        taught(lecam, a_play(Smooth()), logits, logits)
        assert lecam.means.tolist() == [[1.0, 10.0]] * 2
        assert taught(lecam, a_play(Smooth()), [[2.0, 2.0]] * BATCH, [[2.0, 2.0]] * BATCH).tolist() == [[1.0, 64.0]] * 4

    @pytest.mark.parametrize("several", [False, True])
    def test_its_gradient_reaches_the_discriminator(self, several):
        torch.manual_seed(0)
        play, lecam = a_play(two(Smooth) if several else Smooth()), LeCam(start=0, discriminators=1 + several)
        lecam.means[0] += 1

        def value():
            for made in ("real_logits", "fake_logits"):
                play.__dict__.pop(made, None)
            return lecam(play).mean()

        check_gradients(value, [weight for weight in play.game.discriminator.parameters() if weight.ndim > 1])

    def test_a_decay_without_meaning_is_refused(self):
        with pytest.raises(ValueError, match=r"decay=1\.0"):
            LeCam(decay=1.0)


def remembering():
    """An engine of everything that remembers, on however many ranks there are."""
    game = small_game(
        regularizers={"lecam": LeCam(start=2), "path_length": PathLength(every=2)},
        augment=ADA(p=0.5, adjust_kimg=0.5),
    )
    torch.manual_seed(0)
    game.generator = Style(image_size=8, channels=1, width=8, latent_dim=4)
    return engine(game, batch_size=16 // distributed.world_size(), lr=1e-3)


def memories(module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in module.game.named_buffers()}


def keep(path) -> None:
    module = remembering()
    fit(module, 6, precision="64-true")
    torch.save({"memories": memories(module), "weights": module.game.state_dict()}, f"{path}/{distributed.rank()}.pt")


@pytest.mark.slow
def test_two_ranks_remember_what_one_does_and_checkpoints_hold_it(tmp_path):
    (tmp_path / "one").mkdir()
    keep(tmp_path / "one")
    in_ranks(keep, tmp_path)
    one, first, second = (torch.load(tmp_path / name) for name in ("one/0.pt", "0.pt", "1.pt"))
    assert set(one["memories"]) == {
        "regularizers.lecam.means",
        "regularizers.path_length.mean",
        "augment.p",
        "augment.signs",
    }
    assert all(value.abs().sum() > 0 for value in one["memories"].values()), "all have moved"
    for ranks in (first, second):
        torch.testing.assert_close(ranks["weights"], one["weights"], rtol=1e-9, atol=1e-12)
    assert set(one["memories"]) < set(one["weights"]), "state_dict has them"
