"""What makes training quick changes no number: after twenty iterations weights are those of a loop written by hand."""

import copy

import pytest
import torch
from torch import nn

from conftest import blobs, engine, fit, small_game
from sparring.benchmarks.baseline_loop import BaselineLoop
from sparring.losses import Hinge, NonSaturating
from sparring.networks import dcgan
from sparring.networks.dcgan import FromPixel
from sparring.training.optimizers import PlayerOptimizer


def adam(fused: bool):
    return lambda parameters: torch.optim.Adam(parameters, 1e-3, betas=(0.5, 0.999), fused=fused)


class ByHand(BaselineLoop):
    """The baseline loop on the latents that the engine draws."""

    def __init__(self, module, **options):
        def reals():
            for iteration in range(20):
                for turn in range(self.n_dis):
                    batch = module.batches.batch("discriminator", iteration, turn, self.n_dis)
                    yield batch["images"].double().div_(127.5).sub_(1)

        optimizers = dict.fromkeys(("discriminator", "generator"), adam(fused=False))
        super().__init__(module.game, reals(), optimizers, **options)
        turns = [("discriminator", turn) for turn in range(self.n_dis)]
        turns = [("generator", 0)] if self.reuse_fakes else [*turns, ("generator", 0)]
        draws = (module.batches.draws(player, i, turn) for i in range(20) for player, turn in turns)
        self.engine_latents = (each.normal("latents", self.latent_dim) for each in draws)

    def latents(self, count):
        return next(self.engine_latents)


class TransposedConvolution(nn.ConvTranspose2d):
    """What FromPixel computes, by PyTorch's convolution."""

    def forward(self, x):
        return super().forward(x[:, :, None, None])


@pytest.mark.parametrize(
    "loss, options", [(NonSaturating, {"reuse_fakes": True}), (NonSaturating, {}), (Hinge, {"n_dis": 3})]
)
def test_the_engine_makes_the_weights_of_a_loop_written_by_hand(loss, options):
    """Frozen players, fused Adam, channels-last, matrix products for convolutions of a point: equal in float64."""
    torch.set_default_dtype(torch.float64)
    try:
        game = small_game(loss(), family=dcgan, size=16)
        plain = copy.deepcopy(game)
        for module in plain.generator.modules():
            if isinstance(module, FromPixel):
                module.__class__ = TransposedConvolution
        game = game.to(memory_format=torch.channels_last)
        optimizers = {player: PlayerOptimizer(adam(fused=True)) for player in game.players}
        module = engine(game, blobs(size=16), optimizers=optimizers, **options)
        other = engine(plain, blobs(size=16), **options)
        loop = ByHand(other, **{"reuse_fakes": False} | options)
        loop.iterate(20)
        fit(module, 20, precision="64-true")
    finally:
        torch.set_default_dtype(torch.float32)
    for own, network in ((game.generator, loop.generator), (game.discriminator, loop.discriminator)):
        for (name, value), expected in zip(own.state_dict().items(), network.state_dict().values(), strict=True):
            assert torch.allclose(value, expected, rtol=1e-8, atol=1e-10), name
