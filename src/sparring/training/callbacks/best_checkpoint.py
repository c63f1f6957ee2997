"""Keep the checkpoint that scored best during training, as ``best_by_SCORE.ckpt``."""

from collections.abc import Sequence
from pathlib import Path

from sparring.distributed.collectives import broadcast_object
from sparring.evaluation import protocol
from sparring.training.adversarial_module import AdversarialModule


def keep_best(
    module: AdversarialModule, lower_is_better: Sequence[str], earlier: Sequence[dict], entry: dict, folder: Path
) -> None:
    """Save a checkpoint if no earlier evaluation with the same protocol has a lower leading score.

    Args:
        module: what was scored.
        lower_is_better: scores; the first that ``entry`` has leads.
        earlier: entries of ``scores.json`` so far.
        entry: of this evaluation; ``kept_as`` is set to the file's name.
        folder: of the checkpoints.
    """
    name = next((name for name in lower_is_better if name in entry["scores"]), None)
    if name is None:
        return
    best = all(
        entry["scores"][name] < e["scores"][name]
        for e in earlier
        if 0 < e["iteration"] < entry["iteration"] and not protocol.differences(e["protocol"], entry["protocol"])
    )
    if broadcast_object(best):  # one decision for all ranks
        entry["kept_as"] = f"best_by_{name}.ckpt"
        module.trainer.save_checkpoint(folder / entry["kept_as"])
