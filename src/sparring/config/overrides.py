"""The command line before Hydra reads it: parsed, checked, and paths quoted once. Nothing here imports torch."""

import glob
import math
import os
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import ChoiceSweep, Override, Quote, QuotedString, RangeSweep
from hydra.errors import OverrideParseException

from sparring.config import redaction
from sparring.config.errors import UserError

PATHS = (
    "run",
    "resume",
    "init",
    "cache",
    "fake",
    "real",
    "input",
    "path",
    "weights",
    "folder",
    "file",
    "dir",
)  # ends of keys
WRITTEN = ("cache", "folder", "dir")  # ends of keys that name folders to write to
LISTS = ("regularizer", "evaluation/metrics")  # groups with several choices
MOST_JOBS = 10_000  # in a sweep


@dataclass(frozen=True)
class CommandLine:
    """The arguments of a command, as Hydra can read them.

    Attributes:
        arguments: all of them, in order; paths with spaces, commas, brackets or letters of any script are quoted.
        overrides: those that set keys or choose from groups, parsed. Hydra reports the ones that can't be parsed.
        is_sweep: whether ``-m`` asks for several jobs.
        conf: the folder of the groups.
    """

    arguments: list[str]
    overrides: list[Override]
    is_sweep: bool
    conf: Path

    @property
    def keys(self) -> list[str]:
        """The keys and groups that are set."""
        return [key_of(argument) for argument in self.arguments]

    def text(self, key: str) -> str | None:
        """Return the text that a key is set to, without the quotes around it; None if it is not set."""
        for override in reversed(self.overrides):
            if override.get_key_element() == key and not (override.is_delete() or override.is_sweep_override()):
                value = override.value()
                return value if isinstance(value, str) else str(override.input_line).partition("=")[2]
        return None


def read(arguments: list[str], conf: Path) -> CommandLine:
    """Parse and check a command line.

    Args:
        arguments: as they were typed.
        conf: the folder of the groups.

    Raises:
        UserError: an argument holds a secret, chooses from a group twice or by something else than a name, names a
            folder that can't exist, or sweeps without an end.
    """
    redaction.refuse_secrets((key_of(argument), argument) for argument in arguments)
    is_sweep = bool({"-m", "--multirun"} & set(arguments))
    arguments = [_quote_paths(argument, is_sweep) for argument in arguments]
    command = CommandLine(arguments, parse(arguments), is_sweep, conf)
    jobs, chosen = 1, dict[str, str]()
    for override in command.overrides:
        typed, jobs = str(override.input_line), jobs * sweep_length(override)
        key, value = override.key_or_group, "" if override.is_delete() else override.value()
        values = value.list if isinstance(value, ChoiceSweep) else [value]
        if (conf / key).is_dir():
            if not all(_is_choice(each, key in LISTS) for each in values):
                number = "one or a list" if key in LISTS else "one"
                raise UserError(f"{typed}: {key} is a group, of which {number} is chosen by name")
            if chosen.setdefault(key, typed) != typed:
                raise UserError(f"{chosen[key]} {typed}: {key} is chosen twice; leave one out")
        elif key.rpartition(".")[2] in WRITTEN:
            for each in values:
                check_folder(key, each)
    if jobs > MOST_JOBS:
        raise UserError(f"-m: {jobs:,} jobs; a sweep has at most {MOST_JOBS:,}. sweep=optuna tries some of many")
    return command


def key_of(override: str) -> str:
    """Return the key or group that an override sets."""
    return override.partition("=")[0].lstrip("+~")


def check_folder(key: str, value: Any) -> None:
    """Raise UserError if a folder can't exist or be made because a file is in its place."""
    if value is None or "${" in str(value):
        return
    path = Path(os.path.expanduser(str(value))).absolute()
    existing = next(parent for parent in (path, *path.parents) if os.path.lexists(parent))
    if not existing.is_dir():
        raise UserError(f"{key}={value}: must be a folder, and {'that' if existing == path else existing} is a file")


def parse(arguments: list[str]) -> list[Override]:
    """Return the overrides among the arguments; those that can't be parsed are left out."""
    overrides = []
    for argument in arguments:
        try:
            overrides += OverridesParser.create().parse_overrides([argument] if not argument.startswith("-") else [])
        except OverrideParseException:
            continue
    return overrides


def sweep_length(override: Override) -> int:
    """Return the number of values of a sweep; 1 where there is no sweep, or one without a number of values."""
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


def _quote_paths(argument: str, is_sweep: bool) -> str:
    """Return an argument with its path, or those of its list or sweep, quoted where Hydra could not read it."""
    key, _, value = argument.partition("=")
    if key.lstrip("+").rpartition(".")[2] not in PATHS or _is_readable(argument, is_sweep):
        return argument
    start, inner, end = "", value, ""
    if not _exists(value) and value.startswith("[") and value.endswith("]"):
        start, inner, end = "[", value[1:-1], "]"
    parts = inner.split(",") if start or is_sweep and not _exists(value) else [inner]
    parts = [part if _is_readable(f"{key}={part}", is_sweep) else _in_quotes(part) for part in parts]
    return f"{key}={start}{','.join(parts)}{end}"


def _is_readable(argument: str, is_sweep: bool) -> bool:
    return any(is_sweep or not override.is_sweep_override() for override in parse([argument]))


def _exists(path: str) -> bool:
    path = os.path.expanduser(path)
    return os.path.lexists(path) or bool(glob.glob(path))


def _in_quotes(path: str) -> str:
    return QuotedString(text=path, quote=Quote.single if '"' in path else Quote.double).with_quotes()
