"""Outputs for held-out inputs, as a set that is scored next to its baselines."""

import pytest
import torch
from torch import nn

from conftest import Projection, TensorSet, noise_images
from sparring.data.degradations.masks import Mask
from sparring.evaluation.evaluator import Evaluator
from sparring.evaluation.generated_sets import Translated
from sparring.evaluation.metrics.memorization import Memorization
from sparring.evaluation.metrics.reconstruction import Reconstruction
from sparring.evaluation.sampler import Sampler
from sparring.games.translation import Translation
from sparring.losses import Hinge


class White(nn.Module):
    """Returns white images for all inputs."""

    def __init__(self):
        super().__init__()
        self.shade = nn.Parameter(torch.ones(()))

    def forward(self, condition):
        return self.shade.expand(len(condition), 1, *condition.shape[2:])


@pytest.fixture
def sampler():
    game = Translation(
        generator=White(), discriminator=nn.Identity(), loss=Hinge(), degradation=Mask(area=0.25, centred=True)
    )
    return Sampler(game, game.producer, examples={"images": noise_images(60, 100)})


def evaluated(sampler, tmp_path, *metrics) -> tuple[dict, dict]:
    evaluator = Evaluator(Projection(), {type(m).__name__: m for m in metrics}, samples=60, seeds=1, reals="all")
    reals = TensorSet(noise_images(80, 100, seed=1))
    evaluator.prepare(reals, torch.device("cpu"), tmp_path, targeted=True)
    return evaluator(lambda seed: Translated(sampler, 60), [0])


def test_baselines_are_scored_like_the_outputs(sampler, tmp_path):
    result, _ = evaluated(sampler, tmp_path, Reconstruction())
    wanted = sampler.examples["images"].float() / 255
    lost = (sampler.inputs(range(60))[:, 1:] > 0).float()
    grey = 128 / 255
    expected = {"": (lost * (1 - wanted)).mean(), "input": (lost * (grey - wanted).abs()).mean()}
    assert set(result["baselines"]) == {"input", "mean_fill"}
    assert result["scores"]["l1"] == pytest.approx(expected[""].item(), rel=1e-3)
    assert result["baselines"]["input"]["l1"] == pytest.approx(expected["input"].item(), rel=1e-3)
    assert result["baselines"]["mean_fill"]["l1"] < result["baselines"]["input"]["l1"]


def test_pictures_show_the_outputs_and_not_a_baseline(sampler, tmp_path):
    _, pictures = evaluated(sampler, tmp_path, Memorization(shown=4))
    first = pictures["neighbours"][:, :, : pictures["neighbours"].shape[1] // 4]  # the first column
    assert (first == 255).float().mean() > 0.2, "a quarter of each answer is white"
    assert not (first == 128).any(), "what is lost of the input is grey"
