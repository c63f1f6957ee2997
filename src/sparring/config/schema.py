# ruff: noqa: UP007, UP045  an Annotated value has no operator | for type checkers
"""The project's own keys: their types, default values and constraints.

OmegaConf reads the plain types while a configuration is composed; ``keys_and_types`` checks the constraints. The keys
of a group are the arguments of the class that its choice names. Nothing here imports torch or pydantic.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal, Optional, Union, cast

from annotated_types import Ge, Gt, Interval
from hydra.core.config_store import ConfigStore
from omegaconf import DictConfig, OmegaConf

import sparring.config.resolvers  # noqa: F401  registers the resolvers wherever a configuration is read


class OneOf:
    """The constraint that a text is one of these; OmegaConf knows no Literal."""

    def __init__(self, *choices: str):
        self.choices = choices

    def __get_pydantic_core_schema__(self, source: Any, handler: Callable) -> Any:
        return handler(Literal[self.choices])


# Upper ends without a meaning keep a command from never ending.
Count = Annotated[int, Interval(ge=1, le=10**6)]
Examples = Annotated[int, Interval(ge=1, le=10**9)]
Iterations = Annotated[int, Interval(ge=1, le=10**15)]
Processes = Annotated[int, Interval(ge=1, le=1000)]
Frames = Annotated[int, Interval(ge=0, le=10_000)]
Width = Annotated[int, Interval(ge=1, le=65_536)]
Classes = Annotated[int, Interval(ge=0, le=65_536)]
Kimg = Annotated[float, Interval(gt=0, le=1e9)]
Positive = Annotated[float, Gt(0)]
NonNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Interval(ge=0, le=1)]
Decay = Annotated[float, Interval(ge=0, lt=1)]


@dataclass
class Average:
    """The running average of the generator (``ema``); the half-life is in kimg."""

    half_life_kimg: Annotated[float, Interval(ge=0, le=1e9)] = 10.0
    rampup: Positive | None = 0.05
    schedule: Any = None
    batch_norm: Annotated[str, OneOf("standing", "running", "batch")] = "standing"


@dataclass
class Checkpointing:
    """When checkpoints are written, in kimg, and how many are kept."""

    every_kimg: Kimg | None = None
    keep: Iterations = 2


@dataclass
class Grid:
    """When sample grids are written, in kimg, and of how many samples."""

    every_kimg: Kimg | None = None
    count: Annotated[int, Interval(ge=1, le=10_000)] = 64


@dataclass
class Training:
    """The machine (processes a node, nodes) and the loop (lengths in iterations)."""

    accelerator: Annotated[str, OneOf("auto", "cpu", "gpu", "mps")] = "auto"
    devices: Processes | Annotated[str, OneOf("auto")] = 1
    num_nodes: Processes = 1
    strategy: Annotated[str, OneOf("auto", "ddp")] = "auto"
    sync_batchnorm: bool = False
    precision: Annotated[str, OneOf("32-true", "bf16-mixed", "64-true")] = "32-true"
    max_steps: Iterations | None = None
    log_every_n_steps: Iterations = 50
    compile: bool = False
    cuda_graph: bool = False
    profiler: Annotated[str, OneOf("simple", "advanced", "pytorch")] | None = None


@dataclass
class Sampling:
    """What ``task=sample`` draws; ``reach`` is in standard deviations of the latents."""

    kind: str = "samples"
    count: Count = 64
    classes: list[Classes] | None = None
    truncation: float | None = None
    temperature: Annotated[float, Interval(gt=0, le=100)] | None = None
    frames: Frames = 60
    rows: Processes = 8
    steps: Annotated[int, Interval(ge=2, le=1000)] = 9
    reach: Annotated[float, Interval(gt=0, le=100)] = 3.0
    iterations: Annotated[int, Interval(ge=1, le=10_000)] = 300
    restarts: Annotated[int, Interval(ge=1, le=1000)] = 4
    seed: int = 0
    checkpoint: str | None = None
    ema: bool = True
    back: bool = False
    folder: str | None = None


@dataclass
class Comparing:
    """Where ``task=compare`` writes, and whether it makes a W&B workspace."""

    wandb: bool = False
    folder: str | None = None


@dataclass
class Exporting:
    """The file that ``task=export`` writes."""

    format: Annotated[str, OneOf("safetensors", "torch_export")] = "safetensors"
    checkpoint: str | None = None
    ema: bool = True
    file: str | None = None


@dataclass
class Sweep:
    """The name of a sweep, and the search of ``sweep=optuna``."""

    name: str | None = None
    skip_done: bool = False
    trials: Count = 30
    parallel: Processes = 1
    score: str | None = None
    direction: Annotated[str, OneOf("minimize", "maximize")] = "minimize"
    seed: int | None = None
    space: list[str] = field(default_factory=list)


@dataclass
class Config:
    """The top level; ``kimg`` is in thousands of real examples. conf/config.yaml comments each key."""

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
    kimg: Kimg | None = None
    n_dis: Processes = 1
    reuse_fakes: bool = False
    accumulate: Count = 1
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


Schedule = Callable[[float], float]  # kimg to a factor
OPTIMIZER_KEYS = {"clip_norm": Optional[Positive], "schedule": Schedule, "beta2_schedule": Optional[Schedule]}
OWN_KEYS: dict[str, dict[str, Any]] = {  # of nodes, for the project itself; the constructor need not take them
    "data": {
        "batch_size": Count,
        "held_out": Union[Annotated[int, Interval(ge=0, le=10**9)], Literal["all"], None],
        "subset": Optional[Examples],
        "long_tail": Optional[Annotated[float, Interval(ge=1, le=1e6)]],
        "balance": bool,
        "flip": bool,
        "jitter": Share,
        "rotation": Annotated[float, Interval(ge=0, le=180)],  # degrees
        "device_memory_gb": NonNegative,
        "input_channels": int,
        "modality": str | None,
        "frames": Optional[Annotated[int, Interval(ge=1, le=10_000)]],
        "num_classes": Classes,
        "classifier_accuracy": Share,
        "classifier_epochs": Count,
        "mode_samples": Examples,
        "suggested_kimg": Kimg,
        "suggested_lr": NonNegative,
        "suggested_lr_discriminator": NonNegative,
        "suggested_width": Width,
        "suggested_conditional": bool,
    },
    "model": {  # its networks refer to these
        "suggested_lr": NonNegative,
        "width": Width,  # channels
        "num_classes": Classes,
        "discriminators": Annotated[int, Interval(ge=1, le=64)],
        "in_channels": int,
        "scale": int,
        "dropout": Decay,
        "packing": Annotated[int, Interval(ge=1, le=64)],
        "spectral_norm": bool,
    },
    "optimizer.generator": OPTIMIZER_KEYS,
    "optimizer.discriminator": OPTIMIZER_KEYS,
    "evaluation": {"weights": str | None, "checkpoint": str | None},
    "logger": {"log_checkpoints": bool},
}
TORCH_ARGUMENTS = {  # of the optimizers in torch.optim, which states no constraints
    "lr": NonNegative,
    "eps": NonNegative,
    "weight_decay": NonNegative,
    "betas": tuple[Decay, Decay],
    "momentum": Decay,
    "alpha": Decay,
}


def structured(*configs: Any) -> DictConfig:
    """Return a configuration with the types of the schema, merged from others."""
    return cast(DictConfig, OmegaConf.merge(OmegaConf.structured(Config), *configs))


ConfigStore.instance().store("schema", Config)
