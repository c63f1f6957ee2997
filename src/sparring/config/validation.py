"""Refuse what makes no sense before anything is built; a message names the key, its value and what would be right."""

from typing import Any

from omegaconf import DictConfig, OmegaConf

from sparring.config import memory, node_types, overrides
from sparring.config.errors import UserError
from sparring.config.values import check_values, plain, task_of

READERS = {"fake": "evaluate", "real": "evaluate", "evaluation.checkpoint": "evaluate", "input": "sample"}  # key: task
OF_TRAINING = {"model", "data", "loss", "regularizer", "augment", "optimizer", "ema", "evaluation"}
OF_RUNS = {"evaluation.seeds", "evaluation.ema", "evaluation.checkpoint"}


def check_task(cfg: DictConfig, typed: list[str]) -> None:
    """Refuse keys that the task would ignore, and groups that hold something else than their choices.

    Args:
        cfg: the composed experiment.
        typed: the overrides of the command line.

    Raises:
        UserError: naming the key and the task that reads it.
    """
    node_types.check_groups(cfg)
    task, keys = task_of(cfg), {override: overrides.key_of(override) for override in typed}
    for key, reader in READERS.items():
        if task != reader and (value := OmegaConf.select(cfg, key)) is not None:
            raise UserError(f"{key}={value}: only task={reader} reads it")
    if task in ("train", "benchmark") and cfg.run is not None:
        raise UserError(
            f"run={cfg.run}: task={task} does not read it; resume=FOLDER continues, task=sample draws a run"
        )
    if task == "evaluate" and (cfg.fake is None) == (cfg.run is None):
        raise UserError("task=evaluate scores a run (run=outputs/...) or images (fake=DIR real=DIR): name one of them")
    if cfg.fake is not None and cfg.real is None and "data" not in keys.values():
        raise UserError(f"fake={cfg.fake}: compared with which reals? Name a folder, a .npz or a data set: real=...")
    if (task == "benchmark") != (cfg.benchmark is not None):
        raise UserError("task=benchmark and benchmark=... go together: task=benchmark benchmark=evaluation")
    for override, key in keys.items():
        root = key.replace("/", ".").partition(".")[0]
        if cfg.fake is not None and key in OF_RUNS:
            raise UserError(f"{override}: is for run=outputs/...; images that are given (fake=) have none")
        if task in ("sample", "export") and root in OF_TRAINING:
            raise UserError(f"{override}: task={task} takes the run as it was trained, and reads its own keys only")
        if root in ("sample", "compare", "export") and root not in (task, key):
            raise UserError(f"{override}: only task={root} reads the keys of {root}")


def check(cfg: DictConfig) -> None:
    """Refuse keys that nobody reads, values of a wrong type or range, and combinations that make no sense.

    Raises:
        UserError: naming the key, its value and what would be right.
    """
    node_types.check_nodes(cfg)
    check_values(plain(cfg))
    overrides.check_folder("cache", cfg.cache)
    _check_combinations(cfg)
    if cfg.evaluation:
        _check_evaluation(cfg)
    _check_runs(cfg)


def _check_combinations(cfg: DictConfig) -> None:
    if cfg.kimg is None and cfg.trainer.max_steps is None:
        raise UserError("kimg=null and trainer.max_steps=null: one of them must say how long training lasts")
    if cfg.data.get("held_out") == "all" and task_of(cfg) != "evaluate":
        raise UserError("data.held_out=all: leaves nothing to train on; it is for task=evaluate of other data")
    if cfg.data.batch_size % cfg.accumulate:
        raise UserError(f"accumulate={cfg.accumulate} must divide data.batch_size={cfg.data.batch_size}")
    if cfg.reuse_fakes and (cfg.n_dis > 1 or cfg.accumulate > 1):
        raise UserError(f"reuse_fakes=true n_dis={cfg.n_dis} accumulate={cfg.accumulate}: needs n_dis=1 accumulate=1")
    if cfg.trainer.cuda_graph and (cfg.trainer.strategy != "auto" or cfg.trainer.devices != 1):
        raise UserError("trainer.cuda_graph=true: records on one GPU; leave out trainer=ddp and trainer.devices")


def _check_evaluation(cfg: DictConfig) -> None:
    extractor = cfg.evaluation.get("extractor")
    if extractor is None:  # a study of a finished run
        if task_of(cfg) != "evaluate":
            raise UserError("evaluation=augmentation is for a finished run: task=evaluate run=...")
        return
    if not cfg.evaluation.get("metrics"):
        raise UserError("evaluation/metrics=[]: nothing would be scored; name some, or choose evaluation=none")
    if cfg.evaluation.get("weights") and "weights" not in extractor:
        raise UserError(f"evaluation.weights={cfg.evaluation.weights}: the extractor {extractor._target_} takes none")


def _check_runs(cfg: DictConfig) -> None:
    task = task_of(cfg)
    if task in ("sample", "export") and not isinstance(cfg.run, str):
        raise UserError(f"task={task} needs the folder of a run: run=outputs/...")
    if task != "compare":
        return
    folders: list[Any] = list(cfg.run) if OmegaConf.is_list(cfg.run) else [cfg.run]
    if not (cfg.run is None and cfg.compare.wandb) and not (folders and all(isinstance(f, str) for f in folders)):
        raise UserError(f"run={cfg.run}: task=compare needs folders of runs or sweeps: run=multirun/... or run=[a,b]")
    if cfg.compare.wandb and "project" not in (cfg.logger or {}):
        raise UserError("compare.wandb=true: the workspace belongs to the logger's project; choose logger=wandb")


def check_data(cfg: DictConfig) -> None:
    """Refuse sizes and combinations that do not fit the data, once their source is open; nothing is loaded yet.

    Raises:
        UserError: naming the key, its value and what the data are.
    """
    memory.check_sizes(cfg)
    takes = {"flip": ("images", "clips", "voxels"), "jitter": ("images",), "rotation": ("images",)}
    for key, modalities in takes.items():
        if (value := cfg.data.get(key)) and cfg.data.modality not in modalities:
            kinds = f"only for {' and '.join(modalities)}; these data are {cfg.data.modality}"
            raise UserError(f"data.{key}={str(value).lower()}: {kinds}")
    if cfg.data.num_classes > 0:
        return
    if cfg.model.get("conditional"):
        raise UserError("model.conditional=true: these data have no labels; choose model.conditional=false")
    for key in ("long_tail", "balance"):
        if value := cfg.data.get(key):
            raise UserError(f"data.{key}={str(value).lower()}: needs labels; these data have none")
