"""Keep secrets of the environment out of files and messages, and control characters out of the terminal."""

import os
import re
from collections.abc import Iterable

from sparring.config.errors import UserError

SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|PGPASS|CREDENTIAL", re.IGNORECASE)  # in a name
PATH_OF_SECRET = re.compile(r"(FILE|PATH|DIR|SOCK)$", re.IGNORECASE)
SHORTEST = 8  # characters; a shorter value is a word that occurs anywhere
LOGIN = re.compile(r"(://)[^/\s@]+@")  # of an address
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")  # not tabs and line ends


def environment_secrets() -> dict[str, str]:
    """Return the variables whose names say that they are secret, longest values first."""
    secrets = {name: v for name, v in os.environ.items() if SECRET.search(name) and not PATH_OF_SECRET.search(name)}
    secrets = {name: value for name, value in secrets.items() if len(value.strip()) >= SHORTEST}
    return dict(sorted(secrets.items(), key=lambda item: -len(item[1])))


def refuse_secrets(texts: Iterable[tuple[str, str]]) -> None:
    """Raise UserError if one of the texts, each given with its key, holds a secret of the environment."""
    secrets = environment_secrets()
    for key, text in texts:
        for name, value in secrets.items():
            if value in text:
                raise UserError(
                    f"{key}: holds the value of {name}, a secret of this environment. An experiment's values are "
                    "stored and logged: leave it out; what needs it reads the environment"
                )


def redact(text: str) -> str:
    """Return a text with the environment's secrets replaced by their names, and without logins in addresses."""
    for name, value in environment_secrets().items():
        text = text.replace(value, f"<{name}>")
    return LOGIN.sub(r"\1", text)


def escape_control_characters(text: str) -> str:
    """Return a text with the characters that a terminal would obey written as escapes."""
    return CONTROL.sub(lambda match: match[0].encode("unicode_escape").decode(), text)
