"""The resolvers of a configuration's interpolations, and the names of a run's folders."""

import hashlib
import operator
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from sparring.config.errors import UserError
from sparring.config.values import task_of


def _run_folder(new: str, _root_: DictConfig) -> str:
    """Return the folder of the run that is resumed, drawn, scored or exported; else ``new``.

    Only the first machine's folder counts; the others get a temporary one.
    """
    if _root_.trainer.num_nodes > 1 and int(os.environ.get("NODE_RANK", 0)) > 0:
        return tempfile.gettempdir()
    reads = ("resume", "run") if task_of(_root_) in ("sample", "evaluate", "export") else ("resume",)
    for key in reads:
        if isinstance(_root_[key], str):
            folder = Path(_root_[key]).expanduser()
            if not (folder / "config.yaml").is_file():
                raise UserError(f"{key}={_root_[key]}: no run is stored there (it has no config.yaml)")
            return str(folder)
    return new


def folder_name(overrides: list[str], left_out: Iterable[str] = ()) -> str:
    """Return a folder's name for what was varied, which can be typed back into ``run=``: no '=', ',' or brackets.

    Args:
        overrides: as they were typed.
        left_out: keys that the name leaves out; by default those that say where and how to run.
    """
    groups = "hydra|sweep" if left_out else "hydra|sweep|logger|trainer|task|cache|resume|run|sample"
    varied = [o for o in overrides if not re.match(rf"[~+]*({groups})\b", o) and o.partition("=")[0] not in left_out]
    varied = [re.sub(r"(?<=\de)\+(?=\d)", "", o.lstrip("+")) for o in varied]  # 1e+3, which is not 1e-3
    short = [re.sub(r"^[\w.]*\.(?=\w+\.\w+=)", "", o) for o in varied]  # generator.lr of optimizer.generator.lr
    names = ["_".join(re.sub(r"[^\w.-]+", "-", o).strip("-") for o in each) or "default" for each in (varied, short)]
    for name in names:
        if len(name) <= 120:
            return name
    return f"{names[1][:111]}-{hashlib.sha256(names[0].encode()).hexdigest()[:8]}"


def _on_numbers(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """Return a resolver that calculates with numbers; null gives null. ``*`` would repeat texts and lists."""

    def resolve(a: Any, b: Any) -> Any:
        for value in (a, b):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int | float)):
                raise ValueError(f"'{value}' must be a number")
        return a and operation(a, b)

    return resolve


OmegaConf.register_new_resolver("if", lambda condition, yes, no: yes if condition else no, replace=True)
OmegaConf.register_new_resolver("sum", _on_numbers(operator.add), replace=True)
OmegaConf.register_new_resolver("times", _on_numbers(operator.mul), replace=True)
OmegaConf.register_new_resolver("share", _on_numbers(operator.truediv), replace=True)
OmegaConf.register_new_resolver("suffix", lambda: secrets.token_hex(2), use_cache=True, replace=True)
OmegaConf.register_new_resolver("run_folder", _run_folder, replace=True)
