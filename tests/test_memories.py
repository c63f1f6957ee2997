"""Regularizers and augmentations that remember: what they remember, in the checkpoint and on two ranks."""

import pytest
import torch

from conftest import fit
from plays import BATCH, Smooth, a_play, check_gradients, remembering, two
from plays import float64 as float64
from sparring.regularizers import LeCam


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


def test_what_is_remembered_is_in_the_checkpoint():
    module = remembering()
    fit(module, 6)
    memories = {"regularizers.lecam.means", "regularizers.path_length.mean", "augment.p", "augment.signs"}
    assert {name for name, _ in module.game.named_buffers()} == memories < set(module.game.state_dict())
    assert all(value.abs().sum() > 0 for value in module.game.buffers()), "all have moved"
