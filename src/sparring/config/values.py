"""The values of a configuration, and what none of them may be, whatever its key. Nothing here imports torch."""

import math
import os
from collections.abc import Iterator
from typing import Any, cast

from omegaconf import DictConfig, OmegaConf

from sparring.config.errors import UserError

LEAST, MOST = 1e-37, 1e38  # of single precision, in which everything is computed


def task_of(cfg: DictConfig) -> str:
    """Return the name of the task: train, evaluate, sample, compare, export or benchmark."""
    return cfg.task._target_.rpartition(".")[2]


def plain(cfg: Any) -> dict[str, Any]:
    """Return a configuration as dictionaries, lists and values, with its interpolations resolved."""
    return cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))


def leaves(node: Any, path: str = "", lists: bool = False) -> Iterator[tuple[str, Any]]:
    """Yield the values below a node with their dotted keys.

    Args:
        node: plain dictionaries, lists and values. An empty dictionary is a value.
        path: the key of the node.
        lists: visit the items of a list under their index; otherwise the list is one value.
    """
    if isinstance(node, dict) and node:
        children = node.items()
    elif isinstance(node, list) and node and lists:
        children = enumerate(node)
    else:
        if path:  # an empty configuration has no values
            yield path, node
        return
    for key, child in children:
        yield from leaves(child, f"{path}.{key}" if path else str(key), lists)


def check_values(config: Any) -> None:
    """Refuse numbers that single precision or 64 bits can't hold, empty or unprintable text, and unknown home folders.

    Args:
        config: plain dictionaries, lists and values.

    Raises:
        UserError: naming the key, its value and what would be right.
    """
    for key, value in leaves(config, lists=True):
        if isinstance(value, str):
            _check_text(key, value)
        elif isinstance(value, int) and not -(2**63) <= value < 2**63:
            raise UserError(f"{key}={value}: must be a whole number of 64 bits")
        elif isinstance(value, float) and value and not (math.isfinite(value) and LEAST <= abs(value) <= MOST):
            raise UserError(f"{key}={value}: must be 0, or a finite number of single precision, {LEAST} to {MOST}")


def _check_text(key: str, value: str) -> None:
    if not value.strip():
        raise UserError(f"{key}='{value}': empty; give a value, or null where none is needed")
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise UserError(f"{key}={value!r}: holds letters that no file can hold")
    if os.path.expanduser(value).startswith("~"):
        raise UserError(f"{key}={value}: there is no such home folder")
