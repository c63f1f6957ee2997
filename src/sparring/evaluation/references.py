"""Choose the reals that samples are compared with."""

from dataclasses import dataclass

from omegaconf import DictConfig

from sparring.config.errors import UserError
from sparring.data.dataset import Data
from sparring.data.splits import held_out_columns, training_columns
from sparring.evaluation.image_sets import Decoded, ImageSet


@dataclass(frozen=True)
class References:
    """What samples are compared with."""

    images: ImageSet  # the reals
    split: str | None = None  # name of the split that they are; None if it is unknown
    data: Data | None = None  # decoded data that an extractor may learn from
    training: Decoded | None = None  # what the generator was trained on, if the reals are others: scored as a baseline


def choose_references(cfg: DictConfig, data: Data, translates: bool) -> References:
    """Return the held-out examples for samples from latents, if the run held out any; else all data."""
    if not translates:
        held_out = held_out_columns(cfg, data, translates)
        if len(held_out["images"]):
            training = Decoded(data, training_columns(cfg, data, translates), "training")
            return References(Decoded(data, held_out, "held out"), "held out", data, training)
    return References(Decoded(data), cfg.data.get("split", "all"), data)


def settle_held_out(cfg: DictConfig, run_cfg: DictConfig, data: Data, translates: bool) -> None:
    """Set ``data.held_out`` of a command that scores a stored run: of other data, all examples are held out.

    Raises:
        UserError: more examples of the run's own data are asked for than it held out.
    """
    if any(cfg.data.get(key) != run_cfg.data.get(key) for key in ("_target_", "path", "split", "of")):
        if cfg.data.held_out == run_cfg.data.held_out:
            cfg.data.held_out = "all" if translates else 0
        return
    held_out = [held_out_columns(each, data, translates) for each in (cfg, run_cfg)]
    asked, available = (len(next(iter(columns.values()))) for columns in held_out)
    if asked > available:
        raise UserError(
            f"data.held_out={cfg.data.held_out}: the run was trained on all but {available:,} of these examples; "
            "hold out at most as many, or choose other data (data.path, data.split)"
        )
