"""task=train, the default: python run.py model=dcgan data=celeba, or python run.py resume=outputs/..."""

import logging
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from sparring.config.errors import UserError
from sparring.data import cache
from sparring.distributed import collectives
from sparring.distributed.signals import Stop
from sparring.runs import console, store
from sparring.storage.locks import lock_run
from sparring.training import build, stored_weights
from sparring.training.fit import fit

log = logging.getLogger(__name__)


def train(cfg: DictConfig, folder: Path) -> None:
    """Train, score and record a GAN in ``folder``; with ``resume=``, continue the run in ``folder``.

    Every rank trains and makes its share of the samples to score. Only the first rank writes files and prints.
    """
    build.silence_lightning()
    overrides, is_first_rank = list(HydraConfig.get().overrides.task), collectives.rank() == 0
    with Stop() as stop, ExitStack() as contexts:
        build.check_machine(cfg)
        if cfg.init and not cfg.resume:
            stored_weights.adopt_vocabulary(cfg)
        source, game, evaluator = build.open_source(cfg), build.build_game(cfg), build.build_evaluator(cfg)

        run = store.find_run(cfg.resume, "resume") if cfg.resume else None
        if is_first_rank:
            contexts.enter_context(lock_run(folder))
        newest = run.newest(cfg.resume_fallback) if run and is_first_rank else None
        checkpoint, iteration = collectives.broadcast_object(newest) or (None, 0)
        iterations = build.count_iterations(cfg)
        if run and (iteration > iterations or (iteration == iterations and run.is_done)):
            raise UserError(f"resume={cfg.resume}: is as long as kimg={cfg.kimg} already; go on with a larger kimg=")
        if is_first_rank:
            if run is None:
                run = store.begin_run(folder, cfg, overrides)
            else:
                store.prepare_resume(folder, iteration)
                log.info("resuming at iteration %d, from %s", iteration, checkpoint or "the start: no checkpoint yet")
            stop.command = console.resume_command(folder, overrides)
            stop.before_exit = partial(store.write_status, folder, "stopped")
            contexts.enter_context(store.record_failure(folder))

        data = cache.load(source, cfg.cache)
        module = build.build_module(cfg, game, data)
        module.run_id = run.id if run else None
        if checkpoint is None and cfg.init:
            stored_weights.load_initial_weights(module, store.find_run(cfg.init, "init").checkpoint())
        elif checkpoint is None and game.begins_from:
            log.warning(
                "starts from random weights, from which it hardly learns: init=RUN, of model=%s", game.begins_from
            )
        ended = fit(cfg, folder, module, data, evaluator, stop, iterations, checkpoint, iteration)
        if stop.signal is not None:
            if is_first_rank:
                print(f"\nStopped at {module.kimg:.1f} kimg. Go on with: {stop.command}")
            sys.exit(128 + stop.signal)
        if not is_first_rank:
            return
        ended.status.mark("done", module)
    if evaluator and ended.scores:
        print("\n" + console.scores_table(ended.scores, ended.scores["lower_is_better"]))
        print(console.best_line(folder, evaluator.lower_is_better))
    else:
        print("\nNo scores: evaluation=none")
    print("\n" + console.where_files_are(folder, ended.samples, module.last_checkpoint))
