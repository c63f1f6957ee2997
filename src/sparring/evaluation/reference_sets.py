"""Choose the reals that samples are compared with."""

from omegaconf import DictConfig

from sparring.config.errors import UserError
from sparring.data.dataset import Data
from sparring.data.splits import held_out_columns, training_columns
from sparring.evaluation.image_sets import Decoded


def reference_sets(cfg: DictConfig, data: Data, translates: bool) -> tuple[Decoded, Decoded | None, str]:
    """Choose the reals for the samples of a run.

    Args:
        cfg: the run's configuration.
        data: its decoded data.
        translates: whether the generator maps inputs to outputs.

    Returns:
        The reals: the held-out examples if a generator of latents has some, else all data; the training examples, which
        are then scored next to the samples; and the name of the split that the reals are.
    """
    if not translates:
        held_out = held_out_columns(cfg, data, translates)
        if len(held_out["images"]):
            training = Decoded(data, training_columns(cfg, data, translates), "training")
            return Decoded(data, held_out, "held out"), training, "held out"
    return Decoded(data), None, cfg.data.get("split", "all")


def settle_held_out(cfg: DictConfig, run_cfg: DictConfig, data: Data, translates: bool) -> None:
    """Set ``data.held_out`` for scoring a stored run: all examples of other data than its own were never trained on.

    Args:
        cfg: this command's configuration, which is changed.
        run_cfg: the stored run's configuration.
        data: the data to score with.
        translates: whether the generator maps inputs to outputs.

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
