"""task=evaluate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig

from sparring.config.errors import UserError
from sparring.data import cache
from sparring.data.dataset import Data
from sparring.distributed import collectives
from sparring.evaluation.evaluator import Evaluator
from sparring.evaluation.extractors.classifier import Classifier
from sparring.evaluation.generated_sets import Generated, Translated
from sparring.evaluation.image_sets import Decoded, ImageSet, at_most, open_images
from sparring.evaluation.reference_sets import reference_sets, settle_held_out
from sparring.runs import console, store
from sparring.runs.scores_file import append_scores, save_pictures, scores_entry
from sparring.storage import tensor_files
from sparring.tasks.augmentation_study import augmentation_study
from sparring.training.build import build_evaluator, build_game, device_of, open_sampler, open_source, silence_lightning

MIN_IMAGES = 50


@dataclass(frozen=True)
class Fakes:
    """Sets of fakes by sampling seed, and whether they have labels and targets."""

    of_seed: Callable[[int | None], ImageSet]
    seeds: Sequence[int | None]
    labelled: bool
    targeted: bool = False


@dataclass(frozen=True)
class Reals:
    """The reals, and the data that the extractor may learn from."""

    images: ImageSet
    data: Data | None


def evaluate(cfg: DictConfig, folder: Path) -> None:
    """Score a stored run's generator, or any two sets of images; append an entry to ``scores.json`` in ``folder``."""
    silence_lightning()
    if not cfg.evaluation:
        raise UserError("task=evaluate with evaluation=none: choose evaluation=inception (or fast)")
    if "extractor" not in cfg.evaluation:  # evaluation=augmentation
        augmentation_study(cfg, folder)
        return
    images = open_images(cfg.fake, "fake") if cfg.fake else None  # before weights are loaded
    evaluator = build_evaluator(cfg)
    fakes, reals, facts = given_images(cfg, evaluator, images) if images else samples_of_run(cfg, evaluator)
    evaluator.prepare(reals.images, device_of(cfg), cfg.cache, reals.data, fakes.labelled, fakes.targeted)
    result, pictures = evaluator(fakes.of_seed, fakes.seeds)
    if collectives.rank() > 0:
        return
    entry = scores_entry(result, **facts)
    append_scores(folder, [entry])
    save_pictures(folder, entry, pictures)
    print("\n" + console.scores_table(entry, entry["lower_is_better"]))
    print(f"\nRecorded in {folder / 'scores.json'}")


def given_images(cfg: DictConfig, evaluator: Evaluator, images: ImageSet) -> tuple[Fakes, Reals, dict]:
    """Score given images: all of them and of the reals, unless evaluation.samples or evaluation.reals says less."""
    _check_count("fake", images)
    data, reals = _open_reals(cfg)
    if images.labels is not None and reals.labels is not None:
        if images.labels.min() < 0 or images.labels.max() > reals.labels.max():
            raise UserError(f"fake={cfg.fake}: its labels reach beyond those of the reals, 0 to {reals.labels.max()}")
    evaluator.reals = cfg.evaluation.reals or "all"
    chosen = at_most(images, cfg.evaluation.samples or len(images))
    facts = {} if data is None else {"split": cfg.data.get("split", "all")}
    fakes = Fakes(lambda _: chosen, [None], labelled=images.labels is not None)
    return fakes, Reals(reals, data), facts | {"iteration": None, "kimg": None}


def samples_of_run(cfg: DictConfig, evaluator: Evaluator) -> tuple[Fakes, Reals, dict]:
    """Score samples of a stored run's generator."""
    run = store.find_run(cfg.run, "run", cfg)
    data, reals = _open_reals(cfg)
    checkpoint = run.checkpoint(cfg.evaluation.checkpoint)
    stored, game = tensor_files.read_checkpoint(checkpoint), build_game(cfg)
    facts = {"iteration": stored["global_step"], "kimg": stored["kimg"]}
    facts |= {"checkpoint": checkpoint.name, "ema": evaluator.ema}
    learnt, training, image_size = data, None, (cfg.data.image_size,) * 2
    if data is not None:
        settle_held_out(cfg, run.config, data, game.translates)
        reals, training, facts["split"] = reference_sets(cfg, data, game.translates)
        image_size = reals.image_size
        if isinstance(evaluator.extractor, Classifier):  # it learns from the run's own split
            learnt = cache.load(open_source(run.config), cfg.cache)
    elif game.translates:
        raise UserError(
            f"real={cfg.real}: this model is scored on held-out inputs; choose other data (data.path) instead"
        )
    labels = reals.labels if game.conditional else None
    if game.conditional and labels is None:  # the reals' classes are unknown: each comes equally often
        labels = torch.arange(cfg.data.num_classes)

    def fakes(seed: int | None) -> ImageSet:
        sampler = open_sampler(cfg, checkpoint, evaluator.ema, seed, device_of(cfg), evaluator.batch_size, data)
        if game.translates:
            return Translated(sampler, evaluator.samples)
        return Generated(sampler, evaluator.samples, image_size, labels, training)

    seeds = [cfg.seed + i for i in range(evaluator.seeds)]
    return Fakes(fakes, seeds, game.conditional, game.translates and data.aligned), Reals(reals, learnt), facts


def _open_reals(cfg: DictConfig) -> tuple[Data | None, ImageSet]:
    data = None if cfg.real else cache.load(open_source(cfg), cfg.cache)
    images = open_images(cfg.real, "real") if data is None else Decoded(data)
    _check_count("real", images)
    return data, images


def _check_count(key: str, images: ImageSet) -> None:
    if len(images) < MIN_IMAGES:
        raise UserError(f"{key}: {images.name} holds {len(images)} images; scores want at least {MIN_IMAGES}")
