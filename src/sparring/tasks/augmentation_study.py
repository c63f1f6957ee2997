"""evaluation=augmentation"""

from dataclasses import replace
from pathlib import Path

import torch
from omegaconf import DictConfig

from sparring.config.errors import UserError
from sparring.config.instantiate import build
from sparring.data import cache
from sparring.distributed import collectives
from sparring.evaluation.sampler import Sampler
from sparring.evaluation.splits import split_columns, thin_training_columns
from sparring.runs import store
from sparring.runs.scores_file import record_scores
from sparring.storage import tensor_files
from sparring.training.build import build_game, device_of, open_source
from sparring.training.stored_weights import open_sampler


def augmentation_study(cfg: DictConfig, folder: Path) -> None:
    """Whether training on a run's images helps a classifier; an entry of ``scores.json``."""
    if not isinstance(cfg.run, str):
        raise UserError("evaluation=augmentation studies a run: run=outputs/...")
    if collectives.rank() > 0:
        return
    run, study = store.find_run(cfg.run, "run", cfg), build(cfg.evaluation, "evaluation")
    path, game = run.checkpoint(cfg.evaluation.checkpoint), build_game(run.config)
    data, other = (cache.load(open_source(each), cfg.cache) for each in (run.config, cfg))
    rows = {"images": torch.arange(len(data))} | {k: c for k, c in data.columns.items() if k == "labels"}
    seen = thin_training_columns(run.config, split_columns(run.config, game, replace(data, columns=rows))[0])["images"][
        :
    ]

    def sampler(seed: int) -> Sampler:
        return open_sampler(cfg, path, study.ema, seed, device_of(cfg), study.batch_size)

    test = None if other.key == data.key else other  # data.split=test
    result, pictures, text = study(data, sampler, seen, test, device_of(cfg), cfg.seed)
    stored = tensor_files.read_checkpoint(path)
    result["protocol"] |= {"checkpoint": path.name, "ema": study.ema}
    record_scores(folder, {"iteration": stored["global_step"], "kimg": stored["kimg"], **result}, pictures)
    print(f"\n{text}\n\nRecorded in {folder / 'scores.json'}, class by class")
