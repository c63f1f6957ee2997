"""What is refused before anything is built, and how it is said: the key, its value, what would be right."""

from omegaconf import DictConfig, OmegaConf

from sparring.config import memory, node_types, overrides, ranges
from sparring.config.errors import UserError


def check_task(cfg: DictConfig, overrides: list[str]) -> None:
    """Refuse what the task would silently ignore, and groups that hold something else than their choices."""
    node_types.check_groups(cfg)
    task = cfg.task._target_.rpartition(".")[2]
    if task != "evaluate" and (stray := [key for key in ("fake", "real") if cfg[key] is not None]):
        raise UserError(f"{stray[0]}={cfg[stray[0]]}: only task=evaluate reads it")
    if task in ("train", "benchmark") and cfg.run is not None:
        raise UserError(
            f"run={cfg.run}: task={task} reads none; resume=FOLDER goes on with a run, task=sample run=FOLDER looks at it"
        )
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
    if task in ("sample", "export"):
        decided = ("model", "data", "loss", "regularizer", "augment", "optimizer", "ema", "evaluation")
        if stray := [
            o for o in overrides if o.lstrip("+~").partition("=")[0].replace("/", ".").partition(".")[0] in decided
        ]:
            raise UserError(
                f"{stray[0]}: task={task} takes the run as it was trained; it reads the keys of {task} alone"
            )
    for reader in ("sample", "compare", "export"):
        if task != reader and (stray := [o for o in overrides if o.startswith(f"{reader}.")]):
            raise UserError(f"{stray[0]}: only task={reader} reads the keys of {reader}")


def check(cfg: DictConfig) -> None:
    """Refuse a key that nobody reads, a value of the wrong type or range, and combinations that make no sense.

    Raises:
        UserError: naming the key, its value and what would be right.
    """
    node_types.check_nodes(cfg)
    _check_choices(cfg)
    ranges.check_values(cfg)
    overrides.check_folder("cache", cfg.cache)
    _check_combinations(cfg)


def _check_choices(cfg: DictConfig) -> None:
    if cfg.trainer.devices != "auto" and (type(cfg.trainer.devices) is not int or cfg.trainer.devices < 1):
        raise UserError(
            f"trainer.devices={cfg.trainer.devices}: a number, or auto (every GPU of this machine; CUDA_VISIBLE_DEVICES=0,2 chooses some)"
        )
    if cfg.data.get("held_out") == "all" and cfg.task._target_ != "sparring.tasks.evaluate.evaluate":
        raise UserError("data.held_out=all: leaves nothing to train on; it is for task=evaluate of other data")
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
    if study and cfg.task._target_ != "sparring.tasks.evaluate.evaluate":
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
    task = cfg.task._target_.rpartition(".")[2]
    if task in ("sample", "export") and not isinstance(cfg.run, str):
        raise UserError(f"task={task} needs the folder of a run: run=outputs/...")
    if task == "compare":
        named = list(cfg.run) if OmegaConf.is_list(cfg.run) else [cfg.run] * (cfg.run is not None)
        if not (named or cfg.compare.wandb) or not all(isinstance(name, str) for name in named):
            raise UserError(
                f"run={cfg.run}: task=compare needs folders of runs or sweeps: run=multirun/... or run=[a,b]"
            )
        if cfg.compare.wandb and "project" not in (cfg.logger or {}):
            raise UserError(
                "compare.wandb=true: the workspace is of the project that logger names; choose logger=wandb"
            )


def check_data(cfg: DictConfig) -> None:
    """Combinations and sizes that depend on what the data are, known once their source was looked at (nothing is loaded yet)."""
    memory.check_sizes(cfg)
    for key in ("flip", "jitter", "rotation"):
        takes = ("images", "clips", "voxels") if key == "flip" else ("images",)
        if (value := cfg.data.get(key)) and cfg.data.modality not in takes:
            raise UserError(
                f"data.{key}={str(value).lower()}: is for {' and '.join(takes)}, and these data are {cfg.data.modality}"
            )
    if cfg.data.num_classes == 0:
        if cfg.model.get("conditional"):
            raise UserError("model.conditional=true: these data have no labels; choose model.conditional=false")
        for key in ("long_tail", "balance"):
            if value := cfg.data.get(key):
                raise UserError(f"data.{key}={str(value).lower()}: these data have no labels, and it goes by classes")
