"""Which examples a run is trained on, and which it is shown and scored by."""

import torch
from omegaconf import DictConfig

from sparring.config.errors import UserError
from sparring.data import dataset
from sparring.data.held_out import choose_subset, hold_out
from sparring.data.imbalance import long_tailed
from sparring.data.modalities.images import Images
from sparring.data.modalities.points import Points
from sparring.evaluation.image_sets import Decoded
from sparring.games.game import Game

HELD_OUT = "held out"


def split_columns(
    cfg: DictConfig, game: Game, data: dataset.Data
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The columns to train on, and those that a game which answers to images is shown and scored by."""
    count = cfg.data.get("held_out")  # which earlier runs lack
    if count is None and not game.translates and isinstance(game.modality, Images | Points):
        count = 0  # publications score them beside what was trained on
    if count == 0 and game.translates:
        raise UserError("data.held_out=0: this model is scored by examples that it was not trained on; name some")
    columns, held_out = hold_out(data.columns, count, data.groups)
    if game.translates and not data.aligned:  # nobody knows what their answers should be
        held_out.pop("images")
    return columns, held_out


def reference_sets(cfg: DictConfig, game: Game, data: dataset.Data) -> tuple[Decoded, Decoded | None]:
    """What samples are compared with: all data, or, where a game that makes from latents is kept from some, those; then also
    the examples that it is trained on, which are scored beside its samples.
    """
    columns, held_out = split_columns(cfg, game, data)
    if game.translates or not len(held_out["images"]):
        return Decoded(data), None
    return Decoded(data, held_out, HELD_OUT), Decoded(data, thin_training_columns(cfg, columns), "training")


def thin_training_columns(cfg: DictConfig, columns: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """What ``data.long_tail`` and ``data.subset`` leave of the columns to train on."""
    if cfg.data.long_tail is not None:
        columns = long_tailed(columns, cfg.data.long_tail)
    return columns if cfg.data.subset is None else choose_subset(columns, cfg.data.subset, cfg.seed)


def settle_held_out(cfg: DictConfig, own: DictConfig, game: Game, data: dataset.Data) -> None:
    """Settle ``data.held_out`` for scoring a stored run: of other data than its own all are compared, or answered to.

    Args:
        cfg: this command's configuration, in which it is set.
        own: the run's.
        game: the run's.
        data: those to score by.

    Raises:
        UserError: of the run's own data more are asked for than were kept from training.
    """
    if any(cfg.data.get(key) != own.data.get(key) for key in ("_target_", "path", "split", "of")):
        if cfg.data.held_out == own.data.get("held_out"):
            cfg.data.held_out = "all" if game.translates else 0  # nothing of them was trained on
        return
    asked, kept = (len(next(iter(split_columns(each, game, data)[1].values()))) for each in (cfg, own))
    if asked > kept:
        raise UserError(
            f"data.held_out={cfg.data.held_out}: the run was trained on all but {kept:,} of these examples, which alone can be "
            "called held out; or name other data (data.path, data.split)"
        )
