"""Errors that are expected, in a paragraph that names the key and what would be right."""

import difflib
import errno
import re
import traceback
from dataclasses import fields
from pathlib import Path
from typing import Any

from hydra.errors import ConfigCompositionException, MissingConfigException, OverrideParseException
from omegaconf import DictConfig
from omegaconf.errors import InterpolationKeyError, OmegaConfBaseException
from yaml import YAMLError

from sparring.config import errors, redaction
from sparring.config.errors import UserError
from sparring.config.schema import Config

# Told in a paragraph, without a traceback.
EXPECTED = (
    UserError,
    ConfigCompositionException,
    MissingConfigException,
    OverrideParseException,
    OmegaConfBaseException,
    YAMLError,
    OSError,
)


def explain(error: BaseException, conf: Path = Path("conf")) -> str:
    """An expected error as a paragraph that names the key and the choices, those of ``conf``; any other with its traceback.

    Without secrets, and with long words cut.
    """
    expected = isinstance(error, EXPECTED)
    said = _explained(error, conf) if expected else "".join(traceback.format_exception(error))
    return _cut(redaction.escape_control_characters(redaction.redact(said)))


def _explained(error: BaseException, conf: Path) -> str:
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
        if isinstance(told, InterpolationKeyError) and (absent := re.search(r"key '([\w.]+)' not found", str(told))):
            group = absent[1].rpartition(".")[0].replace(".", "/")
            remedy = f"; {group}=NAME chooses one that has it, +{absent[1]}=VALUE gives it" * bool(group)
            return f"{told.full_key}: takes its value from {absent[1]}, which is not there{remedy}"
        if isinstance(told, OmegaConfBaseException) and isinstance(told, AttributeError | KeyError):
            holder = told.parent_node if isinstance(told.parent_node, DictConfig) else {}
            key = told.full_key or str(told.key)
            place = key.rpartition(".")[0]
            if key.startswith("hydra."):
                return f"{key}: no such key; +{key}=VALUE would add it"
            if place and not holder:
                return f"{key}: no such key. {place} holds none; {place}=NAME would choose something that does."
            known = [str(key) for key in holder] or [f.name for f in fields(Config)]
            place = place or "The top level"
            return f"{key}: no such key.{suggestion(key.rpartition('.')[2], known)} {place} holds {', '.join(known)}."
    system = [each for each in chain if isinstance(each, OSError)]
    chain = [each for each in chain if each not in system[1:]]  # pathlib tries again, and fails again
    lines = [_told(each).partition("\n    full_key")[0] for each in chain if isinstance(each, EXPECTED)]
    lines = list(dict.fromkeys(line for line in lines if "$VALUE" not in line))  # OmegaConf's unfilled template
    if single := re.match(r"Error merging override \S*?([\w.]+)=(.*)\n.* is not a ListConfig", "\n".join(lines)):
        return f"{single[1]}={single[2]}: must be a list: {single[1]}=[{single[2]}]"
    keys = [told.full_key for told in chain if isinstance(told, OmegaConfBaseException) and told.full_key]
    if keys and keys[0] not in "".join(lines):
        lines.append(f"    key: {keys[0]}")
    return "\n".join(lines)


def _told(error: BaseException) -> str:
    if not isinstance(error, OSError):
        return str(error)
    elsewhere = error.errno in (*errors.FULL, *errors.FORBIDDEN, errno.EROFS)
    advice = ". Change that, or write elsewhere: hydra.run.dir=DIR for a run, cache=DIR for data and features"
    return errors.describe_os_error(error) + advice * elsewhere


def _cut(text: str) -> str:
    return re.sub(r"\S{400,}", lambda word: f"{word[0][:100]}...{word[0][-50:]}", text)


def suggestion(key: Any, known: list[str]) -> str:
    """Which of the known names was probably meant, as a sentence; nothing where none is near."""
    close = difflib.get_close_matches(str(key), known, 1)
    return f" Did you mean '{close[0]}'?" if close else ""
