"""What is neither written nor said: keys, tokens and passwords of the environment, and what would drive a terminal."""

import os
import re
from collections.abc import Iterable

from sparring.config.errors import UserError

SECRET = re.compile(r"KEY|TOKEN|SECRET|PASSWORD|PASSWD|PASSPHRASE|PGPASS|CREDENTIAL", re.IGNORECASE)  # in a name
PLACE = re.compile(r"(FILE|PATH|DIR|SOCK)$", re.IGNORECASE)  # of one
SHORTEST = 8  # characters: a shorter value is a word, and would be found everywhere
LOGIN = re.compile(r"(://)[^/\s@]+@")  # of an address
DRIVING = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)  # not tabs and ends of lines


def secrets_of_the_environment() -> dict[str, str]:
    """The values of variables whose names say that they are secret, the longest first."""
    found = {name: v for name, v in os.environ.items() if SECRET.search(name) and not PLACE.search(name)}
    found = {name: value for name, value in found.items() if len(value.strip()) >= SHORTEST}
    return dict(sorted(found.items(), key=lambda item: -len(item[1])))


def refuse_secrets(texts: Iterable[tuple[str, str]]) -> None:
    """Raise UserError if one of the texts, each with its key, holds such a value: it would be written to many places."""
    known = secrets_of_the_environment()
    for key, text in texts:
        for name, value in known.items():
            if value in text:
                raise UserError(
                    f"{key}: holds the value of {name}, a secret of this environment. What an experiment says is stored and "
                    "logged: leave it out; what needs it reads the environment"
                )


def redact(text: str) -> str:
    """A text without such values, and without logins in addresses."""
    for name, value in secrets_of_the_environment().items():
        text = text.replace(value, f"<{name}>")
    return LOGIN.sub(r"\1", text)


def escape_control_characters(text: str) -> str:
    """A text that a terminal shows and does not obey."""
    return DRIVING.sub(lambda found: found[0].encode("unicode_escape").decode(), text)
