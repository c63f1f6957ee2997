"""What ``task=`` names: one function each, which reads as the recipe of its job."""

import logging
import shutil
import signal
import sys
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch
from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_object
from omegaconf import DictConfig

from sparring import distributed, drawing, memory, report, runs, strangers, tensors
from sparring import export as exporting
from sparring.answers import answer
from sparring.assembly import (
    adopt_vocabulary,
    build_evaluator,
    build_game,
    build_module,
    check_machine,
    count_iterations,
    device_of,
    look_at_data,
    open_gallery,
    silence_lightning,
    start_from,
)
from sparring.callbacks.scores import entry as scored
from sparring.callbacks.scores import record
from sparring.comparison import page, records, workspace
from sparring.config import build
from sparring.data import cache
from sparring.errors import UserError
from sparring.evaluation.gallery import Gallery
from sparring.evaluation.made import Answers, Generated
from sparring.evaluation.sets import Decoded, ImageSet, Subset, open_images
from sparring.examples import HELD_OUT, compared, divide, keep_apart, thinned
from sparring.locks import trained_here
from sparring.stopping import Stop
from sparring.training import fit

log = logging.getLogger(__name__)


def train(cfg: DictConfig, folder: Path) -> None:
    """Train, score and record a GAN in ``folder``; with ``resume=`` go on with the one that lies there.

    Every rank trains and makes its share of what is scored; the first one alone writes and speaks.
    """
    silence_lightning()
    first = distributed.rank() == 0
    with Stop() as stop, ExitStack() as held:
        check_machine(cfg)
        if cfg.init and not cfg.resume:
            adopt_vocabulary(cfg)
        source, game, evaluator = look_at_data(cfg), build_game(cfg), build_evaluator(cfg)
        iterations, stored = count_iterations(cfg), runs.find(cfg.resume, "resume") if cfg.resume else None
        if first:
            held.enter_context(trained_here(folder))
        checkpoint, begun = distributed.tell(first and stored and stored.newest(cfg.resume_fallback)) or (None, 0)
        if begun > iterations or begun == iterations and stored.is_done:
            raise UserError(f"resume={cfg.resume}: is as long as kimg={cfg.kimg} already; go on with a larger kimg=")
        if first:
            if stored is None:
                stored = runs.begin(folder, cfg, list(HydraConfig.get().overrides.task))
            else:
                runs.go_on(folder, begun)
                log.info(
                    "going on at iteration %d, from %s", begun, checkpoint or "the start: it has no checkpoint yet"
                )
            stop.command = report.going_on(folder, HydraConfig.get().overrides.task)
            stop.leave = partial(runs.mark, folder, "stopped")
            held.enter_context(runs.recorded(folder))

        module = build_module(cfg, game, data := cache.load(source, cfg.cache))
        module.run_id = stored and stored.id
        if cfg.init and checkpoint is None:
            start_from(module, runs.find(cfg.init, "init").checkpoint())
        elif game.begins_from and checkpoint is None:
            log.warning(
                "begins with random weights, of which it hardly learns: init=RUN, of model=%s", game.begins_from
            )
        ended = fit(cfg, folder, module, data, evaluator, stop, iterations, checkpoint, begun)
        if stop.signal is not None:
            if first:
                print(f"\nStopped at {module.kimg:.1f} kimg. Go on with: {stop.command}")
            sys.exit(128 + stop.signal)
        if not first:
            return
        ended.status.mark("done", module)
    if evaluator:
        print("\n" + report.scores_table(ended.scores, ended.scores["lower_is_better"]))
        print(report.best_line(folder, evaluator.lower_is_better))
    else:
        print("\nNo scores: evaluation=none")
    print("\n" + report.places(folder, ended.samples, module.last_checkpoint))


def sample(cfg: DictConfig, folder: Path) -> None:
    """Draw a run's generator: samples and a walk between them; its answers to images; or what its latents mean (``sample.kind``)."""
    run, wanted = runs.find(cfg.run, "run", cfg), cfg.sample
    path, given, cfg = run.checkpoint(wanted.checkpoint), cfg.input and Path(cfg.input).expanduser(), run.config
    memory.check_samples(wanted, cfg.data)
    game, kind = get_object(cfg.model._target_), wanted.kind
    drawing.check(game, kind, given)
    needs_data = (game.translates or kind == "projection") and not given
    data = cache.load(look_at_data(cfg), cfg.cache) if needs_data else None
    gallery = open_gallery(cfg, path, wanted.ema, wanted.seed, data=data, back=wanted.back)
    if wanted.temperature is not None:
        if not hasattr(gallery.producer, "temperature"):
            raise UserError(f"sample.temperature={wanted.temperature}: is for text; this model is {cfg.model._target_}")
        gallery.producer.temperature = wanted.temperature
    name = "answers" if given and game.translates else f"seed{wanted.seed}"
    name += "-back" * wanted.back + f"-{kind}" * (kind != "samples")
    out = Path(wanted.folder or folder / "samples" / f"{path.stem}-{name}").expanduser()
    if given and game.translates:
        channels = cfg.data.channels if wanted.back else cfg.data.get("input_channels", cfg.data.channels)
        answered = answer(gallery, given, channels, out)
        print(f"{answered} images in {out / 'images'}, each beside what it was made of in {out / 'compared'}")
    elif game.translates:
        drawing.draw_answers(gallery, wanted, out)
    else:
        classes = cfg.data.num_classes if gallery.game.conditional else 0
        of = drawing.targets(gallery, cfg.data, data, given, wanted.rows) if kind == "projection" else ()
        drawing.KINDS[kind](gallery, classes, wanted, out, *of)


def evaluate(cfg: DictConfig, folder: Path) -> None:
    """Score a stored run's generator again, or any two sets of images; an entry of ``scores.json`` in ``folder``."""
    silence_lightning()
    if not cfg.evaluation:
        raise UserError("task=evaluate with evaluation=none: choose evaluation=inception (or fast)")
    if "extractor" not in cfg.evaluation:
        return _study(cfg, folder)
    given = open_images(cfg.fake, "fake") if cfg.fake else None
    evaluator = build_evaluator(cfg)
    data = None if cfg.real else cache.load(look_at_data(cfg), cfg.cache)
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
        path = runs.find(cfg.run, "run", cfg).checkpoint(cfg.evaluation.checkpoint)
        stored = tensors.read_checkpoint(path)
        game = build_game(cfg)
        if data is not None:
            keep_apart(cfg, runs.find(cfg.run, "run", cfg).config, game, data)
            reals, training = compared(cfg, game, data)
            facts |= {"split": HELD_OUT} if training else {}
        iteration, kimg, labelled = stored["global_step"], stored["kimg"], game.conditional
        asked = None  # of a conditional generator: the reals' classes, or all alike where these are unknown
        if labelled:
            asked = torch.arange(cfg.data.num_classes) if reals.labels is None else reals.labels
        facts |= {"checkpoint": path.name, "ema": evaluator.ema}

    def fakes(seed: int | None) -> ImageSet:
        if given is not None:
            return given if samples == len(given) else Subset(given, samples)
        gallery = open_gallery(cfg, path, evaluator.ema, seed, device_of(cfg), evaluator.batch_size, data)
        if gallery.game.translates:
            return Answers(gallery, samples)
        size = reals.image_size if data is not None else (cfg.data.image_size,) * 2
        return Generated(gallery, samples, size, asked, training)

    learnt_from = data
    if cfg.run and data is not None and "Classifier" in cfg.evaluation.extractor._target_:  # of the training split
        learnt_from = cache.load(look_at_data(runs.find(cfg.run, "run", cfg).config), cfg.cache)
    evaluator.prepare(
        reals, device_of(cfg), cfg.cache, learnt_from, labelled, game is not None and game.translates and data.aligned
    )
    result, pictures = evaluator(fakes, seeds)
    entry = scored(result, iteration, kimg, **facts)
    if distributed.rank() > 0:
        return
    record(folder, entry, pictures)
    print("\n" + report.scores_table(entry, entry["lower_is_better"]))
    print(f"\nRecorded in {folder / 'scores.json'}")


def _study(cfg: DictConfig, folder: Path) -> None:
    """Whether training on a run's images helps a classifier; an entry of ``scores.json``."""
    if not isinstance(cfg.run, str):
        raise UserError("evaluation=augmentation studies a run: run=outputs/...")
    if distributed.rank() > 0:
        return
    run, study = runs.find(cfg.run, "run", cfg), build(cfg.evaluation, "evaluation")
    path, game = run.checkpoint(cfg.evaluation.checkpoint), build_game(run.config)
    data, other = (cache.load(look_at_data(each), cfg.cache) for each in (run.config, cfg))
    rows = {"images": torch.arange(len(data))} | {k: c for k, c in data.columns.items() if k == "labels"}
    seen = thinned(run.config, divide(run.config, game, replace(data, columns=rows))[0])["images"][:]

    def gallery(seed: int) -> Gallery:
        return open_gallery(cfg, path, study.ema, seed, device_of(cfg), study.batch_size)

    test = None if other.key == data.key else other  # data.split=test
    result, pictures, text = study(data, gallery, seen, test, device_of(cfg), cfg.seed)
    stored = tensors.read_checkpoint(path)
    result["protocol"] |= {"checkpoint": path.name, "ema": study.ema}
    record(folder, {"iteration": stored["global_step"], "kimg": stored["kimg"], **result}, pictures)
    print(f"\n{text}\n\nRecorded in {folder / 'scores.json'}, class by class")


def compare(cfg: DictConfig, folder: Path) -> None:
    """Lay stored runs side by side: a page that needs no other file, and a table; and those of a W&B project in a workspace."""
    folder = Path(cfg.compare.folder or folder).expanduser()
    found = records.find(cfg.run) if cfg.run else []
    for run in found:
        strangers.check_code(run.config, run.folder / "config.yaml", cfg.trust)
    if cfg.compare.wandb:
        print(f"W&B    {workspace.publish(cfg.logger.entity, cfg.logger.project, found)}")
    if not found:
        return
    path, table = page.write(found, folder)
    print(f"\n{table.markdown(shutil.get_terminal_size((140, 24)).columns)}")
    print(f"Page   {path}\nTable  {path.with_suffix('.md')}, all scores, run by run")


def export(cfg: DictConfig, folder: Path) -> None:
    """A run's generator as one file, for use elsewhere."""
    print(exporting.told(*exporting.write(runs.find(cfg.run, "run", cfg), cfg.export)))


def benchmark(cfg: DictConfig, folder: Path) -> None:
    """Measure speed on this machine."""
    silence_lightning()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that temporary folders are removed
    build(cfg.benchmark, "benchmark", partial=True)(cfg, folder)
