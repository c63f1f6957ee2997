"""What an experiment may say: the schema of the project's own keys, resolvers, building, going on with a stored one.

Nothing here imports torch: ``python run.py --cfg job`` answers at once.
"""

import re
import secrets
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from hydra.core.config_store import ConfigStore
from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf, open_dict

from sparring.errors import UserError

# ---- the schema -------------------------------------------------------------------------------------------------


@dataclass
class Average:
    half_life_kimg: float = 10.0
    rampup: float | None = 0.05
    batch_norm: str = "standing"


@dataclass
class Checkpointing:
    every_kimg: float | None = None
    keep: int = 2


@dataclass
class Grid:
    every_kimg: float | None = None
    count: int = 64


@dataclass
class Training:
    accelerator: str = "auto"
    devices: int = 1
    precision: str = "32-true"
    max_steps: int | None = None
    log_every_n_steps: int = 50
    profiler: str | None = None


@dataclass
class Sampling:
    count: int = 64
    classes: list[int] | None = None
    truncation: float | None = None
    frames: int = 60
    seed: int = 0
    checkpoint: str | None = None
    ema: bool = True
    folder: str | None = None


@dataclass
class Config:
    """The top level of the configuration. What a group may hold depends on the choice, and is checked by ``check``."""

    task: Any = None
    run: Any = None
    fake: str | None = None
    real: str | None = None
    benchmark: Any = None
    resume: str | None = None
    init: str | None = None
    seed: int = 0
    kimg: float | None = None
    n_dis: int = 1
    reuse_fakes: bool = False
    accumulate: int = 1
    cache: str = "~/.cache/sparring"
    ema: Average = field(default_factory=Average)
    checkpoint: Checkpointing = field(default_factory=Checkpointing)
    grid: Grid = field(default_factory=Grid)
    trainer: Training = field(default_factory=Training)
    sample: Sampling = field(default_factory=Sampling)
    data: Any = None
    loss: Any = None
    regularizer: Any = None
    model: Any = None
    optimizer: Any = None
    evaluation: Any = None
    logger: Any = None


# Keys that stand in a node beside the arguments of its constructor, and are for the project itself.


@dataclass
class DataKeys:
    batch_size: int
    subset: int | None
    flip: bool
    device_memory_gb: float
    num_classes: int
    classifier_accuracy: float
    suggested_kimg: float
    suggested_lr: float
    suggested_width: int
    suggested_conditional: bool


@dataclass
class ModelKeys:
    width: int
    num_classes: int


@dataclass
class OptimizerKeys:
    clip_norm: float | None
    schedule: Any


@dataclass
class LoggerKeys:
    log_checkpoints: bool


@dataclass
class EvaluationKeys:
    weights: str | None
    checkpoint: str | None


OWN_KEYS = {
    "evaluation": EvaluationKeys,
    "data": DataKeys,
    "model": ModelKeys,
    "optimizer.generator": OptimizerKeys,
    "optimizer.discriminator": OptimizerKeys,
    "logger": LoggerKeys,
}


def build(node: DictConfig, path: str, partial: bool = False, **given: Any) -> Any:
    """What a ``_target_`` node describes, nested ones included; the project's own keys beside it are left out.

    Args:
        node: the node, which stands at ``path`` of the configuration.
        partial: return a function that takes further arguments, for those that no configuration can hold.
        given: further arguments that are themselves configurations.

    Raises:
        UserError: the constructor refuses its arguments.
    """
    from hydra.utils import instantiate

    own = {f.name for f in fields(OWN_KEYS[path])} if path in OWN_KEYS else set()
    kept = {key: value for key, value in OmegaConf.to_container(node, resolve=True).items() if key not in own}
    try:
        return instantiate(kept, **given, _partial_=partial, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from error
        if isinstance(error.__cause__, ValueError):
            inner = str(error).rpartition("full_key: ")[2].strip() if "full_key: " in str(error) else ""
            raise UserError(f"{path}.{inner}".rstrip(".") + f": {error.__cause__}") from error
        raise


# ---- resolvers --------------------------------------------------------------------------------------------------


def _output_folder(resume: str | None, run: Any, name: str) -> str:
    """A run that is gone on with or looked at keeps its folder; a new one gets ``name``."""
    for key, value in (("resume", resume), ("run", run)):
        if isinstance(value, str):
            if not (Path(value).expanduser() / "config.yaml").is_file():
                raise UserError(f"{key}={value}: no run is stored there (it has no config.yaml)")
            return str(Path(value).expanduser())
    return name


def plain_name(overrides: list[str]) -> str:
    """What was varied, as a name that can be a folder and be typed back into ``run=``: no '=', ',' or brackets."""
    apart = re.compile(r"^[~+]*(hydra|logger|trainer|task|cache|resume|run|sample)\b")
    kept = [override.lstrip("+") for override in overrides if not apart.match(override)]
    return "_".join(re.sub(r"[^\w.-]+", "-", override).strip("-") for override in kept)[:120] or "default"


OmegaConf.register_new_resolver("if", lambda condition, yes, no: yes if condition else no, replace=True)
OmegaConf.register_new_resolver("share", lambda value, parts: value and value / parts, replace=True)
OmegaConf.register_new_resolver("suffix", lambda: secrets.token_hex(2), use_cache=True, replace=True)
OmegaConf.register_new_resolver("output_folder", _output_folder, replace=True)
OmegaConf.register_new_resolver("plain_name", plain_name, replace=True)
ConfigStore.instance().store("schema", Config)

# ---- going on with a stored experiment --------------------------------------------------------------------------

FREE = (  # what may differ when a run is resumed: it changes neither the weights nor the draws
    "kimg",
    "resume",
    "cache",
    "trainer.max_steps",
    "trainer.accelerator",
    "trainer.profiler",
    "logger",
    "evaluation",
    "checkpoint",
    "grid",
    "data.device_memory_gb",
    "data.suggested_kimg",
)


JUDGED = (  # and what may differ when a run is scored again
    "task",
    "run",
    "real",
    "data.path",
    "data.split",
    "data.on_bad_image",
    "ema.batch_norm",
)


def _key(override: str) -> str:
    return override.partition("=")[0].lstrip("+~")


def completed(arguments: list[str], conf: Path) -> list[str]:
    """The command line with what follows from it.

    One that goes on with a run or scores it has the stored overrides in front, which it may override in turn. ``real=cifar10``
    means ``data=cifar10``, and images from anywhere are scored with Inception's features unless others are named.
    """
    typed = {_key(a): a.partition("=")[2].strip("'\"") for a in arguments}
    evaluates = typed.get("task") == "evaluate"
    stored = typed.get("resume") or evaluates and typed.get("run")
    path = Path(stored).expanduser() / "overrides.yaml" if stored else None
    if path is not None and path.is_file():
        # a group that is chosen anew leaves nothing of its former choice behind
        again = tuple(f"{key}{end}" for key in typed for end in "./")
        old = [o for o in OmegaConf.load(path) if _key(o) not in typed and not _key(o).startswith(again)]
        arguments = old + arguments
    if evaluates and (conf / "data" / f"{typed.get('real')}.yaml").is_file():
        arguments = [f"data={typed['real']}" if _key(a) == "real" else a for a in arguments]
    if evaluates and "fake" in typed and "evaluation" not in typed:
        arguments = [*arguments, "evaluation=inception"]
    return arguments


def settle(cfg: DictConfig) -> DictConfig:
    """The experiment that will be run: this command's, or a stored one with this command's changes."""
    if cfg.resume is not None:
        return recompose(cfg.resume, cfg, "resume", FREE)
    if cfg.task._target_ == "sparring.tasks.evaluate" and isinstance(cfg.run, str):
        return recompose(cfg.run, cfg, "run", FREE + JUDGED)
    return cfg


def recompose(stored_in: str, today: DictConfig, named: str, free: tuple[str, ...]) -> DictConfig:
    """The experiment stored in a folder with what this command changes; today's defaults never creep in.

    ``today`` is composed of the stored overrides and this command's (``completed``). Composing the stored ones alone
    shows what the command changes, and only that is applied to the stored configuration. What follows from a longer ``kimg`` but
    decides the weights, such as the end of a schedule, stays as it was.

    Args:
        stored_in: the run's folder, typed under the key ``named``.
        today: this command's configuration.
        named: ``resume`` or ``run``.
        free: the keys that may differ.

    Raises:
        UserError: this command changes what decides the weights.
    """
    from hydra import compose
    from hydra.core.hydra_config import HydraConfig

    folder = Path(stored_in).expanduser()
    stored, old = OmegaConf.load(folder / "config.yaml"), list(OmegaConf.load(folder / "overrides.yaml"))
    typed = [override for override in HydraConfig.get().overrides.task if override not in old]
    before, after, known = _flat(compose("config", overrides=old)), _flat(today), _flat(stored)
    changed = {key for key in before.keys() | after.keys() if before.get(key, ...) != after.get(key, ...)}
    decisive = sorted(key for key in changed if not key.startswith(free))
    if decisive and not all(_key(override).startswith(free) for override in typed):
        lines = [f"  {key}: {known.get(key)} in the run, {after.get(key)} now" for key in decisive]
        raise UserError(
            f"{named}={stored_in}: these keys would change what is trained:\n" + "\n".join(lines) + "\n"
            "Leave them out, or start a new run from these weights with init=FOLDER."
        )
    resolved = OmegaConf.to_container(today, resolve=True)
    with open_dict(stored):
        for group in ("logger", "evaluation"):  # as a whole: another choice has other keys
            if any(key.partition(".")[0] == group for key in changed):
                stored[group] = resolved[group]
        for key in sorted(changed - set(decisive)):
            if key.partition(".")[0] not in ("logger", "evaluation"):
                OmegaConf.update(stored, key, after.get(key), force_add=True)
        stored[named], stored.cache = stored_in, today.cache
    return OmegaConf.merge(OmegaConf.structured(Config), stored)


def _flat(cfg: DictConfig) -> dict[str, Any]:
    """Resolved leaves by dotted key."""

    def walk(node: Any, path: str):
        if isinstance(node, dict) and node:
            for key, value in node.items():
                yield from walk(value, f"{path}.{key}" if path else str(key))
        else:
            yield path, node

    return dict(walk(OmegaConf.to_container(cfg, resolve=True), ""))
