"""Expected errors as a paragraph that names the key and what would be right."""

import difflib
import errno
import re
import traceback
from collections.abc import Iterable
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

EXPECTED = (  # reported without a traceback
    UserError,
    ConfigCompositionException,
    MissingConfigException,
    OverrideParseException,
    OmegaConfBaseException,
    YAMLError,
    OSError,
)


def explain(error: BaseException, conf: Path = Path("conf")) -> str:
    """Return an expected error as a paragraph, any other with its traceback; without secrets, long words cut.

    Args:
        error: what was raised.
        conf: the folder of the groups, whose choices are listed.
    """
    text = _explain(error, conf) if isinstance(error, EXPECTED) else "".join(traceback.format_exception(error))
    text = redaction.escape_control_characters(redaction.redact(text))
    return re.sub(r"\S{400,}", lambda word: f"{word[0][:100]}...{word[0][-50:]}", text)


def _explain(error: BaseException, conf: Path) -> str:
    chain = [error]
    while (cause := chain[-1].__cause__ or chain[-1].__context__) is not None and cause not in chain:
        chain.append(cause)
    for each in chain:
        if isinstance(each, UserError):
            return str(each)
        if isinstance(each, MissingConfigException) and (text := _missing_choice(each, conf)):
            return text
        if isinstance(each, InterpolationKeyError) and (match := re.search(r"key '([\w.]+)' not found", str(each))):
            missing, group = match[1], match[1].rpartition(".")[0].replace(".", "/")
            remedy = f"; {group}=NAME chooses one that has it, +{missing}=VALUE sets it" if group else ""
            return f"{each.full_key}: takes its value from {missing}, which is missing{remedy}"
        if isinstance(each, OmegaConfBaseException) and isinstance(each, AttributeError | KeyError):
            return _missing_key(each)
    system = [each for each in chain if isinstance(each, OSError)]
    chain = [each for each in chain if each not in system[1:]]  # pathlib tries again, and fails again
    lines = [_text(each).partition("\n    full_key")[0] for each in chain if isinstance(each, EXPECTED)]
    lines = list(dict.fromkeys(line for line in lines if "$VALUE" not in line))  # OmegaConf's unfilled template
    if single := re.match(r"Error merging override \S*?([\w.]+)=(.*)\n.* is not a ListConfig", "\n".join(lines)):
        return f"{single[1]}={single[2]}: must be a list: {single[1]}=[{single[2]}]"
    keys = [each.full_key for each in chain if isinstance(each, OmegaConfBaseException) and each.full_key]
    if keys and keys[0] not in "".join(lines):
        lines.append(f"    key: {keys[0]}")
    return "\n".join(lines)


def _missing_choice(error: MissingConfigException, conf: Path) -> str | None:
    group, _, name = (error.missing_cfg_file or "").rpartition("/")
    choices = sorted(path.stem for path in (conf / group).glob("*.yaml")) if group else []
    if not choices:
        return None
    return f"{group}={name}: no such choice.{suggestion(name, choices)} Choices: {', '.join(choices)}"


def _missing_key(error: OmegaConfBaseException) -> str:
    holder = error.parent_node if isinstance(error.parent_node, DictConfig) else {}
    key = error.full_key or str(error.key)
    parent, _, name = key.rpartition(".")
    if key.startswith("hydra."):
        return f"{key}: no such key; +{key}=VALUE would add it"
    if parent and not holder:
        return f"{key}: no such key. {parent} holds none; {parent}=NAME would choose something that does."
    known = [str(name) for name in holder] or [f.name for f in fields(Config)]
    return f"{key}: no such key.{suggestion(name, known)} {parent or 'The top level'} holds {', '.join(known)}."


def _text(error: BaseException) -> str:
    if not isinstance(error, OSError):
        return str(error)
    text = errors.describe_os_error(error)
    if error.errno in (*errors.FULL, *errors.FORBIDDEN, errno.EROFS):
        text += ". Change that, or write elsewhere: hydra.run.dir=DIR for a run, cache=DIR for data and features"
    return text


def suggestion(key: Any, known: Iterable[str]) -> str:
    """Return a sentence with the known name that is closest to a key; empty if none is close."""
    close = difflib.get_close_matches(str(key), known, 1)
    return f" Did you mean '{close[0]}'?" if close else ""
