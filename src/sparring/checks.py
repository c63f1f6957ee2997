"""What is refused before anything is built, and how it is said: the key, its value, what would be right."""

import json
from dataclasses import fields
from pathlib import Path
from typing import get_type_hints

from omegaconf import DictConfig, OmegaConf

from sparring.config import OWN_KEYS, signature
from sparring.errors import UserError
from sparring.explain import suggestion


def check_task(cfg: DictConfig, overrides: list[str]) -> None:
    """Refuse what the task would silently ignore."""
    task = cfg.task._target_.rpartition(".")[2]
    if task != "evaluate" and (stray := [key for key in ("fake", "real") if cfg[key] is not None]):
        raise UserError(f"{stray[0]}={cfg[stray[0]]}: only task=evaluate reads it")
    if task != "sample" and cfg.input is not None:
        raise UserError(f"input={cfg.input}: only task=sample reads it")
    if task == "evaluate":
        chosen = {override.partition("=")[0] for override in overrides}
        if (cfg.fake is None) == (cfg.run is None):
            raise UserError(
                "task=evaluate scores a run (run=outputs/...) or images (fake=DIR real=DIR): name one of them"
            )
        if cfg.fake is not None and cfg.real is None and "data" not in chosen:
            raise UserError(f"fake={cfg.fake}: beside which reals? Name a folder, a .npz or a data set: real=...")
    of_runs = ("evaluation.seeds", "evaluation.ema", "evaluation.checkpoint")
    if cfg.fake is not None and (stray := [o for o in overrides if o.lstrip("+").startswith(of_runs)]):
        raise UserError(f"{stray[0]}: images that are given (fake=) have none; it is for run=outputs/...")
    if task != "evaluate" and OmegaConf.select(cfg, "evaluation.checkpoint") is not None:
        raise UserError(f"evaluation.checkpoint={cfg.evaluation.checkpoint}: only task=evaluate run=... reads it")
    if (task == "benchmark") != (cfg.benchmark is not None):
        raise UserError("task=benchmark and benchmark=... go together: task=benchmark benchmark=evaluation")
    for reader in ("sample", "compare", "export"):
        if task != reader and (stray := [o for o in overrides if o.startswith(f"{reader}.")]):
            raise UserError(f"{stray[0]}: only task={reader} reads the keys of {reader}")


def check(cfg: DictConfig) -> None:
    """Refuse a key that nobody reads, a value of the wrong type or range, and combinations that make no sense.

    Raises:
        UserError: naming the key, its value and what would be right.
    """
    _check_targets(cfg)
    _check_ranges(cfg)
    _check_combinations(cfg)


def _check_targets(node: DictConfig, path: str = "") -> None:
    """Every node against what may stand in it: its dataclass, its constructor's signature, or other such nodes."""
    if node._metadata.object_type not in (None, dict):
        _check_keys(node, path, [f.name for f in fields(node._metadata.object_type)])
    elif "_target_" in node:
        _check_arguments(node, path)
    else:
        for key in node:
            if not isinstance(node[key], DictConfig) or "_target_" not in node[key]:
                chosen = [str(k) for k in node if isinstance(node[k], DictConfig) and "_target_" in node[k]]
                raise UserError(
                    f"{path}.{key}={node[key]}: '{key}' was not chosen, so it has no settings."
                    f"{suggestion(key, chosen)} {path} holds {', '.join(chosen) or 'nothing'}."
                )
    for key in node:
        if OmegaConf.is_missing(node, key):
            raise UserError(f"{path}.{key} must be given: {path}.{key}=...")
        if isinstance(node[key], DictConfig):
            _check_targets(node[key], f"{path}.{key}" if path else str(key))


def _check_keys(node: DictConfig, path: str, known: list[str]) -> None:
    for key in node:
        if key not in known and not (str(key).startswith("_") and str(key).endswith("_")):
            name = f"{path}.{key}" if path else str(key)
            raise UserError(
                f"{name}: no such key.{suggestion(key, known)} {path or 'The top level'} takes {', '.join(known)}."
            )


def _check_arguments(node: DictConfig, path: str) -> None:
    from hydra.utils import get_object
    from pydantic import ConfigDict, TypeAdapter, ValidationError
    from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

    try:
        target = get_object(node._target_)
    except Exception as error:
        raise UserError(f"{path}._target_={node._target_}: can't be imported ({error})") from error
    parameters, hints = signature(target)
    hints |= get_type_hints(OWN_KEYS[path]) if path in OWN_KEYS else {}
    known = [name for name in parameters if name not in ("self", "params")]
    known += [f.name for f in fields(OWN_KEYS[path])] if path in OWN_KEYS else []
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        _check_keys(node, path, known)
    for key in set(node) & set(hints):
        if OmegaConf.is_missing(node, key):
            continue
        value = node[key]
        if isinstance(value, DictConfig) or (value is None and OmegaConf.is_interpolation(node, key)):
            continue
        try:
            adapter = TypeAdapter(hints[key], config=ConfigDict(arbitrary_types_allowed=True))
        except (PydanticSchemaGenerationError, PydanticUserError):
            continue
        plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        try:
            valid = adapter.validate_json(json.dumps(plain), strict=True)
        except ValidationError as error:
            wanted = "; or ".join(
                dict.fromkeys(
                    "more values are needed" if e["type"] == "missing" else e["msg"]
                    for e in error.errors()
                    if "instance of Tensor" not in e["msg"]
                )
            )
            raise UserError(f"{path}.{key}={plain}: {wanted}") from error
        if plain != valid or json.dumps(plain) != json.dumps(valid, default=str):
            node[key] = valid  # 0 where a float is wanted becomes 0.0: torch's optimizers ask for it


def _check_ranges(cfg: DictConfig) -> None:
    at_least = {
        "n_dis": 1,
        "accumulate": 1,
        "data.batch_size": 1,
        "data.subset": 1,
        "data.long_tail": 1,
        "data.device_memory_gb": 0,
        "data.jitter": 0,
        "data.rotation": 0,
        "trainer.max_steps": 1,
        "trainer.num_nodes": 1,
        "trainer.log_every_n_steps": 1,
        "checkpoint.keep": 1,
        "grid.count": 1,
        "ema.half_life_kimg": 0,
        "optimizer.generator.lr": 0,
        "optimizer.discriminator.lr": 0,
        "evaluation.samples": 50,
        "evaluation.batch_size": 1,
        "evaluation.samples_during": 50,
        "evaluation.seeds": 1,
        "sample.count": 1,
        "sample.frames": 0,
        "sample.truncation": 0,
        "model.latent_dim": 1,
        "model.width": 1,
        "benchmark.rounds": 1,
        "benchmark.files": 1,
        "benchmark.batch_size": 1,
        "benchmark.workers": 0,
        "benchmark.iterations": 1,
        "benchmark.images": 1,
        "benchmark.seconds": 0,
    }
    if cfg.trainer.devices != "auto" and (type(cfg.trainer.devices) is not int or cfg.trainer.devices < 1):
        raise UserError(
            f"trainer.devices={cfg.trainer.devices}: a number, or auto (every GPU of this machine; CUDA_VISIBLE_DEVICES=0,2 chooses some)"
        )
    positive = [
        "kimg",
        "checkpoint.every_kimg",
        "grid.every_kimg",
        "evaluation.every_kimg",
        "ema.rampup",
        "optimizer.generator.clip_norm",
        "optimizer.discriminator.clip_norm",
    ]
    if isinstance(OmegaConf.select(cfg, "evaluation.reals"), int):
        at_least["evaluation.reals"] = 50
    if isinstance(cfg.data.get("held_out"), int):
        at_least["data.held_out"] = 0
    if cfg.data.get("held_out") == "all" and cfg.task._target_ != "sparring.tasks.evaluate":
        raise UserError("data.held_out=all: leaves nothing to train on; it is for task=evaluate of other data")
    for key, least in at_least.items():
        if (value := OmegaConf.select(cfg, key)) is not None and value < least:
            raise UserError(f"{key}={value}: must be at least {least}")
    for key in positive:
        if (value := OmegaConf.select(cfg, key)) is not None and not value > 0:
            raise UserError(f"{key}={value}: must be above 0")
    if (cache := Path(cfg.cache).expanduser()).exists() and not cache.is_dir():
        raise UserError(f"cache={cfg.cache}: must be a folder, and is a file")
    choices = {
        "trainer.precision": ["32-true", "bf16-mixed", "64-true"],
        "trainer.accelerator": ["auto", "cpu", "gpu", "mps"],
        "trainer.strategy": ["auto", "ddp"],
        "ema.batch_norm": ["running", "standing", "batch"],
        "trainer.profiler": [None, "simple", "advanced", "pytorch"],
        "export.format": ["safetensors", "torch_export"],
    }
    for key, allowed in choices.items():
        if (value := OmegaConf.select(cfg, key)) not in allowed:
            raise UserError(f"{key}={value}: must be one of {', '.join(map(str, allowed))}")


def _check_combinations(cfg: DictConfig) -> None:
    if cfg.kimg is None and cfg.trainer.max_steps is None:
        raise UserError("kimg=null and trainer.max_steps=null: one of them must say how long training lasts")
    study = "extractor" not in (cfg.evaluation or {"extractor"})
    if study and cfg.task._target_ != "sparring.tasks.evaluate":
        raise UserError("evaluation=augmentation is for a finished run: task=evaluate evaluation=augmentation run=...")
    if cfg.evaluation and not study and not OmegaConf.select(cfg, "evaluation.metrics"):
        raise UserError("evaluation/metrics=[]: nothing would be scored; name some, or choose evaluation=none")
    if OmegaConf.select(cfg, "evaluation.weights") and "weights" not in cfg.evaluation.extractor:
        name = cfg.evaluation.extractor._target_.rpartition(".")[2].lower()
        raise UserError(f"evaluation.weights={cfg.evaluation.weights}: the extractor, {name}, takes none")
    if cfg.data.batch_size % cfg.accumulate:
        raise UserError(
            f"accumulate={cfg.accumulate} does not divide data.batch_size={cfg.data.batch_size}: a turn's batch is "
            "processed in that many equal micro-batches"
        )
    if cfg.reuse_fakes and (cfg.n_dis > 1 or cfg.accumulate > 1):
        raise UserError(
            f"reuse_fakes=true with n_dis={cfg.n_dis} and accumulate={cfg.accumulate}: fakes can be shared between the "
            "two turns of an iteration only if there are two, in one piece each (n_dis=1 accumulate=1)"
        )
    if cfg.trainer.cuda_graph and (cfg.trainer.strategy != "auto" or cfg.trainer.devices != 1):
        raise UserError(
            "trainer.cuda_graph=true: iterations are recorded on one GPU; leave out trainer=ddp, trainer.devices"
        )
    if cfg.resume is not None and cfg.init is not None:
        raise UserError("resume= goes on with a run, init= starts a new one from its weights: choose one of them")
    task = cfg.task._target_.rpartition(".")[2]
    if task in ("sample", "export") and not isinstance(cfg.run, str):
        raise UserError(f"task={task} needs the folder of a run: run=outputs/...")
    if task == "compare":
        named = [cfg.run] if isinstance(cfg.run, str) else list(cfg.run or [])
        if not (named or cfg.compare.wandb) or not all(isinstance(name, str) for name in named):
            raise UserError(
                f"run={cfg.run}: task=compare needs folders of runs or sweeps: run=multirun/... or run=[a,b]"
            )
        if cfg.compare.wandb and "project" not in (cfg.logger or {}):
            raise UserError(
                "compare.wandb=true: the workspace is of the project that logger names; choose logger=wandb"
            )


def check_data(cfg: DictConfig) -> None:
    """Combinations that depend on what the data are, known once their source was looked at (nothing is loaded yet)."""
    for key in ("flip", "jitter", "rotation"):
        if cfg.data.image_size == 1 and (value := cfg.data.get(key)):
            raise UserError(f"data.{key}={str(value).lower()}: is for images, and these data are points")
    if cfg.data.num_classes == 0:
        if cfg.model.get("conditional"):
            raise UserError("model.conditional=true: these data have no labels; choose model.conditional=false")
        for key in ("long_tail", "balance"):
            if value := cfg.data.get(key):
                raise UserError(f"data.{key}={str(value).lower()}: these data have no labels, and it goes by classes")
        if cfg.evaluation and "classifier" in str(cfg.evaluation.extractor._target_):
            raise UserError(
                "evaluation=fast scores with a classifier of the data's labels, and these data have none: choose "
                "evaluation=inception or evaluation=none (or give them labels: data.labels=true for an image folder whose sub-folders are classes, "
                "data.attribute=Smiling for CelebA)"
            )
