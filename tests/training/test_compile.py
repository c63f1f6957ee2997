"""Compiled networks train as the others do, and penalties, which differentiate twice, go with them."""

import pytest
import torch
from torch._dynamo.utils import counters

from conftest import blobs, engine, fit, small_game
from sparring.networks import dcgan
from sparring.regularizers.gradients import R1, GradientPenalty


@pytest.mark.slow
def test_compiled_networks_make_the_same_weights_with_penalties():
    modules = []
    for compiled in (False, True):
        regularizers = {"gp": GradientPenalty(every=2), "r1": R1()}
        game = small_game(family=dcgan, size=16, regularizers=regularizers, classes=3)
        if compiled:
            counters.clear()
            game.compile_networks()
        module = engine(game, blobs(size=16))
        fit(module, 20)
        modules.append(module)
    assert counters["stats"]["unique_graphs"] >= 3  # G; D in its own turn and in G's
    plain, module = (m.state_dict() for m in modules)
    assert plain.keys() == module.keys()
    for name, value in plain.items():
        assert torch.allclose(module[name], value, rtol=1e-3, atol=1e-4), name
