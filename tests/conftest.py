"""What the tests share: small real-looking data, a way to compose a configuration, and the real command."""

import os

os.environ["OMP_NUM_THREADS"] = "1"  # also in the processes that tests start: tensors are small, tests run in parallel

from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from omegaconf import DictConfig

import commands
from sparring.data.batches import Batches
from sparring.data.dataset import Data
from sparring.distributed import collectives, strategy
from sparring.evaluation.extractors.base import Extractor
from sparring.evaluation.image_sets import ImageSet
from sparring.games.game import Game
from sparring.games.generation import Generation
from sparring.losses import NonSaturating
from sparring.networks import mlp
from sparring.storage.tensor_files import hash_of
from sparring.training.adversarial_module import AdversarialModule
from sparring.training.ema import EMA
from sparring.training.optimizers import PlayerOptimizer

ROOT = Path(__file__).parents[1]
CONF = ROOT / "conf"


def pytest_configure(config):
    config.option.loadscopereorder = False  # xdist: files in the order that stands below, not by their number of tests


def pytest_collection_modifyitems(items):
    """Files with tests that start whole commands come first, and those with the most of them first of all: none is left
    for one worker to end with while the other has nothing to do."""
    slow = Counter(item.path for item in items if "run" in item.fixturenames or item.get_closest_marker("slow"))
    items.sort(key=lambda item: -slow[item.path])  # in a file, their order stays


@pytest.fixture(scope="session", autouse=True)
def apart(tmp_path_factory):
    """Caches, downloads and W&B's files stay out of the person's own folders; W&B stays off the network."""
    own = tmp_path_factory.getbasetemp()
    cache = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "cache"  # what one worker made, others use
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


@pytest.fixture(scope="session")
def run():
    """``run("debug=quick", ..., cwd=folder)``: the real command in a process of its own, as ``commands.run`` tells."""
    return commands.run


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


def example_data(cfg: DictConfig, count: int = 12) -> Data:
    """Random examples of the kind that a configuration trains on, with labels."""
    shape = (cfg.data.channels, *[cfg.data.frames] * bool(cfg.data.frames), *[cfg.data.image_size] * 2)
    images = torch.randint(0, 256, (count, *shape), dtype=torch.uint8)
    if cfg.data.image_size == 1:
        images = torch.randn(count, cfg.data.channels)
    if cfg.data.modality == "sounds":
        images = torch.randint(-(2**15), 2**15, (count, 1, cfg.data.length), dtype=torch.int16)
    if cfg.data.modality == "text":
        images = torch.randint(0, cfg.data.channels, (count, cfg.data.length), dtype=torch.uint8)
    columns = {"images": images, "labels": torch.arange(count) % max(cfg.data.num_classes, 1)}
    if "pairs" in cfg.data._target_:
        columns["inputs"] = torch.randint(0, 256, (count, cfg.data.input_channels, *shape[1:]), dtype=torch.uint8)
    return Data(columns, "key", [])


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
    place = {"rank": collectives.rank(), "world_size": collectives.world_size()}
    batches = Batches(columns or blobs(), batch_size, options.get("seed", 0), flip=options.pop("flip", False), **place)
    return AdversarialModule(game, batches, optimizers, ema, **options)


def fit(
    module: AdversarialModule,
    iterations: int,
    callbacks=(),
    loggers=(),
    precision="32-true",
    resume=None,
    accelerator="cpu",
):
    """Train for some iterations with Lightning's own trainer."""
    import pytorch_lightning as pl
    from pytorch_lightning.plugins.environments import TorchElasticEnvironment

    ranks = {}
    if collectives.world_size() > 1:
        ranks = {"strategy": strategy.UnwrappedDDPStrategy(), "devices": 2, "plugins": [TorchElasticEnvironment()]}
    trainer = pl.Trainer(
        **ranks,
        accelerator=accelerator,
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


def in_ranks(work, *arguments, count: int = 2) -> None:
    """Call ``work(*arguments)`` in processes that form a gloo group."""
    store = torch.distributed.TCPStore("127.0.0.1", 0, None, is_master=True, wait_for_workers=False)
    method = commands.WARM.get_start_method()
    torch.multiprocessing.start_processes(_one_rank, (work, arguments, store.port, count), count, start_method=method)


def _one_rank(rank: int, work, arguments, port: int, count: int) -> None:
    torch.set_num_threads(1)
    os.environ |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "TORCHELASTIC_USE_AGENT_STORE": "True"}
    os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count)}
    torch.distributed.init_process_group("gloo", timeout=timedelta(minutes=1))
    work(*arguments)
    torch.distributed.destroy_process_group()


class Malicious:
    """What a pickle that is loaded as it is would run: it makes a file."""

    def __init__(self, mark: Path):
        self.mark = mark

    def __reduce__(self):
        return (Path.touch, (self.mark,))


class TensorSet(ImageSet):
    """Images that lie in a tensor; ``shown`` counts how often each was asked for."""

    def __init__(self, pixels: torch.Tensor, labels: torch.Tensor | None = None, name: str = "tensor"):
        self.pixels, self.labels, self.name, self.image_size = pixels, labels, name, tuple(pixels.shape[-2:])
        self.identity = {"pixels": hash_of({"pixels": pixels})}
        self.shown = torch.zeros(len(pixels), dtype=torch.int64)

    def __len__(self):
        return len(self.pixels)

    def images(self, rows):
        self.shown[list(rows)] += 1
        return self.pixels[list(rows)]


class Projection(Extractor):
    """Features by a fixed random projection of the pixels; ``seen`` counts images, ``calls`` passes."""

    name, dims, classes = "projection", 16, 5

    def __init__(self, weights: int = 0):
        self.facts = {"extractor": self.name, "weights": str(weights), "resize": "none", "precision": "float32"}
        self.weights, self.seen, self.calls = weights, 0, 0

    def prepare(self, device, data=None, cache=None):
        self.device = device

    def __call__(self, images):
        self.seen += len(images)
        self.calls += 1
        draw = torch.Generator().manual_seed(self.weights)
        table = torch.randn(images[0].numel(), self.dims + self.classes, generator=draw)
        found = images.flatten(1).float().div(127.5).sub(1) @ table / 8
        return found[:, : self.dims], found[:, self.dims :]


def noise_images(count: int, brightness: int = 128, seed: int = 0, size: int = 8) -> torch.Tensor:
    draw = torch.Generator().manual_seed(seed)
    return torch.randint(0, brightness, (count, 1, size, size), generator=draw, dtype=torch.uint8)
