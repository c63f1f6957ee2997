"""From a configuration to the objects that it describes: source, game, module, evaluator."""

import logging
import math
import warnings
from pathlib import Path

import torch
from hydra.utils import get_object
from omegaconf import DictConfig
from torch import nn

from sparring.config import memory
from sparring.config.errors import UserError
from sparring.config.instantiate import build, signature
from sparring.config.validation import check_data
from sparring.data.batches import Batches
from sparring.data.dataset import Data
from sparring.data.modalities import lookup
from sparring.data.source import Source
from sparring.data.splits import held_out_columns, training_columns
from sparring.distributed import collectives
from sparring.evaluation.compatibility import check_can_score
from sparring.evaluation.evaluator import Evaluator
from sparring.games.game import Game
from sparring.networks.layers import channels_last
from sparring.randomness import seed_of
from sparring.regularizers.base import Schedule
from sparring.runs import untrusted
from sparring.training.adversarial_module import AdversarialModule
from sparring.training.ema import EMA
from sparring.training.optimizers import PlayerOptimizer
from sparring.training.schedules import Constant


def open_source(cfg: DictConfig) -> Source:
    """Return the source of data, and write its facts into ``cfg.data``. Nothing is downloaded or decoded yet.

    Raises:
        UserError: a key contradicts the data, or the model, an augmentation or an evaluation can't use them.
    """
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


def build_game(cfg: DictConfig) -> Game:
    """Return the players and their losses, with weights that the seed decides.

    Raises:
        UserError: they can't be built like that, can't play together, or don't fit into memory.
    """
    memory.check_networks(cfg, lambda: _game(cfg))
    return _game(cfg)


def _game(cfg: DictConfig) -> Game:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(cfg.seed, "initial weights"))
        others = [build(cfg.model.discriminator, "model.discriminator") for _ in range(cfg.model.discriminators - 1)]
        groups = {"loss": cfg.loss, "regularizers": cfg.regularizer, "augment": cfg.augment}
        groups = {name: group for name, group in groups.items() if group}
        objects = {"others": others} if others else {}
        parameters = signature(get_object(cfg.model._target_))[0]
        keys = {"others": "model.discriminators", "regularizers": "regularizer"}
        for name in groups | objects:
            if name not in parameters:
                raise UserError(f"{keys.get(name, name)}: this model, {cfg.model._target_}, has no use for it")
        if "loss" in parameters and "loss" not in groups:
            raise UserError(f"loss=none: this model, {cfg.model._target_}, needs one; none is for model=vae")
        try:
            game = build(cfg.model, "model", partial=True, **groups)(**objects)
        except ValueError as error:
            raise UserError(f"model: {error}") from error
        game.modality = lookup.modality_of(cfg.data)
        channels_last(game)  # 1.1 to 1.2 times as fast on a CPU, more in bf16 on a GPU
        return game


def build_module(
    cfg: DictConfig, game: Game, data: Data, kind: type[AdversarialModule] = AdversarialModule
) -> AdversarialModule:
    """Return the engine, of the class ``kind``, with everything that it needs to train.

    Raises:
        UserError: game, regularizers or augmentation do not fit the data, or ``reuse_fakes`` the game.
    """
    columns = training_columns(cfg, data, game.translates)
    optimizers = {player: _optimizer(cfg, player) for player in game.players}
    if cfg.reuse_fakes and not (len(game.players) == 2 and game.shares_fakes):
        raise UserError(f"reuse_fakes=true: is for a generator and a discriminator, and this is {cfg.model._target_}")
    if game.needs_pairs and not data.paired:
        raise UserError("model: it learns from pairs, and these data hold none: model=cyclegan, or data=pairs")
    ema = EMA(game.producer, cfg.ema.half_life_kimg, cfg.ema.rampup, _schedule(cfg.ema.schedule, "ema.schedule"))
    game.check_fits(ema.network, columns)
    if cfg.trainer.sync_batchnorm:  # the average's are never trained
        nn.SyncBatchNorm.convert_sync_batchnorm(game)  # in place
    if cfg.trainer.compile:
        game.compile_networks()
    batches = Batches(
        columns,
        batch_size=cfg.data.batch_size,
        seed=cfg.seed,
        flip=cfg.data.flip,
        device_memory_gb=cfg.data.device_memory_gb,
        rank=collectives.rank(),
        world_size=collectives.world_size(),
        balance=cfg.data.balance,
        jitter=cfg.data.jitter,
        rotation=cfg.data.rotation,
        paired=data.paired,
    )
    return kind(
        game,
        batches,
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


def build_evaluator(cfg: DictConfig) -> Evaluator | None:
    """Return the evaluator with its extractor's weights loaded; None without evaluation.

    Raises:
        UserError: the extractor's weights can't be downloaded, or its settings contradict each other.
    """
    if not cfg.evaluation:
        return None
    evaluator = build(cfg.evaluation, "evaluation")
    evaluator.settle(device_of(cfg).type == "cuda")
    return evaluator


def count_iterations(cfg: DictConfig) -> int:
    """Return the smaller number of iterations of ``kimg`` and ``trainer.max_steps``, on all ranks together."""
    images = cfg.n_dis * cfg.data.batch_size * collectives.world_size()
    limits = [cfg.trainer.max_steps or math.inf]
    if cfg.kimg is not None:
        limits.append(max(math.ceil(round(cfg.kimg * 1000 / images, 6)), 1))
    return int(min(limits))


def device_of(cfg: DictConfig) -> torch.device:
    """Return the device that a single process computes on."""
    can_use_gpu = cfg.trainer.accelerator in ("auto", "gpu") and torch.cuda.is_available()
    return torch.device("cuda" if can_use_gpu else "cpu")


def check_machine(cfg: DictConfig) -> None:
    """Raise UserError if CUDA graphs are asked for and this machine, or an optimizer, can't record them."""
    if not cfg.trainer.cuda_graph:
        return
    if device_of(cfg).type != "cuda":
        raise UserError("trainer.cuda_graph=true: needs an NVIDIA GPU, and there is none that trainer= may use")
    for player, node in cfg.optimizer.items():
        if player == "schedule":
            continue
        can_record = "capturable" in signature(get_object(node._target_))[0]
        if not can_record or node.get("beta2_schedule") is not None:
            raise UserError(
                f"trainer.cuda_graph=true: the steps of optimizer.{player} can't be recorded; "
                "choose adam or rmsprop, without beta2_schedule"
            )


def silence_lightning() -> None:
    """Hide warnings of Lightning that are no news here."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for message in ("module.s. in eval mode", "LeafSpec", "does not have many workers", "srun.*command is available"):
        warnings.filterwarnings("ignore", f".*{message}.*")


def _optimizer(cfg: DictConfig, player: str) -> PlayerOptimizer:
    """Return how a player learns: as ``optimizer.<player>`` says, or else as the generator."""
    player = player if player in cfg.optimizer else "generator"
    node, path = cfg.optimizer[player], f"optimizer.{player}"
    return PlayerOptimizer(
        build=build(node, path, partial=True),
        schedule=_schedule(node.schedule, f"{path}.schedule") or Constant(),
        clip_norm=node.clip_norm,
        beta2_schedule=_schedule(node.get("beta2_schedule"), f"{path}.beta2_schedule"),
    )


def _schedule(node: DictConfig | None, path: str) -> Schedule | None:
    """Return a schedule that gives a number for 0 kimg, or None."""
    if node is None:
        return None
    schedule = build(node, path)
    try:
        if math.isfinite(schedule(0.0)):
            return schedule
    except TypeError:
        pass
    raise UserError(f"{path}: must give a number for every kimg")
