"""Check each node of a configuration against the signature of the class that it names.

A node's values, and the objects that nest in it, are validated at once by pydantic: types and constraints stand in the
constructor. An object is represented by an empty instance of its class, so nothing is built.
"""

import inspect
from collections.abc import Callable, Collection, Mapping
from dataclasses import is_dataclass
from types import UnionType
from typing import Annotated, Any, NoReturn, Required, Union, get_args, get_origin, get_type_hints

from omegaconf import DictConfig, ListConfig, OmegaConf

from sparring.config.errors import UserError
from sparring.config.instantiate import signature
from sparring.config.messages import suggestion
from sparring.config.schema import OWN_KEYS, TORCH_ARGUMENTS

SCHEDULE = "must be a schedule, {_target_:sparring.training.schedules.Linear,end_kimg:...}"
OBJECTS = {  # classes of the objects that groups describe; of a schedule, anything that can be called
    "data": ["sparring.data.source.Source"],
    "model": ["sparring.games.game.Game"],
    "optimizer.generator": ["torch.optim.Optimizer"],
    "optimizer.discriminator": ["torch.optim.Optimizer"],
    "optimizer.schedule": [],
    "loss": ["sparring.losses.Loss"],
    "augment": ["sparring.augment.base.Augment"],
    "evaluation": [
        "sparring.evaluation.evaluator.Evaluator",
        "sparring.evaluation.augmentation_study.study.AugmentationStudy",
    ],
    "logger": ["sparring.runs.wandb_run.WandbRun"],
    "ema.schedule": [],
}
FUNCTIONS = {"task": "sparring.tasks.", "benchmark": "sparring.benchmarks."}
COLLECTIONS = ("optimizer", "regularizer")  # groups that hold objects by name
REQUIRED = {"task", "data", "model", "optimizer", "optimizer.generator", "optimizer.discriminator"}
GIVEN = {"self", "params", "cfg", "folder", "config", "loss"}  # arguments that the project passes itself
WORDS = {  # for pydantic's error types
    "missing": "more values are needed",
    "bool_type": "must be true or false",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "finite_number": "must be a finite number",
    "string_type": "must be text (quoted twice, if it looks like a number: '\"5\"')",
    "string_pattern_mismatch": "must match {pattern}",
    "list_type": "must be a list, [a,b]",
    "tuple_type": "must be a list, [a,b]",
    "none_required": "or null",
    "callable_type": SCHEDULE.replace("{", "{{").replace("}", "}}"),
    "is_instance_of": "must be a {class}",
    "literal_error": "must be {expected}",
    "greater_than": "must be above {gt:.12g}",
    "greater_than_equal": "must be at least {ge:.12g}",
    "less_than": "must be below {lt:.12g}",
    "less_than_equal": "must be at most {le:.12g}",
}


def check_groups(cfg: DictConfig) -> None:
    """Raise UserError if a group holds something else than its choices do: a number, a list, nothing."""
    for path in (*COLLECTIONS, *OBJECTS, *FUNCTIONS):
        node = OmegaConf.select(cfg, path)
        group = path.partition(".")[0] if path in REQUIRED else path.replace(".", "/")
        if node is None or node == {}:
            if path in REQUIRED:
                raise UserError(f"{path}={node}: must be chosen; {group}=NAME")
        elif not isinstance(node, DictConfig):
            expected = SCHEDULE if path.endswith("schedule") else "must be one of the choices"
            raise UserError(f"{path}={node}: {expected}; {group}=NAME")
        elif path not in COLLECTIONS and not isinstance(node.get("_target_"), str):
            raise UserError(f"{path}._target_={node.get('_target_')}: must name what {path} is; {group}=NAME")


def check_nodes(cfg: DictConfig) -> None:
    """Refuse keys that nobody reads, missing ones, and values or objects of a wrong type or out of range.

    A whole number where a float is wanted becomes one in ``cfg``: torch's optimizers ask for it.

    Raises:
        UserError: naming the key, its value and what would be right.
    """
    _check(cfg, "")


def _check(node: DictConfig, path: str) -> None:
    hints, required, open_ended = _expected(node, path)
    values = {}
    for key in map(str, node):
        inner = _join(path, key)
        if key not in hints and key != "_target_" and not open_ended:
            takes = ", ".join(hints) or "none"
            raise UserError(f"{inner}: no such key.{suggestion(key, hints)} {path or 'The top level'} takes {takes}.")
        if OmegaConf.is_missing(node, key):
            raise UserError(f"{inner} must be given: {inner}=...")
        if node[key] is None and OmegaConf.is_interpolation(node, key):
            required -= {key}  # known once the data are
        elif key in hints and not (inner in OBJECTS and not node[key]):
            empty = node[key] == {} and get_origin(hints[key]) is not Mapping  # the choice of nothing
            values[key] = None if empty else _stand_in(node[key], inner)
    for key, valid in _validate(values, hints, required, node, path).items():
        if not isinstance(node[key], DictConfig) and repr(valid) != repr(values[key]):
            node[key] = valid
    for key in map(str, node):
        if isinstance(node[key], DictConfig):
            _check(node[key], _join(path, key))


def _expected(node: DictConfig, path: str) -> tuple[dict[str, Any], set[str], bool]:
    """Return the types of a node's keys, which of them are required, and whether any other key is taken."""
    if node._metadata.object_type not in (None, dict):
        hints = get_type_hints(node._metadata.object_type, include_extras=True)
        hints = {k: Any if is_dataclass(hint) else hint for k, hint in hints.items()}  # a node of its own
        return {k: _object_type(_join(path, k), hint) for k, hint in hints.items()}, set(), False
    if "_target_" not in node:
        chosen = [str(key) for key in node if isinstance(node[key], DictConfig) and "_target_" in node[key]]
        for key in node:
            if key not in chosen:
                raise UserError(
                    f"{path}.{key}={node[key]}: '{key}' was not chosen, so it has no settings."
                    f"{suggestion(key, chosen)} {path} holds {', '.join(chosen) or 'nothing'}."
                )
        return {key: _object_type(_join(path, key), Any) for key in chosen}, set(), False
    target = _import(path, node._target_)
    if path in FUNCTIONS and not (inspect.isfunction(target) and f"{target.__module__}.".startswith(FUNCTIONS[path])):
        raise UserError(f"{path}._target_={node._target_}: must be a function of {FUNCTIONS[path].rstrip('.')}")
    parameters, hints = signature(target)
    named = {name: p for name, p in parameters.items() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)}
    open_ended = any(p.kind is p.VAR_KEYWORD for p in parameters.values())
    hints = {name: hints.get(name, Any) for name in named if name not in GIVEN}
    if target.__module__.startswith("torch.optim."):
        hints |= {name: hint for name, hint in TORCH_ARGUMENTS.items() if name in hints}
    required = {name for name in hints if named[name].default is inspect.Parameter.empty}
    required = {name for name in required if get_origin(hints[name]) is not Mapping}  # a list of choices may be empty
    return hints | OWN_KEYS.get(path, {}), required, open_ended


def _object_type(path: str, otherwise: Any) -> Any:
    """Return the type of the object that a group describes."""
    from hydra.utils import get_class

    if path.startswith("regularizer."):
        return get_class("sparring.regularizers.base.Regularizer")
    if path not in OBJECTS:
        return otherwise
    return Union[tuple(map(get_class, OBJECTS[path]))] if OBJECTS[path] else Callable  # noqa: UP007


def _import(path: str, name: Any) -> Any:
    from hydra.utils import get_object

    try:
        target = get_object(name)
        if not callable(target):
            raise ImportError(f"it is no class or function, but a {type(target).__name__}")
        return target
    except Exception as error:
        raise UserError(f"{path}._target_={name}: can't be imported ({error})") from error


def _stand_in(value: Any, path: str) -> Any:
    """Return plain values, with an empty instance of its class for each object."""
    if isinstance(value, ListConfig):
        return [_stand_in(child, f"{path}.{i}") for i, child in enumerate(value)]
    if not isinstance(value, DictConfig):
        return value
    if "_target_" not in value:
        return {str(key): _stand_in(child, f"{path}.{key}") for key, child in value.items()}
    target = _import(path, value._target_)
    try:
        return object.__new__(target) if inspect.isclass(target) else target
    except TypeError as error:
        raise UserError(f"{path}._target_={value._target_}: can't be built ({error})") from error


def _validate(values: dict, hints: dict, required: Collection[str], node: DictConfig, path: str) -> dict[str, Any]:
    """Return a node's values in their types. Raises UserError for the first key with a wrong one."""
    from pydantic import ConfigDict, TypeAdapter, ValidationError
    from typing_extensions import TypedDict

    types = {key: _lists_for_tuples(hint) for key, hint in hints.items()}
    types = {key: Required[hint] if key in required else hint for key, hint in types.items()}
    arguments: Any = TypedDict("arguments", types, total=False)  # pyright: ignore[reportArgumentType]
    arguments.__pydantic_config__ = ConfigDict(arbitrary_types_allowed=True, strict=True, allow_inf_nan=False)
    try:
        return TypeAdapter(arguments).validate_python(values)
    except ValidationError as error:
        _explain(error.errors(), node, path)


def _lists_for_tuples(hint: Any) -> Any:
    """Let a list, which YAML has, be a tuple where pydantic is strict otherwise."""
    from pydantic import Strict

    if get_origin(hint) is tuple:
        return Annotated[hint, Strict(False)]
    if get_origin(hint) in (Union, UnionType):
        return Union[tuple(map(_lists_for_tuples, get_args(hint)))]  # noqa: UP007
    return hint


def _explain(errors: list[Any], node: DictConfig, path: str) -> NoReturn:
    """Raise UserError for the errors of the key that comes first: its alternatives, if it has several types."""
    key, value = errors[0]["loc"][0], node
    if errors[0]["type"] == "missing" and key not in node:
        raise UserError(f"{path}.{key} must be given: {path}.{key}=...")
    for part in errors[0]["loc"]:  # which goes on into lists, or with names of types
        if not isinstance(value, DictConfig) or part not in value:
            break
        value, path = value[part], _join(path, part)
    same_key = [error for error in errors if error["loc"][0] == key]
    rules = [WORDS[e["type"]].format(**e.get("ctx", {})) if e["type"] in WORDS else e["msg"] for e in same_key]
    right = "; or ".join(dict.fromkeys(rules)).replace("; or must be", ", or")
    if isinstance(value, DictConfig) and "_target_" in value:
        raise UserError(f"{path}._target_={value._target_}: {right}")
    raise UserError(f"{path}={value}: {right}")


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key
