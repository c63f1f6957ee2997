"""What ``task=`` names: one function each, which reads as the recipe of its job."""

import logging
import math
import sys
import warnings
from pathlib import Path

import pytorch_lightning as pl
import torch
from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from sparring import report, runs
from sparring.adversarial import AdversarialModule, PlayerOptimizer
from sparring.callbacks.checkpoints import AtomicCheckpointIO, Checkpoints, GracefulStop
from sparring.callbacks.health import Health
from sparring.callbacks.progress import Progress
from sparring.callbacks.samples import SampleGrids, columns_for, save_gif, save_image, tile
from sparring.callbacks.scores import Scores, record
from sparring.callbacks.scores import entry as scored
from sparring.checks import check_data
from sparring.config import build, plain_name
from sparring.data import cache
from sparring.data.batches import Batches
from sparring.data.source import Source
from sparring.ema import EMA
from sparring.errors import UserError
from sparring.evaluation.evaluator import Evaluator
from sparring.evaluation.gallery import Gallery
from sparring.evaluation.sets import Decoded, Generated, ImageSet, Subset, open_images
from sparring.games.game import Game
from sparring.logging import MetricsFile, WandbRun
from sparring.randomness import seed_of

log = logging.getLogger(__name__)


def train(cfg: DictConfig, folder: Path) -> None:
    """Train, score and record a GAN in ``folder``; with ``resume=`` go on with the one that lies there."""
    silence_lightning()
    source = look_at_data(cfg)
    game = build_game(cfg)
    checkpoint = runs.find(cfg.resume, "resume").checkpoint() if cfg.resume else None
    module = build_module(cfg, game, data := cache.load(source, cfg.cache))
    evaluator = build_evaluator(cfg)
    iterations = count_iterations(cfg, module)
    if cfg.init:
        start_from(module, runs.find(cfg.init, "init").checkpoint())

    begun = torch.load(checkpoint, weights_only=True, mmap=True)["global_step"] if checkpoint else 0
    if checkpoint is None:
        runs.begin(folder, cfg, list(HydraConfig.get().overrides.task))
    elif begun < iterations:
        runs.go_on(folder, begun)
        log.info("going on at %.1f kimg, from %s", module.kimg_at(begun), checkpoint)
    else:
        raise UserError(
            f"resume={cfg.resume}: has its {module.kimg_at(begun):.1f} kimg already; go on with a larger kimg="
        )

    wandb_run = build_wandb(cfg, folder, evaluator)
    loggers = [MetricsFile(folder / "metrics.csv", begun), *([wandb_run] if wandb_run else [])]
    stop, grids = GracefulStop(), SampleGrids(folder / "samples", **cfg.grid, **showing(cfg))
    checkpoints = Checkpoints(
        folder / "checkpoints", **cfg.checkpoint, artifacts=bool(wandb_run and cfg.logger.log_checkpoints)
    )
    scores = evaluator and Scores(
        evaluator, Decoded(data), data, folder, cfg.cache, cfg.data.get("split", "all"), **showing(cfg)
    )
    callbacks = [stop, Health(), *([scores] if scores else []), grids, checkpoints, Progress()]
    trainer = build_trainer(cfg, iterations, loggers, callbacks, folder)
    failed = True
    try:
        if wandb_run:
            wandb_run.start()
        trainer.fit(module, ckpt_path=checkpoint, weights_only=True)
        failed = False
    finally:
        if wandb_run:
            wandb_run.finish(failed)

    if stop.signal is not None:
        print(f"\nStopped at {module.kimg:.1f} kimg. Go on with: python run.py {report.typed('resume', folder)}")
        sys.exit(128 + stop.signal)
    if evaluator:
        print("\n" + report.scores_table(scores.latest, evaluator.lower_is_better))
        print(report.best_line(folder, evaluator.lower_is_better))
    else:
        print("\nNo scores: evaluation=none")
    print("\n" + report.places(folder, grids.latest, module.last_checkpoint))


def sample(cfg: DictConfig, folder: Path) -> None:
    """Draw a run's generator: a grid, single images, and a walk through its latents."""
    run, wanted = runs.find(cfg.run, "run"), cfg.sample
    path, cfg = run.checkpoint(wanted.checkpoint), run.config
    gallery = open_gallery(cfg, path, wanted.ema, wanted.seed)
    game, classes = gallery.game, cfg.data.num_classes if gallery.game.conditional else 0
    labels = choose_labels(wanted.classes, wanted.count, classes)
    latents = gallery.latents("sample", wanted.count)
    if wanted.truncation is not None:
        latents = game.truncate(latents, wanted.truncation)
    images = gallery.show(latents, labels)
    out = Path(wanted.folder or folder / "samples" / f"{path.stem}-seed{wanted.seed}").expanduser()
    columns = columns_for(wanted.count, len(wanted.classes or range(classes)))
    save_image(tile(images, columns), out / "grid.png")
    for i, image in enumerate(images):
        save_image(image, out / "images" / f"{i:05d}.png")
    print(f"{len(images)} images in {out / 'images'}, together as {out / 'grid.png'}")
    if wanted.frames:
        walk = game.interpolate(latents[:16], wanted.frames)
        frames = [tile(gallery.show(z, None if labels is None else labels[:16]), 4) for z in walk]
        save_gif(frames, out / "interpolation.gif")
        print(f"a walk between the first {len(walk[0])} of them in {out / 'interpolation.gif'}")


def evaluate(cfg: DictConfig, folder: Path) -> None:
    """Score a stored run's generator again, or any two sets of images; an entry of ``scores.json`` in ``folder``."""
    silence_lightning()
    if not cfg.evaluation:
        raise UserError("task=evaluate with evaluation=none: choose evaluation=inception (or fast)")
    given = open_images(cfg.fake, "fake") if cfg.fake else None
    evaluator = build_evaluator(cfg)
    data = None if cfg.real else cache.load(look_at_data(cfg), cfg.cache)
    reals = open_images(cfg.real, "real") if cfg.real else Decoded(data)
    facts = {} if cfg.real else {"split": cfg.data.get("split", "all")}
    for key, images in (("fake", given), ("real", reals)):
        if images is not None and len(images) < 50:
            raise UserError(f"{key}: {images.name} holds {len(images)} images; scores want at least 50")
    known = None if given is None or reals.labels is None else given.labels
    if known is not None and (known.min() < 0 or known.max() > reals.labels.max()):
        raise UserError(f"fake={cfg.fake}: its labels reach beyond those of the reals, 0 to {reals.labels.max()}")

    if given is not None:  # by default all of both sets: whoever made them knows how many are wanted
        samples, seeds = min(cfg.evaluation.samples or len(given), len(given)), [None]
        evaluator.reals = cfg.evaluation.reals or "all"
        iteration, kimg, labelled = None, None, given.labels is not None
    else:
        samples, seeds = evaluator.samples, [cfg.seed + i for i in range(evaluator.seeds)]
        path = runs.find(cfg.run, "run").checkpoint(cfg.evaluation.checkpoint)
        stored = torch.load(path, map_location="cpu", weights_only=True)
        iteration, kimg, labelled = stored["global_step"], stored["kimg"], build_game(cfg).conditional
        asked = None  # of a conditional generator: the reals' classes, or all alike where these are unknown
        if labelled:
            asked = torch.arange(cfg.data.num_classes) if reals.labels is None else reals.labels
        facts |= {"checkpoint": path.name, "ema": evaluator.ema}

    def fakes(seed: int | None) -> ImageSet:
        if given is not None:
            return given if samples == len(given) else Subset(given, samples)
        gallery = open_gallery(cfg, path, evaluator.ema, seed, device_of(cfg), evaluator.batch_size)
        return Generated(gallery, samples, (cfg.data.image_size,) * 2, asked)

    if cfg.run and data is not None and "Classifier" in cfg.evaluation.extractor._target_:
        data = cache.load(
            look_at_data(runs.find(cfg.run, "run").config), cfg.cache
        )  # it learns from the training split
    evaluator.prepare(reals, device_of(cfg), cfg.cache, data, labelled)
    result, pictures = evaluator(fakes, seeds)
    entry = scored(result, iteration, kimg, **facts)
    record(folder, entry, pictures)
    print("\n" + report.scores_table(entry, evaluator.lower_is_better))
    print(f"\nRecorded in {folder / 'scores.json'}")


def benchmark(cfg: DictConfig, folder: Path) -> None:
    """Measure speed on this machine."""
    silence_lightning()
    build(cfg.benchmark, "benchmark", partial=True)(cache.load(look_at_data(cfg), cfg.cache), folder, device_of(cfg))


def open_gallery(
    cfg: DictConfig,
    checkpoint: Path,
    ema: bool = True,
    seed: int = 0,
    device: torch.device | str = "cpu",
    batch_size: int = 100,
) -> Gallery:
    """The generator of a stored run, its average or its raw weights, ready to be shown.

    Args:
        cfg: the run's configuration.
        checkpoint: the file with its weights.
        ema: the average, or the raw weights.
        seed: of the latents.
        device: where it makes images.
        batch_size: images a pass.
    """
    stored = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
    game = build_game(cfg)
    average = EMA(game.producer, half_life_kimg=0)
    for part, name in ((game, "game."), (average, "ema.")):
        part.load_state_dict({key.removeprefix(name): value for key, value in stored.items() if key.startswith(name)})
    producer = (average.network if ema else game.producer).to(device)
    classes = cfg.data.num_classes if game.conditional else 0
    return Gallery(game, producer, cfg.ema.batch_norm, seed, batch_size, classes, device)


# ---- the parts, in the order in which they are needed ---------------------------------------------------------------


def look_at_data(cfg: DictConfig) -> Source:
    """The source of data, and what it knows of them written into the config; nothing is downloaded or decoded yet."""
    if cfg.data.get("path"):
        cfg.data.path = str(Path(cfg.data.path).expanduser().absolute())
    source = build(cfg.data, "data")
    cfg.data.image_size, cfg.data.channels = source.image_size, source.channels
    cfg.data.num_classes = source.num_classes
    check_data(cfg)
    return source


def build_game(cfg: DictConfig) -> Game:
    """The players and their losses, their weights decided by the seed."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_of(cfg.seed, "initial weights"))
        game = build(cfg.model, "model", loss=cfg.loss, regularizers=cfg.regularizer or {})
        return game.to(memory_format=torch.channels_last)  # 1.1 to 1.2 times as fast on a CPU, more in bf16 on a GPU


def build_module(cfg: DictConfig, game: Game, data: cache.Data) -> AdversarialModule:
    """The engine with everything it needs to train."""
    columns = data.columns
    if cfg.data.subset is not None:
        columns = choose_subset(columns, cfg.data.subset, cfg.seed)
    optimizers = {
        player: PlayerOptimizer(
            build=build(cfg.optimizer[player], f"optimizer.{player}", partial=True),
            schedule=build(cfg.optimizer[player].schedule, f"optimizer.{player}.schedule"),
            clip_norm=cfg.optimizer[player].clip_norm,
        )
        for player in game.players
    }
    return AdversarialModule(
        game,
        Batches(columns, cfg.data.batch_size, cfg.seed, cfg.data.flip, cfg.data.device_memory_gb),
        optimizers,
        EMA(game.producer, cfg.ema.half_life_kimg, cfg.ema.rampup),
        n_dis=cfg.n_dis,
        reuse_fakes=cfg.reuse_fakes,
        accumulate=cfg.accumulate,
        seed=cfg.seed,
        log_every=cfg.trainer.log_every_n_steps,
        num_classes=cfg.data.num_classes,
    )


def choose_subset(columns: dict[str, torch.Tensor], count: int, seed: int) -> dict[str, torch.Tensor]:
    """The first ``count`` examples of an order that the seed decides."""
    length = len(columns["images"])
    if count > length:
        raise UserError(f"data.subset={count}: there are {length} examples")
    order = torch.randperm(length, generator=torch.Generator().manual_seed(seed_of(seed, "subset")))
    rows = order[:count].sort().values
    return {name: column[rows] for name, column in columns.items()}


def count_iterations(cfg: DictConfig, module: AdversarialModule) -> int:
    """The sooner of ``kimg`` and ``trainer.max_steps``."""
    limits = [cfg.trainer.max_steps or math.inf, math.inf]
    if cfg.kimg is not None:
        limits[1] = math.ceil(round(cfg.kimg * 1000 / module.images_per_iteration, 6))
    return int(min(limits))


def start_from(module: AdversarialModule, path: Path) -> None:
    """Take the weights of another run: networks and average, all of the same names and shapes."""
    stored = torch.load(path, map_location="cpu", weights_only=True)["state_dict"]
    own = module.state_dict()
    wrong = [
        f"  {name}: {tuple(stored[name].shape) if name in stored else 'absent'} there, "
        f"{tuple(own[name].shape) if name in own else 'absent'} here"
        for name in sorted(own.keys() | stored.keys(), reverse=True)  # the game's own before its average's
        if name not in own or name not in stored or own[name].shape != stored[name].shape
    ]
    if wrong:
        raise UserError(
            f"init: the weights of {path} do not fit this model ({len(wrong)} differ):\n" + "\n".join(wrong[:8])
        )
    module.load_state_dict(stored)
    log.info("starting from the weights of %s", path)


def showing(cfg: DictConfig) -> dict:
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


def build_wandb(cfg: DictConfig, folder: Path, evaluator: Evaluator | None) -> WandbRun | None:
    if not cfg.logger:
        return None
    overrides = list(OmegaConf.load(folder / "overrides.yaml"))
    varied = [override for override in overrides if not override.startswith("seed=")]
    return build(cfg.logger, "logger", partial=True)(
        folder=folder,
        config=OmegaConf.to_container(cfg, resolve=True),
        lower_is_better=[
            f"{part}/{score}"
            for score in (evaluator.lower_is_better if evaluator else ())
            for part in ("scores", f"scores_{evaluator.samples_during}")
        ],
        name=cfg.logger.name or plain_name(overrides),
        group=cfg.logger.group or plain_name(varied),
    )


def build_trainer(cfg: DictConfig, iterations: int, loggers: list, callbacks: list, folder: Path) -> pl.Trainer:
    """Lightning's trainer, told to keep out of what the engine and its callbacks do."""
    profilers = {"simple": pl.profilers.SimpleProfiler, "advanced": pl.profilers.AdvancedProfiler}
    profilers["pytorch"] = pl.profilers.PyTorchProfiler
    profiler = cfg.trainer.profiler and profilers[cfg.trainer.profiler](dirpath=folder, filename="profile")
    return pl.Trainer(
        accelerator=cfg.trainer.accelerator,
        devices=cfg.trainer.devices,
        precision=cfg.trainer.precision,
        max_steps=iterations,
        max_epochs=-1,
        logger=loggers,
        callbacks=callbacks,
        profiler=profiler,
        plugins=[AtomicCheckpointIO()],
        enable_checkpointing=False,
        enable_model_summary=False,
        default_root_dir=folder,
    )


def silence_lightning() -> None:
    """Its remarks on what is as it should be here."""
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    for remark in (".*module.s. in eval mode.*", ".*LeafSpec.*", ".*does not have many workers.*"):
        warnings.filterwarnings("ignore", remark)


def choose_labels(wanted: list[int] | None, count: int, classes: int) -> torch.Tensor | None:
    """Labels (count,) that cycle through the wanted classes, or all; None for an unconditional generator."""
    if wanted is not None and not classes:
        raise UserError(f"sample.classes={wanted}: this generator is unconditional (model.conditional=false)")
    if not classes:
        return None
    chosen = torch.tensor(list(range(classes)) if wanted is None else list(wanted))
    if len(chosen) == 0 or chosen.min() < 0 or chosen.max() >= classes:
        raise UserError(f"sample.classes={wanted}: classes are 0 to {classes - 1}")
    return chosen[torch.arange(count) % len(chosen)]
