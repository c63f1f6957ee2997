"""Every file of conf/, found by itself: composed, checked, its networks built, and a shrunken version stepped once."""

import numpy as np
import pytest
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import OmegaConf
from PIL import Image

from conftest import CONF, fit
from sparring import assembly
from sparring.checks import check
from sparring.data.cache import Data

FILES = sorted(path.relative_to(CONF).with_suffix("") for path in CONF.rglob("*.yaml") if path.parent != CONF)


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """Something to read for the data sets that need a path."""
    folder = tmp_path_factory.mktemp("places")
    pixels = np.random.default_rng(0).integers(0, 255, (20, 32, 32, 3), dtype=np.uint8)
    np.savez(folder / "arrays.npz", images=pixels)
    for i, image in enumerate(pixels):
        (folder / "images").mkdir(exist_ok=True)
        Image.fromarray(image).save(folder / "images" / f"{i}.png")
    return {"image_folder": folder / "images", "arrays": folder / "arrays.npz"}


def overrides_for(file, places) -> list[str]:
    group, name = file.parent.as_posix(), file.name
    chosen = f"{group}=[{name}]" if group == "regularizer" else f"{group}={name}"
    extra = [f"data.path={places[name]}"] if group == "data" and name in places else []
    if group == "evaluation/metrics":
        return ["evaluation=inception", f"evaluation/metrics=[{name}]"]
    if group == "evaluation/extractor":
        return ["evaluation=inception", chosen]
    return [chosen, *extra, *(["run=somewhere"] if file.as_posix() == "task/sample" else [])]


@pytest.mark.parametrize("file", FILES, ids=str)
def test_it_is_composed_checked_built_and_stepped(file, places, composed, tmp_path):
    cfg = composed(*overrides_for(file, places), "trainer.accelerator=cpu")
    check(cfg)
    assembly.look_at_data(cfg)

    with torch.device("meta"):  # at its full size, without its memory
        game = assembly.build_game(cfg)
    for networks in game.players.values():
        assert sum(parameter.numel() for network in networks for parameter in network.parameters()) > 100
        assert all(parameter.is_meta for network in networks for parameter in network.parameters())

    cfg.data.image_size = 28 if cfg.data.image_size == 28 else 32
    cfg.data.batch_size, cfg.data.subset, cfg.model.width = 4, None, 8
    game = assembly.build_game(cfg)
    images = torch.randint(0, 256, (12, cfg.data.channels, cfg.data.image_size, cfg.data.image_size), dtype=torch.uint8)
    data = Data({"images": images, "labels": torch.arange(12) % max(cfg.data.num_classes, 1)}, "key", [])
    module = assembly.build_module(cfg, game, data)
    before = [p.detach().clone() for p in game.parameters()]
    fit(module, 1, precision=cfg.trainer.precision)
    assert any(not torch.equal(b, p) for b, p in zip(before, game.parameters(), strict=True))
    module.check_finite()


@pytest.mark.parametrize("conditional", [False, True])
@pytest.mark.parametrize("latent", ["normal", "uniform"])
@pytest.mark.parametrize("discriminator", ["dcgan", "mlp"])
@pytest.mark.parametrize("generator", ["dcgan", "mlp"])
def test_any_pair_of_networks_plays(generator, discriminator, latent, conditional, composed):
    cfg = composed(
        f"model/generator={generator}",
        f"model/discriminator={discriminator}",
        f"model.latent={latent}",
        f"model.conditional={conditional}",
        "model.width=8",
        "data.batch_size=4",
    )
    check(cfg)
    assembly.look_at_data(cfg)
    images = torch.randint(0, 256, (12, 1, 28, 28), dtype=torch.uint8)
    data = Data({"images": images, "labels": torch.arange(12) % 10}, "key", [])
    fit(assembly.build_module(cfg, assembly.build_game(cfg), data), 1)


@pytest.mark.parametrize(
    "regularizers", ["[]", "[r1]", "[gradient_penalty]", "[weight_clipping]", "[r1,gradient_penalty]"]
)
@pytest.mark.parametrize("loss", sorted(path.stem for path in (CONF / "loss").glob("*.yaml")))
def test_any_loss_goes_with_any_regularizer(loss, regularizers, composed):
    cfg = composed(
        f"loss={loss}", f"regularizer={regularizers}", "model=mlp", "model.width=8", "data.batch_size=4", "n_dis=2"
    )
    check(cfg)
    assembly.look_at_data(cfg)
    data = Data(
        {"images": torch.randint(0, 256, (12, 1, 28, 28), dtype=torch.uint8), "labels": torch.arange(12) % 10}, "", []
    )
    module = assembly.build_module(cfg, assembly.build_game(cfg), data)
    fit(module, 1)
    module.check_finite()


def test_every_group_file_is_a_choice_that_the_config_knows(composed):
    known = set(OmegaConf.to_container(composed(), resolve=False))
    groups = {file.parts[0] for file in FILES}
    assert groups - known == {"debug", "experiment"}
    assert not HydraConfig.initialized()
