"""task=evaluate"""

from pathlib import Path

import torch
from omegaconf import DictConfig

from sparring.config.errors import UserError
from sparring.data import cache
from sparring.distributed import collectives
from sparring.evaluation.generated_sets import Answers, Generated
from sparring.evaluation.image_sets import Decoded, ImageSet, Subset, open_images
from sparring.evaluation.splits import HELD_OUT, reference_sets, settle_held_out
from sparring.runs import console, store
from sparring.runs.scores_file import record_scores
from sparring.runs.scores_file import scores_entry as scored
from sparring.storage import tensor_files
from sparring.tasks.augmentation_study import augmentation_study
from sparring.training.build import build_evaluator, build_game, device_of, open_source, silence_lightning
from sparring.training.stored_weights import open_sampler


def evaluate(cfg: DictConfig, folder: Path) -> None:
    """Score a stored run's generator again, or any two sets of images; an entry of ``scores.json`` in ``folder``."""
    silence_lightning()
    if not cfg.evaluation:
        raise UserError("task=evaluate with evaluation=none: choose evaluation=inception (or fast)")
    if "extractor" not in cfg.evaluation:
        return augmentation_study(cfg, folder)
    given = open_images(cfg.fake, "fake") if cfg.fake else None
    evaluator = build_evaluator(cfg)
    data = None if cfg.real else cache.load(open_source(cfg), cfg.cache)
    reals, training = (open_images(cfg.real, "real") if cfg.real else Decoded(data)), None
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
        iteration, kimg, labelled, game = None, None, given.labels is not None, None
    else:
        samples, seeds = evaluator.samples, [cfg.seed + i for i in range(evaluator.seeds)]
        path = store.find_run(cfg.run, "run", cfg).checkpoint(cfg.evaluation.checkpoint)
        stored = tensor_files.read_checkpoint(path)
        game = build_game(cfg)
        if data is not None:
            settle_held_out(cfg, store.find_run(cfg.run, "run", cfg).config, game, data)
            reals, training = reference_sets(cfg, game, data)
            facts |= {"split": HELD_OUT} if training else {}
        iteration, kimg, labelled = stored["global_step"], stored["kimg"], game.conditional
        asked = None  # of a conditional generator: the reals' classes, or all alike where these are unknown
        if labelled:
            asked = torch.arange(cfg.data.num_classes) if reals.labels is None else reals.labels
        facts |= {"checkpoint": path.name, "ema": evaluator.ema}

    def fakes(seed: int | None) -> ImageSet:
        if given is not None:
            return given if samples == len(given) else Subset(given, samples)
        sampler = open_sampler(cfg, path, evaluator.ema, seed, device_of(cfg), evaluator.batch_size, data)
        if sampler.game.translates:
            return Answers(sampler, samples)
        size = reals.image_size if data is not None else (cfg.data.image_size,) * 2
        return Generated(sampler, samples, size, asked, training)

    learnt_from = data
    if cfg.run and data is not None and evaluator.extractor.needs_labels:  # of the training split
        learnt_from = cache.load(open_source(store.find_run(cfg.run, "run", cfg).config), cfg.cache)
    evaluator.prepare(
        reals, device_of(cfg), cfg.cache, learnt_from, labelled, game is not None and game.translates and data.aligned
    )
    result, pictures = evaluator(fakes, seeds)
    entry = scored(result, iteration, kimg, **facts)
    if collectives.rank() > 0:
        return None
    record_scores(folder, entry, pictures)
    print("\n" + console.scores_table(entry, entry["lower_is_better"]))
    print(f"\nRecorded in {folder / 'scores.json'}")
