"""Values that constructors of games, networks and degradations refuse by their signatures."""

import inspect
from typing import get_type_hints

import pytest
from pydantic import TypeAdapter, ValidationError

from sparring.augment.diffaugment import DiffAugment
from sparring.data.degradations.jpeg import JPEG
from sparring.data.degradations.masks import Mask
from sparring.data.degradations.quality import Blur, Downscale, Noise
from sparring.games.cyclegan import CycleGAN
from sparring.games.generation import Generation
from sparring.games.infogan import InfoGAN
from sparring.games.perceptual import Perceptual
from sparring.games.translation import Translation
from sparring.games.vae import VAE
from sparring.networks import biggan, dcgan, mlp, patch, sagan, srgan, text_lstm, unet

WRONG = {
    CycleGAN: {"pool": [-1], "cycle_weight": [-0.1]},
    Generation: {"packing": [0, 65], "latent_dim": [0, 65537], "latent": ["gamma"]},
    InfoGAN: {"categorical": [[1], [70_000]], "continuous": [-1], "hidden": [0]},
    Perceptual: {"distance": ["l3"], "weight": [-1.0]},
    Translation: {"l1_weight": [-1.0], "psnr_weight": [-1.0]},
    VAE: {"sigma": [0.0], "beta": [-1.0], "likelihood": ["laplace"]},
    Mask: {"shape": ["circle", []], "area": [0.0, 1.0], "fill": [2.0]},
    Noise: {"strength": [-1.0, 256.0, [5.0, 300.0]]},
    JPEG: {"quality": [0, 101, [0, 20]]},
    Blur: {"sigma": [-0.5, 101.0]},
    Downscale: {"scale": [3]},
    DiffAugment: {"policies": [["colour"], []]},
    dcgan.Generator: {"width": [0], "norm": ["group"], "num_classes": [-1]},
    mlp.Discriminator: {"dropout": [1.0, -0.1], "depth": [0, 65], "minibatch_stddev": [-1]},
    patch.Discriminator: {"layers": [-1]},
    sagan.Discriminator: {"width": [0]},
    biggan.Generator: {"embedding_dim": [0]},
    srgan.Generator: {"scale": [3], "blocks": [-1]},
    unet.Generator: {"depth": [0], "dropout": [1.0]},
    text_lstm.Generator: {"tau": [0.0], "temperature": [0.0, 101.0]},
}


@pytest.mark.parametrize(
    "target", WRONG, ids=lambda target: f"{target.__module__.rpartition('.')[2]}.{target.__name__}"
)
def test_defaults_are_in_range_and_values_out_of_range_are_refused(target):
    hints = get_type_hints(target.__init__, include_extras=True)
    for name, values in WRONG[target].items():
        adapter = TypeAdapter(hints[name])
        if (default := inspect.signature(target).parameters[name].default) is not inspect.Parameter.empty:
            adapter.validate_python(default)
        for value in values:
            with pytest.raises(ValidationError):
                adapter.validate_python(value)
