"""The entries of a run's ``scores.json``."""

from pathlib import Path

from torch import Tensor

from sparring.data.image_grids import save_image
from sparring.evaluation import protocol
from sparring.runs import store
from sparring.storage.files import write_json


def scores_entry(result: dict, iteration: int | None, kimg: float | None, **facts) -> dict:
    """An entry of ``scores.json``: what an evaluator returned, when, and what only the caller knows."""
    described = {**facts, **result["protocol"]}
    described["differs_from_record"] = protocol.deviations(described)
    return {"iteration": iteration, "kimg": kimg, **result, "protocol": described}


def record_scores(folder: Path, entry: dict, pictures: dict[str, Tensor]) -> None:
    """Write an entry and its pictures to a folder."""
    append_scores(folder, [entry])
    save_pictures(folder, entry, pictures)


def append_scores(folder: Path, entries: list[dict]) -> None:
    write_json(folder / "scores.json", [*store.read_scores(folder, "Mend it, or move it away."), *entries])


def save_pictures(folder: Path, entry: dict, pictures: dict[str, Tensor]) -> None:
    for name, picture in pictures.items():
        when = "" if entry["kimg"] is None else f"-kimg-{entry['kimg']:011.3f}"
        save_image(picture, folder / "samples" / f"{name}{when}.png")
