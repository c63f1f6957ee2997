"""What a run's files of JSON say of it. They may be anybody's: each is of the kinds that are read of it, or refused."""

from pathlib import Path
from typing import Any, NotRequired

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from sparring.config.errors import UserError
from sparring.storage.files import read_json


class Versions(TypedDict, total=False):
    run: str | None
    packages: dict[str, str | None]


class Status(TypedDict, total=False):
    """As ``runs.mark`` says."""

    state: str
    seconds: float
    iteration: int
    kimg: float
    images_per_second: float
    device: str
    ranks: int
    checkpoint: str
    error: str | None


class Protocol(TypedDict):
    """Of an evaluation of images."""

    extractor: str
    samples: int
    reals: int
    reals_available: int
    real_images: str
    fakes: str
    metrics: dict[str, dict[str, Any]]


class Entry(TypedDict):
    """One evaluation: of images, or a study of something else, whose protocol names no extractor."""

    iteration: int | None
    kimg: float | None
    scores: dict[str, float]
    protocol: dict[str, Any]
    lower_is_better: NotRequired[list[str]]
    baselines: NotRequired[dict[str, dict[str, float]]]
    kept_as: NotRequired[str]


KINDS = {"versions.json": Versions, "status.json": Status, "scores.json": list[Entry]}


def read(folder: Path, name: str, remedy: str = "") -> Any:
    """What one of these files of a run holds, other keys included.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is damaged, where and how; ``remedy`` says what to do.
    """
    found = read_json(path := folder / name, list if name == "scores.json" else dict, remedy)
    try:
        TypeAdapter(KINDS[name]).validate_python(found, strict=True)
        if name == "scores.json":
            images = {str(i): e["protocol"] for i, e in enumerate(found) if "extractor" in e["protocol"]}
            TypeAdapter(dict[str, Protocol]).validate_python(images, strict=True)
    except ValidationError as error:
        wrong = error.errors()[0]
        where = ".".join(map(str, wrong["loc"]))
        raise UserError(f"{path} is damaged ({where}: {wrong['msg']}). {remedy}".strip()) from error
    return found
