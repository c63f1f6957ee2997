"""What each node of the configuration describes: whether it may stand there, and its keys and types."""

import inspect
import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from typing import Any, Literal, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, OmegaConf

from sparring.config.errors import UserError
from sparring.config.instantiate import signature
from sparring.config.messages import suggestion
from sparring.config.schema import OWN_KEYS

# What must stand at the places of the groups: a subclass of one of these classes, an object that is called, or a function of a module.
KINDS = {
    "data": ["sparring.data.source.Source"],
    "model": ["sparring.games.game.Game"],
    "optimizer.generator": ["torch.optim.Optimizer"],
    "optimizer.discriminator": ["torch.optim.Optimizer"],
    "loss": ["sparring.losses.Loss"],
    "augment": ["sparring.augment.base.Augment"],
    "evaluation": [
        "sparring.evaluation.evaluator.Evaluator",
        "sparring.evaluation.augmentation_study.study.AugmentationStudy",
    ],
    "logger": ["sparring.runs.wandb_run.WandbRun"],
    "ema.schedule": [],
    "optimizer.schedule": [],
}
FUNCTIONS = {"task": "sparring.tasks.", "benchmark": "sparring.benchmarks."}
WANTED = {"task", "data", "model", "optimizer.generator", "optimizer.discriminator"}  # the others may be none
GIVEN = ("self", "params", "cfg", "folder", "config", "loss")  # arguments that are not of the node itself
OF_NODES = ("optimizer", "regularizer")  # which hold such nodes by their names
CLASS_TYPES = ("is_instance_of", "needs_python_object")  # what pydantic says of classes that no value is of
WORDS = {  # of pydantic's errors
    "missing": "more values are needed",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "string_type": "must be text (quoted twice, if it looks like a number: '\"5\"')",
    "list_type": "must be a list, [a,b]",
    "tuple_type": "must be a list, [a,b]",
    "none_required": "or null",
    "callable_type": (SCHEDULE := "must be a schedule, {_target_:sparring.training.schedules.Linear,end_kimg:...}"),
}


def check_groups(cfg: DictConfig) -> None:
    """Raise UserError if a group is something else than what its choices describe: a number, a list, nothing."""
    for place in (*KINDS, *FUNCTIONS, *OF_NODES):
        above, _, key = place.rpartition(".")
        holder = OmegaConf.select(cfg, above) if above else cfg
        if not isinstance(holder, DictConfig) or place in ("ema.schedule", "optimizer.schedule") and key not in holder:
            continue
        node = holder.get(key)
        group = place.replace(".", "/")
        if node is None or isinstance(node, DictConfig) and not node:
            if place in WANTED or place == "optimizer":
                raise UserError(f"{place}={node}: must be chosen; {group.partition('/')[0]}=NAME")
        elif not isinstance(node, DictConfig) and not KINDS.get(place, True):
            raise UserError(
                f"{place}={node}: {SCHEDULE}{'; optimizer/schedule=NAME' * (place == 'optimizer.schedule')}"
            )
        elif not isinstance(node, DictConfig):
            raise UserError(f"{place}={node}: must be one of the choices; {group.partition('/')[0]}=NAME")
        elif place in OF_NODES:
            for name in node:
                if not isinstance(node[name], DictConfig):
                    raise UserError(f"{place}.{name}={node[name]}: '{name}' has settings, {place}.{name}.KEY=VALUE")
        elif not isinstance(OmegaConf.select(node, "_target_"), str):
            raise UserError(
                f"{place}._target_={node.get('_target_')}: must name what {place} is; {group}=NAME chooses one"
            )


def check_nodes(cfg: DictConfig) -> None:
    """Refuse a key that nobody reads, a value of the wrong type, and a node that describes something else than is wanted."""
    _check(cfg, "", None)


def _check(node: DictConfig, path: str, hint: Any) -> None:
    """A node against what may stand in it: its dataclass, its constructor's signature, or other such nodes."""
    hints: dict[str, Any] = {}
    if node._metadata.object_type not in (None, dict):
        _check_keys(node, path, [f.name for f in fields(node._metadata.object_type)])
    elif "_target_" in node:
        if _values(hint) is not None:
            raise UserError(f"{path}._target_={node._target_}: {path} holds what is chosen, by its names")
        hints = _check_target(node, path, hint)
    else:
        for key in node:
            if not isinstance(node[key], DictConfig) or "_target_" not in node[key]:
                chosen = [str(k) for k in node if isinstance(node[k], DictConfig) and "_target_" in node[k]]
                raise UserError(
                    f"{path}.{key}={node[key]}: '{key}' was not chosen, so it has no settings."
                    f"{suggestion(key, chosen)} {path} holds {', '.join(chosen) or 'nothing'}."
                )
        hints = dict.fromkeys(map(str, node), _values(hint))
    for key in node:
        if OmegaConf.is_missing(node, key):
            raise UserError(f"{path}.{key} must be given: {path}.{key}=...")
        if isinstance(node[key], DictConfig):
            _check(node[key], f"{path}.{key}" if path else str(key), hints.get(str(key)))


def _check_keys(node: DictConfig, path: str, known: list[str]) -> None:
    for key in node:
        if key not in known and key != "_target_":
            name = f"{path}.{key}" if path else str(key)
            raise UserError(
                f"{name}: no such key.{suggestion(key, known)} {path or 'The top level'} takes {', '.join(known) or 'none'}."
            )


def _check_target(node: DictConfig, path: str, hint: Any) -> dict[str, Any]:
    """What a node names, and the values of its keys; returns the types of these."""
    target = _named(path, node._target_)
    _check_kind(target, f"{path}._target_={node._target_}", path, hint)
    parameters, hints = signature(target)
    own = {f.name: f.type for f in fields(OWN_KEYS[path])} if path in OWN_KEYS else {}
    hints |= get_type_hints(OWN_KEYS[path]) if own else {}
    known = [name for name in parameters if name not in ("self", "params")] + list(own)
    if not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
        _check_keys(node, path, known)
    for key in (name for name in map(str, node) if name in hints):
        if not OmegaConf.is_missing(node, key):
            _check_value(node, key, path, hints[key])
    for name, parameter in parameters.items():
        given = parameter.default is not parameter.empty or name in GIVEN or parameter.kind in (2, 4)  # *args, **kwargs
        if given or _values(hints.get(name)) is not None:
            continue
        if name not in node:
            raise UserError(f"{path}.{name} must be given: {path}.{name}=...")
        if _is_node(hints.get(name)) and not node[name]:
            raise UserError(f"{path}.{name}={node[name]}: must be chosen; {path.replace('.', '/')}/{name}=NAME")
    return hints


def _named(path: str, name: Any) -> Any:
    from hydra.utils import get_object

    try:
        target = get_object(name)
        if not callable(target):
            raise ImportError(f"it is no class or function, but a {type(target).__name__}")
        return target
    except Exception as error:
        raise UserError(f"{path}._target_={name}: can't be imported ({error})") from error


def _check_kind(target: Any, said: str, path: str, hint: Any) -> None:
    """Raise UserError if a target is not what may stand at its path."""
    from hydra.utils import get_class

    if path in FUNCTIONS:
        if not inspect.isfunction(target) or not f"{target.__module__}.".startswith(FUNCTIONS[path]):
            raise UserError(f"{said}: must be a function of {FUNCTIONS[path].rstrip('.')}")
        return
    wanted = [get_class(name) for name in KINDS.get(path, [])] or _classes(hint)
    called = path in KINDS and not KINDS[path] or Callable in _parts(hint)
    if path.startswith("regularizer.") and path.count(".") == 1:
        wanted = [get_class("sparring.regularizers.base.Regularizer")]
    if called and not (inspect.isclass(target) and any("__call__" in vars(base) for base in target.__mro__)):
        raise UserError(f"{said}: must be a class whose objects are called, as those of sparring.training.schedules")
    if wanted and not (inspect.isclass(target) and issubclass(target, tuple(wanted))):
        raise UserError(f"{said}: must be a {' or '.join(f'{each.__module__}.{each.__qualname__}' for each in wanted)}")
    if hint is not None and not wanted and not called:
        raise UserError(f"{said}: {path} is a value, and nothing that is built")


def _check_value(node: DictConfig, key: str, path: str, hint: Any) -> None:
    from pydantic import ConfigDict, TypeAdapter, ValidationError
    from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

    value = node[key]
    if isinstance(value, DictConfig) and _is_node(hint) or (value is None and OmegaConf.is_interpolation(node, key)):
        return
    if isinstance(value, DictConfig) and "_target_" in value:
        return  # looked at as a node
    try:
        adapter = TypeAdapter(hint, config=ConfigDict(arbitrary_types_allowed=True))
    except (PydanticSchemaGenerationError, PydanticUserError):
        return
    plain = OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
    try:
        valid = adapter.validate_json(json.dumps(plain), strict=True)
    except ValidationError as error:
        found = [e for e in error.errors() if e["type"] not in CLASS_TYPES]
        said = [
            f"must be {e['ctx']['expected']}" if "expected" in e.get("ctx", {}) else WORDS.get(e["type"], e["msg"])
            for e in found
        ]
        told = "; or ".join(dict.fromkeys(said)).replace("; or must be", ", or")
        raise UserError(f"{path}.{key}={plain}: {told or f'must be a {hint}'}") from error
    if plain != valid or json.dumps(plain) != json.dumps(valid, default=str):
        node[key] = valid  # 0 where a float is wanted becomes 0.0: torch's optimizers ask for it


def _parts(hint: Any) -> list[Any]:
    """A type and, of a union, a sequence or a mapping, those it is made of."""
    origin = get_origin(hint)
    if origin is Callable:
        return [Callable]
    return [hint] if origin in (None, Literal) else [part for each in get_args(hint) for part in _parts(each)]


def _classes(hint: Any) -> list[type]:
    """The classes of a type that nodes describe."""
    plain = (int, float, bool, str, bytes, type(None), dict, list, tuple)
    return [part for part in _parts(hint) if inspect.isclass(part) and part not in plain and part.__module__ != "torch"]


def _is_node(hint: Any) -> bool:
    return bool(_classes(hint)) or Callable in _parts(hint)


def _values(hint: Any) -> Any:
    """The type of the values of a mapping."""
    found = [get_args(each)[1] for each in (hint, *get_args(hint)) if get_origin(each) is Mapping]
    return found[0] if found else None
