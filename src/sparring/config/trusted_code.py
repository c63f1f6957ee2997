"""The code that a stored configuration may name: the project's own classes, and what the person trusts.

A configuration composed from a command line may name any code: the person typed it. A stored one may come from somebody
else, and Hydra calls each ``_target_``. Nothing here imports torch.
"""

import inspect
import re
from collections.abc import Collection
from typing import Any

from omegaconf import DictConfig, OmegaConf

from sparring.config.errors import UserError
from sparring.config.values import leaves

SCHEDULES = "sparring.training.schedules"
CLASSES = {  # key: modules and packages whose classes may be named below it
    "data": ("sparring.data",),
    "model": ("sparring.games", "sparring.networks", "sparring.data.degradations"),
    "loss": ("sparring.losses",),
    "regularizer": ("sparring.regularizers", SCHEDULES),
    "augment": ("sparring.augment", SCHEDULES),
    "optimizer": (SCHEDULES,),
    "ema.schedule": (SCHEDULES,),
    "evaluation": ("sparring.evaluation",),
    "logger": ("sparring.runs.wandb_run",),
}
NAMES = {  # key: further names that may stand below it
    "optimizer": r"torch\.optim\.(SGD|RMSprop|Adagrad|Adam|AdamW|Adamax|NAdam|RAdam)",
    "task": r"sparring\.tasks\.(benchmark|compare|evaluate|export|sample|train)\.\1",
    "benchmark": r"sparring\.benchmarks\.[a-z]+\.run",
}
HYDRAS_KEYS = {"_args_", "_partial_", "_recursive_", "_convert_"}  # they tell Hydra how to build


def check(config: dict[str, Any], trusted: Collection[str] = (), where: str = "") -> None:
    """Refuse a resolved configuration that names other code than it may. A module is imported only once it is allowed.

    Args:
        config: plain dictionaries, lists and values.
        trusted: packages, modules or classes that are allowed, too: the key ``trust``.
        where: a prefix of the keys in messages.

    Raises:
        UserError: naming the key and the code.
    """
    for key, value in leaves(config, lists=True):
        path, _, rest = f".{key}.".partition("._target_.")
        if path != f".{key}.":
            _check_name(path[1:], None if rest else value, value, trusted, where)
        elif found := HYDRAS_KEYS.intersection(key.split(".")):
            raise UserError(f"{where}{key}: no stored configuration holds {found.pop()}")
        elif isinstance(value, str) and "${" in value:
            raise UserError(f"{where}{key}={value}: must be a value; a stored configuration is resolved")


def names(config: dict[str, Any]) -> list[str]:
    """Return the code that a configuration names."""
    return sorted({value for key, value in leaves(config, lists=True) if key.endswith("_target_")})


def check_downloaded(cfg: DictConfig) -> None:
    """Raise UserError if the extractor downloads code of others and runs it, and ``trust`` does not name it."""
    from hydra.utils import get_class

    target = OmegaConf.select(cfg, "evaluation.extractor._target_")
    code = getattr(get_class(target), "downloads_code", None) if isinstance(target, str) else None
    if code is not None and code not in cfg.trust:
        raise UserError(
            f"evaluation/extractor={code}: torch.hub downloads facebookresearch/{code} and runs its newest code. "
            f"If you trust it: trust=[{code}]. evaluation/extractor=clip runs no code of others"
        )


def _check_name(path: str, name: Any, value: Any, trusted: Collection[str], where: str) -> None:
    packages = {each.partition(".")[0] for each in trusted}
    classes = next((found for key, found in CLASSES.items() if f"{path}.".startswith(f"{key}.")), ())
    pattern = NAMES.get(path.partition(".")[0])
    allowed = isinstance(name, str) and (
        (pattern is not None and re.fullmatch(pattern, name) is not None)
        or (_is_within(name, classes) and _is_class_of(name, classes))
        or (_is_within(name, trusted) and _is_class_of(name, packages))
    )
    if not allowed:
        expected = ", ".join([*(f"{each}.*" for each in classes), *([pattern.replace("\\", "")] if pattern else [])])
        raise UserError(
            f"{where}{path}._target_={value}: not a class of {expected or 'this project'}; it may be anybody's code"
        )


def _is_within(name: str, places: Collection[str]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def _is_class_of(name: str, places: Collection[str]) -> bool:
    """Import a name; return whether it is a class that can be built, defined in one of the modules or packages."""
    from hydra.utils import get_object

    try:
        found = get_object(name)
    except Exception:  # of many kinds, depending on what is missing
        return False
    return inspect.isclass(found) and not inspect.isabstract(found) and _is_within(found.__module__, places)
