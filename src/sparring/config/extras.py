"""Libraries that only some commands need: extras of the package. Nothing here imports torch."""

from importlib import import_module
from types import ModuleType

from sparring.config.errors import UserError


def import_extra(module: str, extra: str, key: str) -> ModuleType:
    """Import a library that an extra of the package installs.

    Call it before any work is lost: when an object that needs the library is built.

    Args:
        module: name of the module, e.g. ``soundfile``.
        extra: name of the extra in pyproject.toml that installs it.
        key: the setting that needs it, e.g. ``data=audio``; the message begins with it.

    Returns:
        The module.

    Raises:
        UserError: the library is not installed; the message holds the command that installs it.
    """
    try:
        return import_module(module)
    except ImportError as error:
        raise UserError(f"{key}: needs {module.partition('.')[0]}: pip install 'sparring[{extra}]'") from error
