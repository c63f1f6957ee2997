"""What an experiment may say: the schema of the project's own keys, and building.

Nothing here imports torch: ``python run.py --cfg job`` answers at once.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from hydra.core.config_store import ConfigStore

import sparring.config.resolvers  # noqa: F401  # noqa: F401, they are to be known wherever a configuration is read

# ---- the schema -------------------------------------------------------------------------------------------------


@dataclass
class Average:
    half_life_kimg: float = 10.0
    rampup: float | None = 0.05
    schedule: Any = None
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
    devices: Any = 1
    num_nodes: int = 1
    strategy: str = "auto"
    sync_batchnorm: bool = False
    precision: str = "32-true"
    max_steps: int | None = None
    log_every_n_steps: int = 50
    compile: bool = False
    cuda_graph: bool = False
    profiler: str | None = None


@dataclass
class Sampling:
    kind: str = "samples"
    count: int = 64
    classes: list[int] | None = None
    truncation: float | None = None
    temperature: float | None = None
    frames: int = 60
    rows: int = 8
    steps: int = 9
    reach: float = 3.0
    iterations: int = 300
    restarts: int = 4
    seed: int = 0
    checkpoint: str | None = None
    ema: bool = True
    back: bool = False
    folder: str | None = None


@dataclass
class Comparing:
    wandb: bool = False
    folder: str | None = None


@dataclass
class Exporting:
    format: str = "safetensors"
    checkpoint: str | None = None
    ema: bool = True
    file: str | None = None


@dataclass
class Sweep:
    name: str | None = None
    skip_done: bool = False
    trials: int = 30
    parallel: int = 1
    score: str | None = None
    direction: str = "minimize"
    seed: int | None = None
    space: list[str] = field(default_factory=list)


@dataclass
class Config:
    """The top level of the configuration. What a group may hold depends on the choice, and is checked by ``check``."""

    task: Any = None
    run: Any = None
    fake: str | None = None
    real: str | None = None
    benchmark: Any = None
    resume: str | None = None
    resume_fallback: bool = False
    init: str | None = None
    trust: list[str] = field(default_factory=list)
    input: str | None = None
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
    compare: Comparing = field(default_factory=Comparing)
    export: Exporting = field(default_factory=Exporting)
    sweep: Sweep = field(default_factory=Sweep)
    data: Any = None
    loss: Any = None
    regularizer: Any = None
    augment: Any = None
    model: Any = None
    optimizer: Any = None
    evaluation: Any = None
    logger: Any = None


# Keys that stand in a node beside the arguments of its constructor, and are for the project itself.


@dataclass
class DataKeys:
    batch_size: int
    held_out: int | Literal["all"] | None
    subset: int | None
    long_tail: float | None
    balance: bool
    flip: bool
    jitter: float
    rotation: float
    device_memory_gb: float
    input_channels: int
    modality: str | None
    frames: int | None
    num_classes: int
    classifier_accuracy: float
    classifier_epochs: int
    mode_samples: int
    suggested_kimg: float
    suggested_lr: float
    suggested_lr_discriminator: float
    suggested_width: int
    suggested_conditional: bool


@dataclass
class ModelKeys:
    suggested_lr: float
    width: int
    num_classes: int
    discriminators: int
    in_channels: int
    scale: int
    dropout: float
    packing: int
    spectral_norm: bool


@dataclass
class OptimizerKeys:
    clip_norm: float | None
    schedule: Callable[[float], float]
    beta2_schedule: Callable[[float], float] | None


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


ConfigStore.instance().store("schema", Config)
