"""What the tests share: small real-looking data, a way to compose a configuration, and the real command."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

from sparring.adversarial import AdversarialModule, PlayerOptimizer
from sparring.data.batches import Batches
from sparring.ema import EMA
from sparring.games.game import Game
from sparring.games.generation import Generation
from sparring.losses import NonSaturating
from sparring.networks import dcgan, mlp

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"


@pytest.fixture(scope="session", autouse=True)
def apart(tmp_path_factory):
    """Caches, downloads and W&B's files stay out of the person's own folders; W&B stays off the network."""
    cache = tmp_path_factory.mktemp("cache")
    kept = dict(os.environ)
    os.environ |= {"SPARRING_CACHE": str(cache), "WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    os.environ.pop("WANDB_API_KEY", None)
    yield cache
    os.environ.clear()
    os.environ.update(kept)


@pytest.fixture
def composed():
    """``composed("loss=hinge", ...)``: the configuration that the command line would give."""

    def make(*overrides: str) -> DictConfig:
        with initialize_config_dir(str(CONF), version_base="1.3"):
            return compose("config", overrides=list(overrides))

    return make


@pytest.fixture
def run():
    """``run("debug=quick", ..., cwd=folder)``: the real command in a process of its own."""

    def start(*arguments: str, cwd: Path, check: bool = True, timeout: float = 300) -> subprocess.CompletedProcess:
        done = subprocess.run(
            [sys.executable, str(ROOT / "run.py"), *arguments], cwd=cwd, capture_output=True, text=True, timeout=timeout
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{arguments} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
        return done

    return start


def blobs(count: int = 96, size: int = 8, channels: int = 1, classes: int = 3) -> dict[str, torch.Tensor]:
    """Labelled images: a bright square whose place tells the class, on noise."""
    draw = torch.Generator().manual_seed(0)
    images = torch.randint(0, 60, (count, channels, size, size), generator=draw, dtype=torch.uint8)
    labels = torch.arange(count) % classes
    half = size // 2
    for image, label in zip(images, labels.tolist(), strict=True):
        top, left = divmod(label, 2)
        image[:, top * half : (top + 1) * half, left * half : (left + 1) * half] += 150
    return {"images": images, "labels": labels}


def small_game(loss=None, regularizers=None, family=mlp, size: int = 8, classes: int = 0, **options) -> Generation:
    """A generation game of tiny networks with decided weights."""
    torch.manual_seed(0)
    sizes = {"image_size": size, "channels": 1, "width": 8, "num_classes": classes}
    generator = family.Generator(latent_dim=4, **sizes)
    discriminator = family.Discriminator(**sizes, **({"dropout": 0.0} if family is mlp else {"norm": "none"}))
    settings = {"latent_dim": 4, "conditional": classes > 0} | options
    return Generation(generator, discriminator, loss or NonSaturating(), regularizers, **settings)


def engine(game: Game, columns=None, batch_size: int = 8, lr: float = 1e-3, **options) -> AdversarialModule:
    """The engine around a game, with Adam for every player."""
    optimizers = options.pop("optimizers", None) or {
        player: PlayerOptimizer(lambda parameters: torch.optim.Adam(parameters, lr, betas=(0.5, 0.999)))
        for player in game.players
    }
    ema = options.pop("ema", None) or EMA(game.producer, 0.05)
    batches = Batches(columns or blobs(), batch_size, seed=options.get("seed", 0))
    return AdversarialModule(game, batches, optimizers, ema, **options)


def fit(module: AdversarialModule, iterations: int, callbacks=(), loggers=(), precision="32-true", resume=None):
    """Train for some iterations with Lightning's own trainer."""
    import pytorch_lightning as pl

    trainer = pl.Trainer(
        accelerator="cpu",
        max_steps=iterations,
        max_epochs=-1,
        precision=precision,
        logger=list(loggers),
        callbacks=list(callbacks),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, ckpt_path=resume, weights_only=True)
    return trainer


__all__ = ["CONF", "ROOT", "blobs", "dcgan", "engine", "fit", "mlp", "small_game"]
