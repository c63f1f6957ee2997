"""task=train"""

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
from sparring.training.build import (
    adopt_vocabulary,
    build_evaluator,
    build_game,
    build_module,
    check_machine,
    count_iterations,
    load_initial_weights,
    open_source,
    silence_lightning,
)
from sparring.training.fit import fit

log = logging.getLogger(__name__)


def train(cfg: DictConfig, folder: Path) -> None:
    """Train, score and record a GAN in ``folder``; with ``resume=`` go on with the one that lies there.

    Every rank trains and makes its share of what is scored; the first one alone writes and speaks.
    """
    silence_lightning()
    first = collectives.rank() == 0
    with Stop() as stop, ExitStack() as held:
        check_machine(cfg)
        if cfg.init and not cfg.resume:
            adopt_vocabulary(cfg)
        source, game, evaluator = open_source(cfg), build_game(cfg), build_evaluator(cfg)
        iterations, stored = count_iterations(cfg), store.find_run(cfg.resume, "resume") if cfg.resume else None
        if first:
            held.enter_context(lock_run(folder))
        checkpoint, begun = collectives.broadcast_object(first and stored and stored.newest(cfg.resume_fallback)) or (
            None,
            0,
        )
        if begun > iterations or begun == iterations and stored.is_done:
            raise UserError(f"resume={cfg.resume}: is as long as kimg={cfg.kimg} already; go on with a larger kimg=")
        if first:
            if stored is None:
                stored = store.begin_run(folder, cfg, list(HydraConfig.get().overrides.task))
            else:
                store.prepare_resume(folder, begun)
                log.info(
                    "going on at iteration %d, from %s", begun, checkpoint or "the start: it has no checkpoint yet"
                )
            stop.command = console.resume_command(folder, HydraConfig.get().overrides.task)
            stop.leave = partial(store.write_status, folder, "stopped")
            held.enter_context(store.record_failure(folder))

        module = build_module(cfg, game, data := cache.load(source, cfg.cache))
        module.run_id = stored and stored.id
        if cfg.init and checkpoint is None:
            load_initial_weights(module, store.find_run(cfg.init, "init").checkpoint())
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
        print("\n" + console.scores_table(ended.scores, ended.scores["lower_is_better"]))
        print(console.best_line(folder, evaluator.lower_is_better))
    else:
        print("\nNo scores: evaluation=none")
    print("\n" + console.where_files_are(folder, ended.samples, module.last_checkpoint))
