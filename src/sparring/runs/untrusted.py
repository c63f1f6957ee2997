"""A run's folder, which may be anybody's: what is read of it, and what of it is refused. Nothing here imports torch."""

import os
import re
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Any

import yaml
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from sparring.config import node_types, trusted_code, validation
from sparring.config.errors import UserError
from sparring.config.messages import explain
from sparring.config.schema import Config

LARGEST = 2**20  # bytes of a file of YAML; ours have some thousand
DEEPEST = 32  # nodes in nodes; ours have six
HARMLESS = ("if", "sum", "times", "share")  # resolvers, which only calculate
GROUPS = ("task", "benchmark", "data", "loss", "regularizer", "augment", "model", "optimizer", "evaluation", "logger")
GROUPS += ("trainer", "sweep", "debug", "experiment")
UNREAD = "wandb/*/logs/debug-core.log"  # W&B's link to its own log, in the person's folder; nobody here follows it
PLACES = ("cache", "trust")  # what is this command's alone


def folder_of(named: str, key: str) -> Path:
    """The run's folder that was named under ``key``.

    Raises:
        UserError: it is none, or holds what ``check_entries`` refuses.
    """
    folder = Path(named).expanduser()
    if not (folder / "config.yaml").is_file():
        raise UserError(f"{key}={named}: no run is stored there (it has no config.yaml)")
    check_entries(folder)
    return folder


def check_entries(folder: Path) -> None:
    """Refuse a run's folder that holds something else than files and folders of its own, before anything of it is opened.

    Raises:
        UserError: a symbolic link leads out of it, or to read something there would be to wait for somebody (a pipe, a device).
    """
    whole = folder.resolve()
    for place, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(place, name)
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                if not path.match(UNREAD) and not (leads := Path(os.path.realpath(path))).is_relative_to(whole):
                    raise UserError(
                        f"{path}: leads out of the run's folder, to {leads}; put what it means in its place"
                    )
            elif not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                raise UserError(f"{path}: is neither a file nor a folder; a run holds nothing else")


def config_of(folder: Path, trusted: Collection[str] = (), cache: str | None = None) -> dict[str, Any]:
    """The resolved configuration of a run.

    Args:
        folder: the run's.
        trusted: as in ``trust.check``.
        cache: the cache folder of this command, by default the environment's; data in the run's own are looked for there.

    Raises:
        UserError: it is no configuration, names code that it may not, or holds what could not have been typed.
    """
    path = folder / "config.yaml"
    found = read_yaml(path)
    if not isinstance(found, dict) or not all(isinstance(key, str) for key in found):
        raise UserError(f"{path}: is not a run's configuration, which has keys")
    check_code(found, path, trusted)
    check_values({key: value for key, value in found.items() if key not in PLACES}, path)
    theirs, ours = found.get("cache"), cache or os.environ.get("SPARRING_CACHE") or Config.cache
    found = {key: value for key, value in found.items() if key not in PLACES} | {"cache": ours}
    _move(found.get("data"), theirs, ours)
    return found


def check_code(config: dict[str, Any], path: Path, trusted: Collection[str] = ()) -> None:
    """``trust.check`` of the configuration in a file, with the way out."""
    try:
        trusted_code.check({key: value for key, value in config.items() if key not in PLACES}, trusted)
    except UserError as error:
        advice = ". If you know whose it is, trust it: trust=[PACKAGE]" if "_target_" in str(error) else ""
        raise UserError(f"{path}: {error}{advice}") from error


def check_values(config: dict[str, Any], path: Path) -> None:
    """Refuse keys, types, ranges and combinations in a stored configuration, from the file ``path``, as if they were typed."""
    try:
        cfg = OmegaConf.merge(OmegaConf.structured(Config), config)
        node_types.check_groups(cfg)
        validation.check(cfg)
    except (UserError, OmegaConfBaseException) as error:
        raise UserError(f"{path}: {explain(error)}") from error


def _move(data: Any, theirs: Any, ours: str) -> None:
    """Let data that a run had in its cache be in this one."""
    if not isinstance(data, dict) or not isinstance(data.get("path"), str) or not isinstance(theirs, str):
        return
    place, cache = (Path(os.path.normpath(Path(name).expanduser())) for name in (data["path"], theirs))
    if place.is_relative_to(cache):
        data["path"] = str(Path(ours).expanduser() / place.relative_to(cache))


def is_within(path: str | None, folder: str) -> bool:
    """Whether a path lies in a folder, wherever symbolic links lead."""
    return path is not None and Path(path).expanduser().resolve().is_relative_to(Path(folder).expanduser().resolve())


def read_overrides(path: Path) -> list[str]:
    """What was typed to start a run, without what is each command's alone. Raises UserError if the file holds no such list."""
    found = read_yaml(path)
    if not isinstance(found, list) or not all(isinstance(override, str) for override in found):
        raise UserError(f"{path}: is not a list of what was typed")
    return [override for override in found if override.lstrip("+~").partition("=")[0] not in PLACES]


def checked(overrides: list[str], path: Path) -> list[str]:
    """The overrides of a stored run that this command does not replace, which lie in the file ``path``.

    Raises:
        UserError: one of them does more than to set keys of the experiment and to choose from its groups.
    """
    for override in overrides:
        if (wrong := harm_of(override)) is not None:
            raise UserError(
                f"{path}: {override!r} {wrong}, which a stored run may not. If it is right, type that key again: what is typed "
                "replaces what is stored"
            )
    return overrides


def harm_of(override: str) -> str | None:
    """What an override may do besides setting a key of the experiment or choosing from a group of it; None for nothing."""
    key, _, value = override.partition("=")
    shaped = re.fullmatch(r"[+~]{0,2}([A-Za-z_][\w-]*(?:[./][\w-]+)*)(?:@([A-Za-z_][\w.]*))?", key)
    if shaped is None:
        return "sets no key"
    parts = re.split(r"[./]", shaped[1])
    if "hydra" in (parts[0], (shaped[2] or "").partition(".")[0]):
        return "tells Hydra what to do"
    resolvers = [name.strip() for name in re.findall(r"\$\{([^{}:]*(?:\$\{|:))", value)]
    if unknown := [name for name in resolvers if name.rstrip(":") not in HARMLESS]:
        return f"asks for ${{{unknown[0]}...}}"
    chooses = "/" in key or "." not in key and parts[0] in GROUPS
    if chooses and (re.search(r"[^\w\s/,'\"\[\]-]", value) or re.search(r"(^|[\[,'\"\s])/", value)):
        return "chooses from elsewhere than the groups"
    return None


def read_yaml(path: Path) -> Any:
    """What a file of plain YAML (or JSON) says: of sane size and depth, and nothing in it twice by reference.

    Raises:
        UserError: it is not.
    """
    try:
        if (size := path.stat().st_size) > LARGEST:
            raise UserError(f"{path}: has {size / 2**20:.0f} MiB; ours have a few KiB")
        text, depth = path.read_text(encoding="utf-8"), 0
        for event in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if isinstance(event, yaml.AliasEvent) or depth > DEEPEST:
                raise UserError(f"{path}: refers to its own parts, or nests them {DEEPEST} deep; ours do not")
        found = OmegaConf.create(text) if text.strip() else None
        if text and not text.endswith(("\n", "}", "]")):
            raise UserError(f"{path}: is cut short; put back a copy of it")
        return OmegaConf.to_container(found) if OmegaConf.is_config(found) else found
    except UserError:
        raise
    except FileNotFoundError as error:
        raise UserError(f"{path}: is not there") from error
    except Exception as error:  # the system's, yaml's, OmegaConf's
        raise UserError(f"{path}: can't be read ({' '.join(str(error).split())[:200]})") from error
