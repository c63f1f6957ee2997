"""What was typed, before anything reads it: Hydra takes some of it amiss. Nothing here imports torch."""

import glob
import math
import os
from pathlib import Path, PurePath
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, Quote, QuotedString, RangeSweep
from hydra.errors import OverrideParseException

from sparring.config.errors import UserError

FOLDERS = ("run", "resume", "init", "cache", "fake", "real", "input")
PATHS = (*FOLDERS, "path", "weights", "folder", "file", "dir")  # by the end of the key
MADE = ("cache", "folder", "dir")  # folders that are made
LISTS = ("regularizer", "evaluation/metrics")  # groups of which several are chosen
MOST = 10_000  # jobs of a sweep


def check_arguments(arguments: list[str], conf: Path) -> list[str]:
    """The command line as Hydra reads it, unless it makes no sense: choices that are no names or two of what there is one of,
    folders that can't be any, sweeps without an end.

    Args:
        arguments: of the command line.
        conf: whose folders are the groups.

    Returns:
        them, with paths quoted that Hydra's grammar could not read: of any script, with spaces, commas, brackets.

    Raises:
        UserError: naming the argument and what would be right.
    """
    several = bool({"-m", "--multirun"} & set(arguments))
    arguments = [_quoted(argument, several) for argument in arguments]
    for argument in arguments:
        key, _, value = argument.partition("=")
        if key in FOLDERS and os.path.expanduser(value.strip("'\"")).startswith("~"):
            raise UserError(f"{argument}: there is no such home folder")
    jobs, before = 1, {}
    for override in parse(arguments):
        jobs *= sweep_length(override)
        key, value = override.key_or_group, "" if override.is_delete() else override.value()
        chosen = value.list if isinstance(value, ChoiceSweep) else [value]
        if (conf / key).is_dir():
            if not all(_is_choice(each, key in LISTS) for each in chosen):
                many = "one or a list" if key in LISTS else "one"
                raise UserError(f"{override.input_line}: {key} is a group, of which {many} is chosen by name")
            if before.setdefault(key, override.input_line) != override.input_line:
                raise UserError(f"{before[key]} {override.input_line}: {key} is chosen twice; leave one out")
        elif key.rpartition(".")[2] in MADE:
            for each in chosen:
                check_folder(key, each)
    if jobs > MOST:
        raise UserError(f"-m: {jobs:,} jobs; a sweep has at most {MOST:,}. sweep=optuna tries some of many")
    return arguments


def check_folder(key: str, value: Any) -> None:
    """Raise UserError if a folder can't be made, or be there, since a file is in its place."""
    if value is None or "${" in str(value):
        return
    path = Path(os.path.expanduser(str(value))).absolute()
    there = next(place for place in (path, *path.parents) if os.path.lexists(place))
    if not there.is_dir():
        raise UserError(f"{key}={value}: must be a folder, and {'that' if there == path else there} is a file")


def parse(arguments: list[str]) -> list[Override]:
    """The overrides among the arguments; what can't be parsed Hydra will tell."""
    found = []
    for argument in arguments:
        try:
            found += OverridesParser.create().parse_overrides([argument] if not argument.startswith("-") else [])
        except OverrideParseException:
            continue
    return found


def sweep_length(override: Override) -> int:
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


def _is_choice(value: Any, several: bool) -> bool:
    names = value if isinstance(value, list) and several else [value]
    return all(isinstance(name, str | QuotedString) and ".." not in PurePath(str(name)).parts for name in names)


def _quoted(argument: str, several: bool) -> str:
    """An argument with the path in it quoted, or those of a list or a sweep (``several``), if Hydra could not read it."""
    key, _, value = argument.partition("=")
    if key.lstrip("+").rpartition(".")[2] not in PATHS or _is_readable(argument, several):
        return argument
    start, inner, end = "", value, ""
    if not _exists(value) and value.startswith("[") and value.endswith("]"):
        start, inner, end = "[", value[1:-1], "]"
    parts = inner.split(",") if start or several and not _exists(value) else [inner]
    parts = [part if _is_readable(f"{key}={part}", several) else _in_quotes(part) for part in parts]
    return f"{key}={start}{','.join(parts)}{end}"


def _is_readable(argument: str, several: bool) -> bool:
    return any(several or not override.is_sweep_override() for override in parse([argument]))


def _exists(path: str) -> bool:
    path = os.path.expanduser(path)
    return os.path.lexists(path) or bool(glob.glob(path))


def _in_quotes(path: str) -> str:
    return QuotedString(text=path, quote=Quote.single if '"' in path else Quote.double).with_quotes()
