"""The weights of a stored run: sample from them, or start another training from them (``init``)."""

import logging
from pathlib import Path

import torch
from omegaconf import DictConfig
from torch import nn

from sparring.config.errors import UserError
from sparring.data.dataset import Data
from sparring.data.splits import held_out_columns
from sparring.evaluation.sampler import Sampler
from sparring.games.cyclegan import CycleGAN, swapped
from sparring.runs import store
from sparring.storage import tensor_files
from sparring.training.adversarial_module import AdversarialModule
from sparring.training.build import build_game
from sparring.training.ema import EMA

log = logging.getLogger(__name__)


def open_sampler(
    cfg: DictConfig,
    checkpoint: Path,
    ema: bool = True,
    seed: int = 0,
    device: torch.device | str = "cpu",
    batch_size: int = 100,
    data: Data | None = None,
    back: bool = False,
) -> Sampler:
    """Return a sampler of a stored run's generator.

    Args:
        cfg: the run's configuration.
        checkpoint: the file with its weights.
        ema: use the average, not the raw weights.
        seed: of the latents.
        device: where it makes images.
        batch_size: images a pass.
        data: the data whose held-out part a game that translates is given as input.
        back: of a CycleGAN, use the generator from images to inputs.

    Raises:
        UserError: the weights are damaged, of another model, or not finite; or the model has no way back.
    """
    stored = tensor_files.read_checkpoint(checkpoint)["state_dict"]
    game = build_game(cfg)
    average = EMA(game.producer, half_life_kimg=0)
    networks = nn.ModuleDict({"game": game, "ema": average})
    tensor_files.check_fit(stored, networks.state_dict(), f"{checkpoint}: is not of this model")
    networks.load_state_dict(stored)
    producer = average.network if ema else game.producer
    if bad := next((name for name, weight in producer.named_parameters() if not weight.isfinite().all()), None):
        raise UserError(f"{checkpoint}: its weights are not finite ({bad}); choose another checkpoint")
    held_out = held_out_columns(cfg, data, game.translates) if data is not None else None
    if back:
        if not isinstance(game, CycleGAN):
            raise UserError(f"sample.back=true: only for model=cyclegan, and this model is {cfg.model._target_}")
        game, producer = game.back, game.back.generator
        held_out = None if held_out is None else swapped(held_out)
    classes = cfg.data.num_classes if game.conditional else 0
    game, producer = game.to(device), producer.to(device)
    return Sampler(game, producer, cfg.ema.batch_norm, seed, batch_size, classes, device, held_out)


def load_initial_weights(module: AdversarialModule, path: Path) -> None:
    """Load networks and average of another run (``init``). Networks that it does not have keep their random weights.

    Raises:
        UserError: a network that both have differs in names or shapes.
    """
    stored, own = tensor_files.read_checkpoint(path)["state_dict"], module.state_dict()

    def network(name: str) -> str:
        return ".".join(name.split(".")[:2])  # game.discriminator of game.discriminator.layers.0.weight

    stored_networks = {network(name) for name in stored}
    shared = {name: weight for name, weight in own.items() if network(name) in stored_networks}
    tensor_files.check_fit(stored, shared, f"init: the weights of {path} do not fit this model")
    module.load_state_dict(own | stored)
    random = sorted({network(name).removeprefix("game.") for name in own.keys() - shared.keys()})
    log.info("starting from the weights of %s%s", path, f"; random weights: {', '.join(random)}" if random else "")


def adopt_vocabulary(cfg: DictConfig) -> None:
    """Use the vocabulary of the run that text starts from (``init``): its weights know units by their index.

    Raises:
        UserError: other units, or another vocabulary, were asked for.
    """
    stored = store.find_run(cfg.init, "init", cfg).config.data
    if "vocabulary" not in cfg.data or stored.get("vocabulary") is None:
        return
    if cfg.data.unit != stored.unit:
        raise UserError(f"data.unit={cfg.data.unit}: the weights of init={cfg.init} are of {stored.unit}s")
    if cfg.data.vocabulary not in (None, stored.vocabulary):
        raise UserError(f"data.vocabulary: is not that of init={cfg.init}, whose weights belong to it; leave it out")
    cfg.data.vocabulary = stored.vocabulary
    log.info("using the vocabulary of %s", cfg.init)
