"""Warnings of the two ways in which adversarial training usually fails."""

import logging

import pytorch_lightning as pl

from sparring.training.adversarial_module import AdversarialModule

log = logging.getLogger(__name__)

D_WINS = (
    "D wins outright. G may learn nothing from it. Usual remedies: regularizer=[r1], "
    "a lower optimizer.discriminator.lr, a smaller n_dis, or loss=nonsaturating or hinge."
)
COLLAPSE = (
    "the generated images are nearly the same. The generator has collapsed. Usual remedies: "
    "regularizer=[gradient_penalty], another loss, a lower optimizer.generator.lr, a larger data.batch_size."
)


class Health(pl.Callback):
    """Warns once when D wins outright, and once when the generated images are nearly the same.

    Args:
        rows: consecutive rows of the log that must show it.
        separation: share of (real, fake) pairs that D ranks rightly, above which it wins outright.
        diversity: standard deviation of the fakes' pixels over a batch, as a share of the reals', under which the
            images are nearly the same.
    """

    def __init__(self, rows: int = 10, separation: float = 0.9999, diversity: float = 0.05):
        self.rows, self.separation, self.diversity = rows, separation, diversity
        self.streak = {D_WINS: 0, COLLAPSE: 0}  # rows of the log, the latest included, that show it

    def on_train_batch_end(self, trainer: pl.Trainer, module: AdversarialModule, *_) -> None:
        if module.iteration % module.log_every:
            return
        row = module.latest
        is_failing = {
            D_WINS: row.get("separation", 0) > self.separation,
            COLLAPSE: row.get("diversity", 1) < self.diversity,
        }
        for warning, streak in self.streak.items():
            if streak < self.rows:  # else it was given already
                self.streak[warning] = streak + 1 if is_failing[warning] else 0
                if self.streak[warning] == self.rows:
                    log.warning("at %.1f kimg: %s", module.kimg, warning)
