"""The JSON files of a run, and the types of what is read from them; a run may come from anybody."""

from pathlib import Path
from typing import Any, NotRequired

from pydantic import TypeAdapter, ValidationError
from typing_extensions import TypedDict

from sparring.config.errors import UserError
from sparring.storage.files import read_json


class Versions(TypedDict, total=False):
    """The run's id, and the versions of packages at its start."""

    run: str | None
    packages: dict[str, str | None]


class Status(TypedDict, total=False):
    """How far a run has come; see ``store.write_status``."""

    state: str
    seconds: float
    iteration: int
    kimg: float
    images_per_second: float
    device: str
    ranks: int
    checkpoint: str
    error: str | None


class ImageProtocol(TypedDict):
    """What the scores of images were computed from."""

    extractor: str
    samples: int
    reals: int
    reals_available: int
    real_images: str
    fakes: str
    metrics: dict[str, dict[str, Any]]


class StudyProtocol(TypedDict, total=False):
    """What a study of something else was computed from: it names no extractor."""

    extractor: None


class Entry(TypedDict):
    """One evaluation."""

    iteration: int | None
    kimg: float | None
    scores: dict[str, float]
    protocol: ImageProtocol | StudyProtocol
    lower_is_better: NotRequired[list[str]]
    baselines: NotRequired[dict[str, dict[str, float]]]
    kept_as: NotRequired[str]


TYPES = {"versions.json": Versions, "status.json": Status, "scores.json": list[Entry]}


def read(folder: Path, name: str, remedy: str = "") -> Any:
    """Return the content of a JSON file of a run, with further keys left as they are.

    Args:
        folder: the run's.
        name: a key of ``TYPES``.
        remedy: what to do if it is damaged, for the message.

    Raises:
        FileNotFoundError: there is no such file.
        UserError: it is damaged; where and how.
    """
    content = read_json(path := folder / name, list if name == "scores.json" else dict, remedy)
    try:
        TypeAdapter(TYPES[name]).validate_python(content, strict=True)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        raise UserError(f"{path} is damaged ({key}: {first['msg']}). {remedy}".strip()) from error
    return content
