"""Read a run's folder, which may come from anybody, and refuse what a run does not hold. Nothing here imports torch."""

import os
import re
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sparring.config import keys_and_types, trusted_code, validation
from sparring.config.errors import UserError
from sparring.config.messages import explain
from sparring.config.overrides import key_of
from sparring.config.schema import Config, structured

LARGEST = 2**20  # bytes of a YAML file; the project writes a few thousand
DEEPEST = 32  # nested nodes; the project writes six
HARMLESS = ("if", "sum", "times", "share")  # resolvers that only calculate
GROUPS = ("task", "benchmark", "data", "loss", "regularizer", "augment", "model", "optimizer", "evaluation", "logger")
GROUPS += ("trainer", "sweep", "debug", "experiment")
OUTSIDE_LINK = "wandb/*/logs/debug-core.log"  # W&B links to its own log in the person's folder; nothing here follows it
OWN = ("cache", "trust")  # keys that each command sets for itself


def folder_of(name: str, key: str) -> Path:
    """Return the run's folder that was given under ``key``.

    Raises:
        UserError: no run is stored there, or ``check_entries`` refuses it.
    """
    folder = Path(name).expanduser()
    if not (folder / "config.yaml").is_file():
        raise UserError(f"{key}={name}: no run is stored there (it has no config.yaml)")
    check_entries(folder)
    return folder


def check_entries(folder: Path) -> None:
    """Refuse a run's folder with a symbolic link out of it, or with pipes and devices, before a file is opened.

    Raises:
        UserError: naming the path.
    """
    inside = folder.resolve()
    for parent, folders, files in os.walk(folder):
        for path in (Path(parent, name) for name in (*folders, *files)):
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                target = Path(os.path.realpath(path))
                if not path.match(OUTSIDE_LINK) and not target.is_relative_to(inside):
                    raise UserError(f"{path}: leads out of the run's folder, to {target}; replace it by a copy")
            elif not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise UserError(f"{path}: is neither a file nor a folder; a run holds nothing else")


def config_of(folder: Path, trusted: Collection[str] = (), cache: str | None = None) -> dict[str, Any]:
    """Return the resolved configuration of a run, checked as if it were typed.

    Args:
        folder: the run's.
        trusted: as in ``trusted_code.check``.
        cache: the cache folder of this command, by default the environment's. It replaces the run's, also in data.path.

    Raises:
        UserError: it is no configuration, names code that it may not, or holds what could not be typed.
    """
    path = folder / "config.yaml"
    stored = read_yaml(path)
    if not isinstance(stored, dict) or not all(isinstance(key, str) for key in stored):
        raise UserError(f"{path}: is not a run's configuration, which has keys")
    check_code(stored, path, trusted)
    config = {key: value for key, value in stored.items() if key not in OWN}
    try:
        cfg = structured(config)
        keys_and_types.check_groups(cfg)
        validation.check(cfg)
    except (UserError, OmegaConfBaseException) as error:
        raise UserError(f"{path}: {explain(error)}") from error
    config["cache"] = cache or os.environ.get("SPARRING_CACHE") or Config.cache
    _move_data(config["data"], stored.get("cache"), config["cache"])
    return config


def check_code(config: dict[str, Any], path: Path, trusted: Collection[str] = ()) -> None:
    """Apply ``trusted_code.check`` to the configuration in a file; the error says how to trust its code."""
    try:
        trusted_code.check({key: value for key, value in config.items() if key not in OWN}, trusted)
    except UserError as error:
        advice = ". If you know whose it is, trust it: trust=[PACKAGE]" if "_target_" in str(error) else ""
        raise UserError(f"{path}: {error}{advice}") from error


def _move_data(data: dict[str, Any], old_cache: Any, cache: str) -> None:
    """Replace a path in the run's cache by the same path in this command's cache."""
    if isinstance(data.get("path"), str) and isinstance(old_cache, str):
        path, old = (Path(os.path.normpath(Path(name).expanduser())) for name in (data["path"], old_cache))
        if path.is_relative_to(old):
            data["path"] = str(Path(cache).expanduser() / path.relative_to(old))


def is_within(path: str | None, folder: str) -> bool:
    """Return whether a path lies in a folder, with symbolic links followed."""
    return path is not None and Path(path).expanduser().resolve().is_relative_to(Path(folder).expanduser().resolve())


def read_overrides(path: Path) -> list[str]:
    """Return the overrides that started a run, without those that each command sets for itself.

    Raises:
        UserError: the file holds no list of overrides.
    """
    stored = read_yaml(path)
    if not isinstance(stored, list) or not all(isinstance(override, str) for override in stored):
        raise UserError(f"{path}: is not a list of overrides")
    return [override for override in stored if key_of(override) not in OWN]


def check_overrides(overrides: list[str], path: Path) -> list[str]:
    """Return the overrides of a run, stored in the file ``path``.

    Raises:
        UserError: one of them does more than to set keys of the experiment and to choose from its groups.
    """
    for override in overrides:
        if (harm := find_harm(override)) is not None:
            raise UserError(
                f"{path}: {override!r} {harm}, which a stored run may not. If it is right, type that key again: what "
                "you type replaces what is stored"
            )
    return overrides


def find_harm(override: str) -> str | None:
    """Return what an override does besides setting a key of the experiment or choosing from a group, or None."""
    key, _, value = override.partition("=")
    matched = re.fullmatch(r"[+~]{0,2}([A-Za-z_][\w-]*(?:[./][\w-]+)*)(?:@([A-Za-z_][\w.]*))?", key)
    if matched is None:
        return "sets no key"
    root = re.split(r"[./]", matched[1])[0]
    if "hydra" in (root, (matched[2] or "").partition(".")[0]):
        return "configures Hydra"
    for name in re.findall(r"\$\{([^{}:]*(?:\$\{|:))", value):
        if name.strip().rstrip(":") not in HARMLESS:
            return f"asks for ${{{name.strip()}...}}"
    chooses = "/" in key or "." not in key and root in GROUPS
    if chooses and (re.search(r"[^\w\s/,'\"\[\]-]", value) or re.search(r"(^|[\[,'\"\s])/", value)):
        return "chooses from elsewhere than the groups"
    return None


def read_yaml(path: Path) -> Any:
    """Return the content of a plain YAML or JSON file.

    Raises:
        UserError: it is missing, damaged, larger or deeper than what the project writes, or refers to its own parts.
    """
    try:
        if (size := path.stat().st_size) > LARGEST:
            raise UserError(f"{path}: has {size / 2**20:.0f} MiB; a run's has a few KiB")
        text, depth = path.read_text(encoding="utf-8"), 0
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > DEEPEST:
                raise UserError(f"{path}: refers to its own parts, or nests them {DEEPEST} deep; a run's does not")
        content = OmegaConf.create(text) if text.strip() else None
        if text and not text.endswith(("\n", "}", "]")):
            raise UserError(f"{path}: is cut short; put back a copy of it")
        return OmegaConf.to_container(content) if OmegaConf.is_config(content) else content
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path}: is missing") from error
    except Exception as error:  # the system's, yaml's, OmegaConf's
        raise UserError(f"{path}: can't be read ({' '.join(str(error).split())[:200]})") from error
