"""task=evaluate evaluation=augmentation."""

from dataclasses import replace
from pathlib import Path

import torch
from hydra.utils import get_object
from omegaconf import DictConfig

from sparring.config.errors import UserError
from sparring.config.instantiate import build
from sparring.data import cache
from sparring.data.splits import training_columns
from sparring.distributed import collectives
from sparring.evaluation.sampler import Sampler
from sparring.runs import store
from sparring.runs.scores_file import append_scores, save_pictures
from sparring.storage import tensor_files
from sparring.training.build import device_of, open_source
from sparring.training.stored_weights import open_sampler


def augmentation_study(cfg: DictConfig, folder: Path) -> None:
    """Study whether training on a run's images helps a classifier; append an entry to ``scores.json``."""
    if not isinstance(cfg.run, str):
        raise UserError("evaluation=augmentation studies a run: run=outputs/...")
    if collectives.rank() > 0:
        return
    run, study = store.find_run(cfg.run, "run", cfg), build(cfg.evaluation, "evaluation")
    checkpoint = run.checkpoint(cfg.evaluation.checkpoint)
    data, other = (cache.load(open_source(each), cfg.cache) for each in (run.config, cfg))
    row_numbers = {"images": torch.arange(len(data))} | {k: c for k, c in data.columns.items() if k == "labels"}
    translates = get_object(run.config.model._target_).translates
    trained_on = training_columns(run.config, replace(data, columns=row_numbers), translates)["images"][:]

    def sampler(seed: int) -> Sampler:
        return open_sampler(cfg, checkpoint, study.ema, seed, device_of(cfg), study.batch_size)

    test = None if other.key == data.key else other  # another split: data.split=test
    result, pictures, table = study(data, sampler, trained_on, test, device_of(cfg), cfg.seed)
    stored = tensor_files.read_checkpoint(checkpoint)
    result["protocol"] |= {"checkpoint": checkpoint.name, "ema": study.ema}
    entry = {"iteration": stored["global_step"], "kimg": stored["kimg"], **result}
    append_scores(folder, [entry])
    save_pictures(folder, entry, pictures)
    print(f"\n{table}\n\nRecorded in {folder / 'scores.json'}, class by class")
