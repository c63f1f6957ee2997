"""Errors that are expected, in a paragraph that names the key and what would be right."""

import difflib
from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import OmegaConfBaseException

from sparring.config import Config
from sparring.errors import UserError

# Told in a paragraph, without a traceback.
EXPECTED = (
    UserError,
    ConfigCompositionException,
    MissingConfigException,
    OverrideParseException,
    OmegaConfBaseException,
    OSError,
)


def explain(error: BaseException, conf: Path = Path("conf")) -> str:
    """An expected error as a paragraph that names the key and the choices, those of ``conf``."""
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    for told in chain:
        if isinstance(told, UserError):
            return str(told)
        if isinstance(told, MissingConfigException) and told.missing_cfg_file:
            group, _, name = told.missing_cfg_file.rpartition("/")
            if group and (choices := sorted(path.stem for path in (conf / group).glob("*.yaml"))):
                return f"{group}={name}: no such choice.{suggestion(name, choices)} Choices: {', '.join(choices)}"
        if isinstance(told, OmegaConfBaseException) and isinstance(told, AttributeError | KeyError):
            holder = told.parent_node if isinstance(told.parent_node, DictConfig) else {}
            known = [str(key) for key in holder] or [f.name for f in fields(Config)]
            key = told.full_key or str(told.key)
            place = key.rpartition(".")[0] or "The top level"
            return f"{key}: no such key.{suggestion(key.rpartition('.')[2], known)} {place} holds {', '.join(known)}."
    lines = [str(told).partition("\n    full_key")[0] for told in chain if isinstance(told, EXPECTED)]
    lines = list(dict.fromkeys(line for line in lines if "$VALUE" not in line))  # OmegaConf's unfilled template
    keys = [told.full_key for told in chain if isinstance(told, OmegaConfBaseException) and told.full_key]
    if keys and keys[0] not in "".join(lines):
        lines.append(f"    key: {keys[0]}")
    return "\n".join(lines)


def suggestion(key: Any, known: list[str]) -> str:
    """Which of the known names was probably meant, as a sentence; nothing where none is near."""
    close = difflib.get_close_matches(str(key), known, 1)
    return f" Did you mean '{close[0]}'?" if close else ""
