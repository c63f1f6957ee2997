"""Build the object that a `_target_` node describes.

Nothing here imports torch: ``python run.py --cfg job`` answers at once.
"""

import inspect
from dataclasses import fields
from typing import Any, get_type_hints

from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf

import sparring.config.resolvers  # noqa: F401
from sparring.config.errors import UserError
from sparring.config.schema import OWN_KEYS


def build(node: DictConfig, path: str, partial: bool = False, **given: Any) -> Any:
    """What a ``_target_`` node describes, nested ones included; the project's own keys beside it are left out.

    Args:
        node: the node, which stands at ``path`` of the configuration.
        partial: return a function that takes further arguments, for those that no configuration can hold.
        given: further arguments that are themselves configurations.

    Raises:
        UserError: the constructor refuses its arguments.
    """
    from hydra.utils import get_object, instantiate

    own = {f.name for f in fields(OWN_KEYS[path])} if path in OWN_KEYS else set()
    own -= signature(get_object(node._target_))[0].keys()  # of some choices they are arguments, too
    kept = {key: value for key, value in OmegaConf.to_container(node, resolve=True).items() if key not in own}
    given = {
        key: OmegaConf.to_container(value, resolve=True) if OmegaConf.is_config(value) else value
        for key, value in given.items()
    }
    try:
        return instantiate(kept, **given, _partial_=partial, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from error
        if isinstance(error.__cause__, ValueError):
            inner = str(error).rpartition("full_key: ")[2].strip() if "full_key: " in str(error) else ""
            raise UserError(f"{path}.{inner}".rstrip(".") + f": {error.__cause__}") from error
        raise


def signature(target: Any) -> tuple[dict[str, inspect.Parameter], dict[str, Any]]:
    """Parameters and their types; with those of the base class where a constructor hands ``**options`` on to it."""
    parameters = dict(inspect.signature(target).parameters)
    hints = get_type_hints(target.__init__ if inspect.isclass(target) else target, include_extras=True)
    handed_on = parameters.get("options")
    if inspect.isclass(target) and handed_on is not None and handed_on.kind is handed_on.VAR_KEYWORD:
        del parameters["options"]
        base_parameters, base_hints = signature(next(c for c in target.__mro__[1:] if "__init__" in vars(c)))
        parameters, hints = base_parameters | parameters, base_hints | hints
    return parameters, hints
