"""Build the object that a ``_target_`` node describes. Nothing here imports torch."""

import inspect
from typing import Any, get_type_hints

from hydra.errors import InstantiationException
from omegaconf import DictConfig, OmegaConf

from sparring.config.errors import UserError
from sparring.config.schema import OWN_KEYS
from sparring.config.values import plain


def build(node: DictConfig, path: str, partial: bool = False, **given: Any) -> Any:
    """Build what a ``_target_`` node describes, with the objects that nest in it.

    Args:
        node: the node; keys that the project reads itself are left out.
        path: the node's key.
        partial: return a function that takes the arguments that no configuration can hold.
        given: further arguments that are configurations.

    Raises:
        UserError: a constructor refuses its arguments.
    """
    from hydra.utils import get_object, instantiate

    own = OWN_KEYS.get(path, {}).keys() - signature(get_object(node._target_))[0].keys()  # some classes take them
    arguments = {key: value for key, value in plain(node).items() if key not in own}
    for key, value in given.items():
        given[key] = plain(value) if OmegaConf.is_config(value) else value
    try:
        return instantiate(arguments, **given, _partial_=partial, _convert_="all")
    except InstantiationException as error:
        if isinstance(error.__cause__, UserError):
            raise error.__cause__ from error
        if isinstance(error.__cause__, ValueError):
            inner = str(error).rpartition("full_key: ")[2].strip() if "full_key: " in str(error) else ""
            raise UserError(f"{path}.{inner}".rstrip(".") + f": {error.__cause__}") from error
        raise


def signature(target: Any) -> tuple[dict[str, inspect.Parameter], dict[str, Any]]:
    """Return parameters and their types, with those of the base class that a constructor passes ``**options`` on to."""
    parameters = dict(inspect.signature(target).parameters)
    hints = get_type_hints(target.__init__ if inspect.isclass(target) else target, include_extras=True)
    options = parameters.get("options")
    if inspect.isclass(target) and options is not None and options.kind is options.VAR_KEYWORD:
        del parameters["options"]
        base_parameters, base_hints = signature(next(c for c in target.__mro__[1:] if "__init__" in vars(c)))
        parameters, hints = base_parameters | parameters, base_hints | hints
    return parameters, hints
