"""The entries of a run's ``scores.json``."""

from pathlib import Path

from torch import Tensor

from sparring.data.image_grids import save_image
from sparring.evaluation import protocol
from sparring.runs import store
from sparring.storage.files import write_json


def scores_entry(result: dict, iteration: int | None, kimg: float | None, **facts) -> dict:
    """Return an entry: an evaluator's result, when it was scored, and ``facts`` for its protocol."""
    described = {**facts, **result["protocol"]}
    described["differs_from_record"] = protocol.deviations(described)
    return {"iteration": iteration, "kimg": kimg, **result, "protocol": described}


def append_scores(folder: Path, entries: list[dict]) -> None:
    """Append entries to ``scores.json``."""
    write_json(folder / "scores.json", [*store.read_scores(folder, "Mend it, or move it away."), *entries])


def save_pictures(folder: Path, entry: dict, pictures: dict[str, Tensor]) -> None:
    """Save an entry's pictures (3, H, W) as ``samples/NAME-kimg-....png``."""
    when = "" if entry["kimg"] is None else f"-kimg-{entry['kimg']:011.3f}"
    for name, picture in pictures.items():
        save_image(picture, folder / "samples" / f"{name}{when}.png")
