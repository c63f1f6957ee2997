"""task=evaluate."""

from collections.abc import Callable
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
    seeds: list[int | None]
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
        return augmentation_study(cfg, folder)
    images = open_images(cfg.fake, "fake") if cfg.fake else None  # a wrong path is reported before weights are loaded
    evaluator = build_evaluator(cfg)
    fakes, reals, facts = given_images(cfg, evaluator, images) if images else samples_of_run(cfg, evaluator)
    evaluator.prepare(reals.images, device_of(cfg), cfg.cache, reals.data, fakes.labelled, fakes.targeted)
    result, pictures = evaluator(fakes.of_seed, fakes.seeds)
    if collectives.rank() > 0:
        return None
    entry = scores_entry(result, **facts)
    append_scores(folder, [entry])
    save_pictures(folder, entry, pictures)
    print("\n" + console.scores_table(entry, entry["lower_is_better"]))
    print(f"\nRecorded in {folder / 'scores.json'}")
    return None


def given_images(cfg: DictConfig, evaluator: Evaluator, images: ImageSet) -> tuple[Fakes, Reals, dict]:
    """Score given images and reals: all of both, unless evaluation.samples and evaluation.reals say less."""
    _check_count("fake", images)
    data, reals = open_reals(cfg)
    if images.labels is not None and reals.labels is not None:
        if images.labels.min() < 0 or images.labels.max() > reals.labels.max():
            raise UserError(f"fake={cfg.fake}: its labels reach beyond those of the reals, 0 to {reals.labels.max()}")
    evaluator.reals = cfg.evaluation.reals or "all"
    chosen = at_most(images, cfg.evaluation.samples or len(images))
    split = {} if data is None else {"split": cfg.data.get("split", "all")}
    fakes = Fakes(lambda _: chosen, [None], labelled=images.labels is not None)
    return fakes, Reals(reals, data), {"iteration": None, "kimg": None, **split}


def samples_of_run(cfg: DictConfig, evaluator: Evaluator) -> tuple[Fakes, Reals, dict]:
    """Open a stored run's generator, and the reals that its samples are compared with."""
    run = store.find_run(cfg.run, "run", cfg)
    data, reals = open_reals(cfg)
    checkpoint = run.checkpoint(cfg.evaluation.checkpoint)
    stored, game = tensor_files.read_checkpoint(checkpoint), build_game(cfg)
    facts = {"iteration": stored["global_step"], "kimg": stored["kimg"]}
    facts |= {"checkpoint": checkpoint.name, "ema": evaluator.ema}
    training, image_size = None, (cfg.data.image_size,) * 2
    if data is None and game.translates:
        raise UserError(
            f"real={cfg.real}: this model is scored on held-out inputs; choose other data (data.path) instead"
        )
    if data is not None:
        settle_held_out(cfg, run.config, data, game.translates)
        reals, training, facts["split"] = reference_sets(cfg, data, game.translates)
        image_size = reals.image_size
    labels = reals.labels if game.conditional else None
    if game.conditional and labels is None:  # the reals' classes are unknown: all equally often
        labels = torch.arange(cfg.data.num_classes)

    def fakes(seed: int) -> ImageSet:
        sampler = open_sampler(cfg, checkpoint, evaluator.ema, seed, device_of(cfg), evaluator.batch_size, data)
        if game.translates:
            return Translated(sampler, evaluator.samples)
        return Generated(sampler, evaluator.samples, image_size, labels, training)

    seeds = [cfg.seed + i for i in range(evaluator.seeds)]
    targeted = game.translates and data is not None and data.aligned
    learns_from_run = data is not None and isinstance(evaluator.extractor, Classifier)  # other data may be a test split
    learning_data = cache.load(open_source(run.config), cfg.cache) if learns_from_run else data
    return Fakes(fakes, seeds, game.conditional, targeted), Reals(reals, learning_data), facts


def open_reals(cfg: DictConfig) -> tuple[Data | None, ImageSet]:
    """Open the images of ``real``, or load the data."""
    data = None if cfg.real else cache.load(open_source(cfg), cfg.cache)
    images = open_images(cfg.real, "real") if data is None else Decoded(data)
    _check_count("real", images)
    return data, images


def _check_count(key: str, images: ImageSet) -> None:
    if len(images) < MIN_IMAGES:
        raise UserError(f"{key}: {images.name} holds {len(images)} images; scores want at least {MIN_IMAGES}")
