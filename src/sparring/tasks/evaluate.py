"""task=evaluate."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from sparring.config.errors import UserError
from sparring.data import cache
from sparring.data.dataset import Data
from sparring.distributed import collectives
from sparring.evaluation.evaluator import Evaluator
from sparring.evaluation.generated_sets import fakes_of
from sparring.evaluation.image_sets import Decoded, ImageSet, at_most, open_images
from sparring.evaluation.references import References, choose_references, settle_held_out
from sparring.runs import console, store
from sparring.runs.scores_file import append_scores, save_pictures, scores_entry
from sparring.storage import tensor_files
from sparring.tasks.augmentation_study import augmentation_study
from sparring.training.build import build_evaluator, build_game, device_of, open_source, silence_lightning
from sparring.training.stored_weights import open_sampler

MIN_IMAGES = 50


@dataclass(frozen=True)
class Fakes:
    """Sets of fakes by sampling seed, and whether they have labels and targets."""

    of_seed: Callable[[Any], ImageSet]
    seeds: Sequence[int | None]
    labelled: bool
    targeted: bool = False


def evaluate(cfg: DictConfig, folder: Path) -> None:
    """Score a stored run's generator, or any two sets of images; append an entry to ``scores.json`` in ``folder``."""
    silence_lightning()
    if cfg.evaluation and "extractor" not in cfg.evaluation:  # evaluation=augmentation
        augmentation_study(cfg, folder)
        return
    images = None
    if cfg.fake:
        images = open_images(cfg.fake, "fake")  # before weights are loaded
        cfg.evaluation.reals = cfg.evaluation.reals or "all"
    evaluator = build_evaluator(cfg)
    if evaluator is None:
        raise UserError("task=evaluate with evaluation=none: choose evaluation=inception (or fast)")
    fakes, reals, facts = given_images(cfg, images) if images else samples_of_run(cfg, evaluator)
    evaluator.prepare(reals.images, device_of(cfg), cfg.cache, reals.data, fakes.labelled, fakes.targeted)
    result, pictures = evaluator(fakes.of_seed, fakes.seeds)
    if collectives.rank() > 0:
        return
    entry = scores_entry(result, **facts)
    append_scores(folder, [entry])
    save_pictures(folder, entry, pictures)
    print("\n" + console.scores_table(entry, entry["lower_is_better"]))
    print(f"\nRecorded in {folder / 'scores.json'}")


def given_images(cfg: DictConfig, images: ImageSet) -> tuple[Fakes, References, dict]:
    """Score given images: all of them, unless evaluation.samples says less."""
    _check_count("fake", images)
    data, reals = _open_reals(cfg)
    labels, known = images.labels, reals.labels
    if labels is not None and known is not None and not 0 <= labels.min() <= labels.max() <= known.max():
        raise UserError(f"fake={cfg.fake}: its labels reach beyond those of the reals, 0 to {known.max()}")
    chosen = at_most(images, cfg.evaluation.samples or len(images))
    facts = {} if data is None else {"split": cfg.data.get("split", "all")}
    fakes = Fakes(lambda _: chosen, [None], labelled=images.labels is not None)
    return fakes, References(reals, data=data), facts | {"iteration": None, "kimg": None}


def samples_of_run(cfg: DictConfig, evaluator: Evaluator) -> tuple[Fakes, References, dict]:
    """Score samples of a stored run's generator."""
    run = store.find_run(cfg.run, "run", cfg)
    data, reals = _open_reals(cfg)
    checkpoint = run.checkpoint(cfg.evaluation.checkpoint)
    stored, game = tensor_files.read_checkpoint(checkpoint), build_game(cfg)
    facts = {"iteration": stored["global_step"], "kimg": stored["kimg"]}
    facts |= {"checkpoint": checkpoint.name, "ema": evaluator.ema}
    if data is not None:
        settle_held_out(cfg, run.config, data, game.translates)
        references = choose_references(cfg, data, game.translates)
        facts["split"] = references.split
        if evaluator.extractor.needs_labels:  # it learns from the run's own split
            references = replace(references, data=cache.load(open_source(run.config), cfg.cache))
    elif game.translates:
        raise UserError(
            f"real={cfg.real}: this model is scored on held-out inputs; choose other data (data.path) instead"
        )
    else:
        references = References(reals)
    image_size = (cfg.data.image_size,) * 2 if data is None else None  # None: that of the data

    def fakes(seed: int) -> ImageSet:
        sampler = open_sampler(cfg, checkpoint, evaluator.ema, seed, device_of(cfg), evaluator.batch_size, data)
        return fakes_of(sampler, evaluator.samples, references, image_size)

    seeds = [cfg.seed + i for i in range(evaluator.seeds)]
    targeted = game.translates and data is not None and data.aligned
    return Fakes(fakes, seeds, game.conditional, targeted), references, facts


def _open_reals(cfg: DictConfig) -> tuple[Data | None, ImageSet]:
    data = None if cfg.real else cache.load(open_source(cfg), cfg.cache)
    images = open_images(cfg.real, "real") if data is None else Decoded(data)
    _check_count("real", images)
    return data, images


def _check_count(key: str, images: ImageSet) -> None:
    if len(images) < MIN_IMAGES:
        raise UserError(f"{key}: {images.name} holds {len(images)} images; scores want at least {MIN_IMAGES}")
