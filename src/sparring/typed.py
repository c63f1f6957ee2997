"""What was typed, before anything reads it: Hydra takes some of it amiss. Nothing here imports torch."""

import math
import os
from pathlib import Path
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, QuotedString, RangeSweep
from hydra.errors import OverrideParseException

from sparring.errors import UserError

FOLDERS = ("run", "resume", "init", "cache", "fake", "real", "input")
MOST = 10_000  # jobs of a sweep


def check(arguments: list[str], conf: Path) -> None:
    """Refuse choices that are no names, home folders that are none, and sweeps without an end.

    Args:
        arguments: of the command line.
        conf: whose folders are the groups.

    Raises:
        UserError: naming the argument and what would be right.
    """
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key in FOLDERS and os.path.expanduser(value.strip("'\"")).startswith("~"):
            raise UserError(f"{argument}: there is no such home folder")
    jobs = 1
    for override in parsed(arguments):
        jobs *= length(override)
        key, value = override.key_or_group, "" if override.is_delete() else override.value()
        chosen = value.list if isinstance(value, ChoiceSweep) else [value]
        if (conf / key).is_dir() and not all(map(_is_choice, chosen)):
            raise UserError(f"{override.input_line}: {key} is a group, of which one or a list is chosen by name")
    if jobs > MOST:
        raise UserError(f"-m: {jobs:,} jobs; a sweep has at most {MOST:,}. sweep=optuna tries some of many")


def parsed(arguments: list[str]) -> list[Override]:
    """The overrides among the arguments; what can't be parsed Hydra will tell."""
    found = []
    for argument in arguments:
        try:
            found += OverridesParser.create().parse_overrides([argument] if not argument.startswith("-") else [])
        except OverrideParseException:
            continue
    return found


def length(override: Override) -> int:
    """How many values a sweep over it has; 1 of what is none, or has no number of values."""
    value: Any = override.value() if override.is_sweep_override() else None
    if isinstance(value, ChoiceSweep):
        return len(value.list)
    if not isinstance(value, RangeSweep):
        return 1
    first, last, step = value.start or 0, value.stop or 0, value.step
    if not step or not all(map(math.isfinite, (first, last, step))):
        raise UserError(f"{override.input_line}: a range has a finite start, stop and step, and the step is not 0")
    return max(math.ceil((last - first) / step), 0)


def _is_choice(value: Any) -> bool:
    return all(isinstance(name, str | QuotedString) for name in (value if isinstance(value, list) else [value]))
