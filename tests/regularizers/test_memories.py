"""Regularizers and augmentations that remember: what they remember, in the checkpoint and on two ranks."""

import pytest
import torch

from conftest import fit
from sparring.regularizers.lecam import LeCam
from turns import BATCH, Smooth, a_turn, check_gradients, remembering, two
from turns import float64 as float64


def taught(lecam: LeCam, turn, real, fake) -> torch.Tensor | None:
    """What the term is for these logits; then what comes after the turn."""
    turn.real_logits, turn.fake_logits = torch.tensor(real), torch.tensor(fake)
    value = lecam(turn)
    with torch.no_grad():
        lecam.after(turn)
    return value


@pytest.mark.usefixtures("float64")
class TestLeCam:
    def test_its_means_follow_the_last_batch_until_it_starts(self):
        lecam = LeCam(start=2, decay=0.75)
        for iteration, (real, fake) in enumerate([(9.0, 9.0), (2.0, -1.0)]):
            assert taught(lecam, a_turn(Smooth(), iteration), [real] * BATCH, [fake] * BATCH) is None
            assert lecam.means.flatten().tolist() == [real, fake]
        value = taught(lecam, a_turn(Smooth(), 2), [3.0, -2, 0, 5], [1.0, 3, 0, -2])
        # relu(r + 1)^2 + relu(2 - f)^2
        assert value.tolist() == [16.0 + 1, 0 + 0, 1 + 4, 36 + 16]
        assert lecam.means.flatten().tolist() == [2 + (1.5 - 2) / 4, -1 + (0.5 + 1) / 4]

    def test_the_micro_batches_of_a_turn_count_as_one_batch(self):
        lecam, turn = LeCam(start=0, decay=0.5), a_turn(Smooth())
        for real in (1.0, 3.0):
            turn.real_logits, turn.fake_logits = torch.full((4,), real), torch.zeros(4)
            lecam(turn)
        lecam.after(turn)
        assert lecam.means.flatten().tolist() == [1.0, 0.0]
        lecam.after(turn)
        assert lecam.means.flatten().tolist() == [1.0, 0.0], "nothing new was seen"

    def test_each_discriminator_has_means_of_its_own(self):
        lecam = LeCam(start=0, decay=0.0, discriminators=2)
        logits = [[1.0, 10.0]] * BATCH
        taught(lecam, a_turn(Smooth()), logits, logits)
        assert lecam.means.tolist() == [[1.0, 10.0]] * 2
        assert taught(lecam, a_turn(Smooth()), [[2.0, 2.0]] * BATCH, [[2.0, 2.0]] * BATCH).tolist() == [[1.0, 64.0]] * 4

    @pytest.mark.parametrize("several", [False, True])
    def test_its_gradient_reaches_the_discriminator(self, several):
        torch.manual_seed(0)
        turn, lecam = a_turn(two(Smooth) if several else Smooth()), LeCam(start=0, discriminators=1 + several)
        lecam.means[0] += 1

        def value():
            for made in ("real_logits", "fake_logits"):
                turn.__dict__.pop(made, None)
            return lecam(turn).mean()

        check_gradients(value, [weight for weight in turn.game.discriminator.parameters() if weight.ndim > 1])


def test_what_is_remembered_is_in_the_checkpoint():
    module = remembering()
    fit(module, 6)
    memories = {"regularizers.lecam.means", "regularizers.path_length.mean", "augment.p", "augment.signs"}
    assert {name for name, _ in module.game.named_buffers()} == memories < set(module.game.state_dict())
    assert all(value.abs().sum() > 0 for value in module.game.buffers()), "all have moved"
