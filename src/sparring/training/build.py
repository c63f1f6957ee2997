"""From a configuration to the objects that it describes, in the order in which they are needed."""

import logging
import math
import warnings
from collections.abc import Callable
from pathlib import Path

import torch
from hydra.utils import get_object
from omegaconf import DictConfig
from torch import nn

from sparring.config import memory
from sparring.config.errors import UserError
from sparring.config.instantiate import build, signature
from sparring.config.validation import check_data
from sparring.data import dataset
from sparring.data.batches import Batches
from sparring.data.modalities import lookup
from sparring.data.source import Source
from sparring.data.splits import held_out_columns, training_columns
from sparring.distributed import collectives
from sparring.evaluation.compatibility import check_can_score
from sparring.evaluation.evaluator import Evaluator
from sparring.evaluation.sampler import Sampler
from sparring.games.cyclegan import CycleGAN, swapped
from sparring.games.game import Game
from sparring.networks.layers import channels_last
from sparring.randomness import seed_of
from sparring.runs import store, untrusted
from sparring.storage import tensor_files
from sparring.training.adversarial_module import AdversarialModule
from sparring.training.ema import EMA
from sparring.training.optimizers import PlayerOptimizer

log = logging.getLogger(__name__)


def open_source(cfg: DictConfig) -> Source:
    """The source of data, and what it knows of them written into the config; nothing is downloaded or decoded yet."""
    if cfg.data.get("path"):
        cfg.data.path = str(Path(cfg.data.path).expanduser().absolute())
    source = build(cfg.data, "data")
    source.fetches = not (cfg.run or cfg.resume) or untrusted.is_within(cfg.data.get("path"), cfg.cache)
    for key, value in source.facts.items():
        if cfg.data.get(key) not in (None, 0, value) and not (cfg.run or cfg.resume):
            raise UserError(f"data.{key}={cfg.data[key]}: of these data it is {value}; leave it out")
        cfg.data[key] = value
    check_data(cfg)
    check_can_score(cfg)
    return source


def check_machine(cfg: DictConfig) -> None:
    """Raise UserError if this machine, or an optimizer, can't do what ``trainer`` says of CUDA graphs."""
    if not cfg.trainer.cuda_graph:
        return
    if device_of(cfg).type != "cuda":
        raise UserError("trainer.cuda_graph=true: needs an NVIDIA GPU, and there is none that trainer= may use")
    for player, node in cfg.optimizer.items():
        if player != "schedule" and (node._target_.endswith(".SGD") or node.get("beta2_schedule") is not None):
            raise UserError(
                f"trainer.cuda_graph=true: the steps of optimizer.{player} can't be recorded; choose adam or rmsprop, without beta2_schedule"
            )


def build_game(cfg: DictConfig) -> Game:
    """The players and their losses, their weights decided by the seed.

    Raises:
        UserError: they can't be built so, can't turn together, or can't be held in memory.
    """
    memory.check_networks(cfg, lambda: _game(cfg))
    return _game(cfg)


def _game(cfg: DictConfig) -> Game:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(cfg.seed, "initial weights"))
        others = [build(cfg.model.discriminator, "model.discriminator") for _ in range(cfg.model.discriminators - 1)]
        parts = {"loss": cfg.loss, "regularizers": cfg.regularizer, "augment": cfg.augment}
        parts = {name: part for name, part in parts.items() if part}
        taken = signature(get_object(cfg.model._target_))[0]
        for name in parts.keys() | ({"others"} if others else set()):
            if name not in taken:
                key = {"others": "model.discriminators", "regularizers": "regularizer"}.get(name, name)
                raise UserError(f"{key}: this model, {cfg.model._target_}, has no use for it")
        if "loss" in taken and "loss" not in parts:
            raise UserError(f"loss=none: this model, {cfg.model._target_}, wants one; it is for model=vae")
        try:
            game = build(cfg.model, "model", partial=True, **parts)(**({"others": others} if others else {}))
        except ValueError as error:
            raise UserError(f"model: {error}") from error
        game.modality = lookup.modality_of(cfg.data)
        return channels_last(game)  # 1.1 to 1.2 times as fast on a CPU, more in bf16 on a GPU


def build_module(
    cfg: DictConfig, game: Game, data: dataset.Data, kind: type[AdversarialModule] = AdversarialModule
) -> AdversarialModule:
    """The engine, or a ``kind`` of it, with everything it needs to train."""
    columns = training_columns(cfg, data, game.translates)
    optimizers = {player: _optimizer(cfg, player) for player in game.players}
    if cfg.reuse_fakes and not (len(game.players) == 2 and game.shares_fakes):
        raise UserError(f"reuse_fakes=true: is for a generator and a discriminator, and this is {cfg.model._target_}")
    if game.needs_pairs and not data.paired:
        raise UserError("model: it learns from pairs, and these data hold none: model=cyclegan, or data=pairs")
    ema = EMA(game.producer, cfg.ema.half_life_kimg, cfg.ema.rampup, _schedule(cfg.ema.schedule, "ema.schedule"))
    game.check_fits(ema.network, columns)
    if cfg.trainer.sync_batchnorm:  # the average's are never trained
        game = nn.SyncBatchNorm.convert_sync_batchnorm(game)
    if cfg.trainer.compile:
        game.compile_networks()
    return kind(
        game,
        Batches(
            columns,
            cfg.data.batch_size,
            cfg.seed,
            flip=cfg.data.flip,
            device_memory_gb=cfg.data.device_memory_gb,
            rank=collectives.rank(),
            world_size=collectives.world_size(),
            balance=cfg.data.balance,
            jitter=cfg.data.jitter,
            rotation=cfg.data.rotation,
            paired=data.paired,
        ),
        optimizers,
        ema,
        n_dis=cfg.n_dis,
        reuse_fakes=cfg.reuse_fakes,
        accumulate=cfg.accumulate,
        seed=cfg.seed,
        log_every=cfg.trainer.log_every_n_steps,
        num_classes=cfg.data.num_classes,
        held_out=held_out_columns(cfg, data, game.translates),
        cuda_graph=cfg.trainer.cuda_graph,
    )


def _optimizer(cfg: DictConfig, player: str) -> PlayerOptimizer:
    """How a player learns: as ``optimizer`` says of it, or as the generator."""
    player = player if player in cfg.optimizer else "generator"
    node, path = cfg.optimizer[player], f"optimizer.{player}"
    return PlayerOptimizer(
        build=build(node, path, partial=True),
        schedule=_called(build(node.schedule, f"{path}.schedule"), f"{path}.schedule"),
        clip_norm=node.clip_norm,
        beta2_schedule=_schedule(node.get("beta2_schedule"), f"{path}.beta2_schedule"),
    )


def _schedule(node: DictConfig | None, path: str) -> Callable[[float], float] | None:
    return None if node is None else _called(build(node, path), path)


def _called(schedule: Callable[[float], float], path: str) -> Callable[[float], float]:
    """A schedule that has shown that it is one."""
    try:
        ok = math.isfinite(schedule(0.0))
    except TypeError:
        ok = False
    if not ok:
        raise UserError(f"{path}: must give a number for every kimg")
    return schedule


def count_iterations(cfg: DictConfig) -> int:
    """The sooner of ``kimg`` and ``trainer.max_steps``, on as many ranks as there are."""
    images = cfg.n_dis * cfg.data.batch_size * collectives.world_size()
    limits = [cfg.trainer.max_steps or math.inf, math.inf]
    if cfg.kimg is not None:
        limits[1] = max(math.ceil(round(cfg.kimg * 1000 / images, 6)), 1)
    return int(min(limits))


def adopt_vocabulary(cfg: DictConfig) -> None:
    """Text goes on in the vocabulary of the run that it starts from (``init``), whose weights know units by their places.

    Raises:
        UserError: other units, or another vocabulary, were asked for.
    """
    theirs = store.find_run(cfg.init, "init", cfg).config.data
    if "vocabulary" not in cfg.data or theirs.get("vocabulary") is None:
        return
    if cfg.data.unit != theirs.unit:
        raise UserError(f"data.unit={cfg.data.unit}: the weights of init={cfg.init} are of {theirs.unit}s")
    if cfg.data.vocabulary not in (None, theirs.vocabulary):
        raise UserError(
            f"data.vocabulary: is not that of init={cfg.init}, whose weights know units by their places in it; leave it out"
        )
    cfg.data.vocabulary = theirs.vocabulary
    log.info("in the vocabulary of %s", cfg.init)


def load_initial_weights(module: AdversarialModule, path: Path) -> None:
    """Take the weights of another run: networks and average, all of the same names and shapes. Whole networks that it has not,
    such as the discriminator of one that had none, start anew.
    """
    stored, own = tensor_files.read_checkpoint(path)["state_dict"], module.state_dict()

    def network(name: str) -> str:
        return ".".join(name.split(".")[:2])  # game.discriminator of game.discriminator.layers.0.weight

    there = set(map(network, stored))
    known = {name: weight for name, weight in own.items() if network(name) in there}
    tensor_files.check_fit(stored, known, f"init: the weights of {path} do not fit this model")
    module.load_state_dict(own | stored)
    anew = sorted({network(name).removeprefix("game.") for name in own.keys() - known.keys()})
    log.info("starting from the weights of %s%s", path, f"; anew: {', '.join(anew)}" if anew else "")


def sampler_settings(cfg: DictConfig) -> dict:
    """How the generator is shown, in grids and for scores alike."""
    return {"batch_norm": cfg.ema.batch_norm, "seed": cfg.seed}


def device_of(cfg: DictConfig) -> torch.device:
    """Where a single process computes."""
    wanted = cfg.trainer.accelerator
    return torch.device("cuda" if wanted in ("auto", "gpu") and torch.cuda.is_available() else "cpu")


def build_evaluator(cfg: DictConfig) -> Evaluator | None:
    """The evaluator with its extractor's weights loaded; None without evaluation."""
    if not cfg.evaluation:
        return None
    evaluator = build(cfg.evaluation, "evaluation")
    evaluator.settle(device_of(cfg).type == "cuda")
    return evaluator


def silence_lightning() -> None:
    """Its remarks on what is as it should be here."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for remark in (
        ".*module.s. in eval mode.*",
        ".*LeafSpec.*",
        ".*does not have many workers.*",
        ".*srun.*command is available.*",
    ):
        warnings.filterwarnings("ignore", remark)


def open_sampler(
    cfg: DictConfig,
    checkpoint: Path,
    ema: bool = True,
    seed: int = 0,
    device: torch.device | str = "cpu",
    batch_size: int = 100,
    data: dataset.Data | None = None,
    back: bool = False,
) -> Sampler:
    """The generator of a stored run, its average or its raw weights, ready to be shown.

    Args:
        cfg: the run's configuration.
        checkpoint: the file with its weights.
        ema: the average, or the raw weights.
        seed: of the latents.
        device: where it makes images.
        batch_size: images a pass.
        data: of which it answers to the part that is held out, if it translates.
        back: of a CycleGAN: the way back, from images to inputs.

    Raises:
        UserError: the weights are damaged, of another model, or not finite.
    """
    stored = tensor_files.read_checkpoint(checkpoint)["state_dict"]
    game = build_game(cfg)
    average = EMA(game.producer, half_life_kimg=0)
    both = nn.ModuleDict({"game": game, "ema": average})
    tensor_files.check_fit(stored, both.state_dict(), f"{checkpoint}: is not of this model")
    both.load_state_dict(stored)
    producer = average.network if ema else game.producer
    if bad := next((name for name, weight in producer.named_parameters() if not weight.isfinite().all()), None):
        raise UserError(f"{checkpoint}: its weights are not finite ({bad}); choose another checkpoint")
    game, producer = game.to(device), producer.to(device)
    classes = cfg.data.num_classes if game.conditional else 0
    examples = held_out_columns(cfg, data, game.translates) if data is not None else None
    if back:
        if not isinstance(game, CycleGAN):
            raise UserError(f"sample.back=true: this model, {cfg.model._target_}, knows no way back")
        game, producer = game.back, game.back.generator
        examples = None if examples is None else swapped(examples)
    return Sampler(game, producer, cfg.ema.batch_norm, seed, batch_size, classes, device, examples)
