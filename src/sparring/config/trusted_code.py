"""Which code a stored configuration may name: this project's own, each kind in its place, and what the person trusts.

A configuration that is composed from what a person types may name anything: that code is theirs. One that was stored may come
from somebody else, and a ``_target_`` is called. Nothing here imports torch.
"""

import inspect
import re
from collections.abc import Collection, Iterator
from typing import Any

from sparring.config.errors import UserError

SCHEDULE = "sparring.training.schedules"
HYDRAS = ("_args_", "_partial_", "_recursive_", "_convert_")  # keys with which Hydra is told how to build
CLASSES = {  # by the keys below which they stand: the modules and packages whose classes may be named
    "data": ("sparring.data",),
    "model": ("sparring.games", "sparring.networks", "sparring.data.degradations"),
    "loss": ("sparring.losses",),
    "regularizer": ("sparring.regularizers", SCHEDULE),
    "augment": ("sparring.augment", SCHEDULE),
    "optimizer": (SCHEDULE,),
    "ema.schedule": (SCHEDULE,),
    "evaluation": ("sparring.evaluation",),
}
NAMES = {  # and what else
    "optimizer": r"torch\.optim\.(SGD|RMSprop|Adagrad|Adam|AdamW|Adamax|NAdam|RAdam)",
    "logger": r"sparring\.runs\.wandb_run\.WandbRun",
    "task": r"sparring\.tasks\.(benchmark|compare|evaluate|export|sample|train)\.\1",
    "benchmark": r"sparring\.benchmarks\.[a-z]+\.run",
}


def check(config: dict[str, Any], trusted: Collection[str] = (), where: str = "") -> None:
    """Refuse a resolved configuration that would run other code than it may. Modules are looked into only once they are allowed.

    Args:
        config: plain dictionaries, lists, strings and numbers.
        trusted: packages, modules or classes besides, as the person names them with ``trust=[...]``.
        where: in front of the keys, in the message.

    Raises:
        UserError: naming the key and the code.
    """
    for path, name in named(config):
        places, pattern = _of(path, CLASSES), _of(path, NAMES)
        allowed = isinstance(name, str) and (
            bool(pattern and re.fullmatch(pattern, name))
            or (_within(name, trusted) and _is_of(name, {place.partition(".")[0] for place in trusted}))
            or (_within(name, places or ()) and _is_defined(name, places))
        )
        if not allowed:
            kinds = [f"{place}.*" for place in places or ()]
            kinds += [pattern.replace("\\", "")] if pattern else []
            raise UserError(
                f"{where}{path}._target_={name}: not a class of {', '.join(kinds) or 'any place: none may stand there'}. "
                "It may be anybody's code"
            )
    for path, _ in _leaves(config):
        if told := next((key for key in path.split(".") if key in HYDRAS), None):
            raise UserError(f"{where}{path}: no stored configuration holds {told}")
    for path, text in strings(config):
        if "${" in text:
            raise UserError(f"{where}{path}={text}: must be a value; a stored configuration is resolved")


def named(config: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """The dotted path of every node that would be built, and the code it names."""
    return ((path.removesuffix("._target_"), value) for path, value in _leaves(config) if path.endswith("._target_"))


def names(config: dict[str, Any]) -> list[str]:
    """The code that a configuration names: as ``trusted``, what a person who composed it trusts."""
    return sorted({name for _, name in named(config) if isinstance(name, str)})


def strings(config: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Every string of a configuration, by its dotted path."""
    return ((path, value) for path, value in _leaves(config) if isinstance(value, str))


def _leaves(node: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Every value below a node by its dotted path; a ``_target_`` as it is, whatever it is."""
    if not isinstance(node, dict | list):
        yield path, node
        return
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        inner = f"{path}.{key}" if path else str(key)
        if key == "_target_" and isinstance(value, dict | list):
            yield inner, value
        yield from _leaves(value, inner)


def _of(path: str, known: dict[str, Any]) -> Any:
    """What is known of the keys below which a node stands; None for nothing."""
    return next((found for key, found in known.items() if f"{path}.".startswith(f"{key}.")), None)


def _within(name: str, places: Collection[str]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


def _is_defined(name: str, places: Collection[str]) -> bool:
    """Whether that is a class of which there are objects, and which was written there and not merely imported."""
    from hydra.utils import get_object

    try:
        found = get_object(name)
    except Exception:  # of many kinds, by what there is not
        return False
    return inspect.isclass(found) and not inspect.isabstract(found) and _within(found.__module__, places)


def _is_of(name: str, packages: Collection[str]) -> bool:
    """Whether that belongs to trusted packages, and is not what they import; what is not there is told when it is built."""
    from hydra.utils import get_object

    try:
        found = get_object(name)
    except Exception:
        return True
    return str(getattr(found, "__module__", "")).partition(".")[0] in packages
