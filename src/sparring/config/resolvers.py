"""What a configuration may compute: the resolvers of its interpolations, and the names of a run's folders."""

import hashlib
import operator
import os
import re
import secrets
import tempfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from sparring.config.errors import UserError


def _output_folder(task: str, resume: str | None, run: Any, nodes: int, name: str) -> str:
    """A run that is gone on with or looked at keeps its folder; a new one, and a comparison of runs, gets ``name``."""
    if nodes > 1 and int(os.environ.get("NODE_RANK", 0)) > 0:
        return tempfile.gettempdir()  # of a run on several machines the first one's folder counts
    for key, value in (("resume", resume), ("run", run)):
        reads = key == "resume" or task.rpartition(".")[2] in ("sample", "evaluate", "export")
        if isinstance(value, str) and reads:
            if not (Path(value).expanduser() / "config.yaml").is_file():
                raise UserError(f"{key}={value}: no run is stored there (it has no config.yaml)")
            return str(Path(value).expanduser())
    return name


def folder_name(overrides: list[str], besides: Iterable[str] = ()) -> str:
    """What was varied, as a name that can be a folder and be typed back into ``run=``: no '=', ',' or brackets.

    Args:
        overrides: as they were typed.
        besides: keys that are no part of it; where it is not known which, those that say where and how to run.
    """
    around = "hydra|sweep" if besides else "hydra|sweep|logger|trainer|task|cache|resume|run|sample"
    apart = re.compile(rf"^[~+]*({around})\b")
    kept = [o.lstrip("+") for o in overrides if not apart.match(o) and o.partition("=")[0] not in besides]
    kept = [re.sub(r"(?<=\de)\+(?=\d)", "", override) for override in kept]  # 1e+3, which is not 1e-3
    few = [re.sub(r"^[\w.]*\.(?=\w+\.\w+=)", "", o) for o in kept]  # generator.lr of optimizer.generator.lr
    names = ["_".join(re.sub(r"[^\w.-]+", "-", o).strip("-") for o in told) or "default" for told in (kept, few)]
    short = next((name for name in names if len(name) <= 120), None)
    return short or f"{names[1][:111]}-{hashlib.sha256(names[0].encode()).hexdigest()[:8]}"


def _on_numbers(operation: Callable[[Any, Any], Any]) -> Callable[[Any, Any], Any]:
    """As a resolver: of nothing it is nothing, and no text or list is made many times as long."""

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
OmegaConf.register_new_resolver("output_folder", _output_folder, replace=True)
OmegaConf.register_new_resolver("plain_name", folder_name, replace=True)
