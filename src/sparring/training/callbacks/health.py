"""The two ways in which adversarial training usually fails, told once each."""

import logging

import pytorch_lightning as pl

from sparring.training.adversarial_module import AdversarialModule

log = logging.getLogger(__name__)


class Health(pl.Callback):
    """Warns when D wins outright, or when the generated images are nearly the same, for several rows of the log on end.

    Args:
        rows: consecutive rows of the log that must show it.
        separation: share of (real, fake) pairs that D ranks rightly, above which it wins outright.
        diversity: standard deviation of the fakes' pixels over a batch, as a share of the reals', under which the images are nearly
            the same.
    """

    def __init__(self, rows: int = 10, separation: float = 0.9999, diversity: float = 0.05):
        self.limits = {
            "D wins outright": lambda row: row.get("separation", 0) > separation,
            "the generated images are nearly the same": lambda row: row.get("diversity", 1) < diversity,
        }
        self.advice = {
            "D wins outright": "G may learn nothing from it. Usual remedies: regularizer=[r1], a lower "
            "optimizer.discriminator.lr, a smaller n_dis, or loss=nonsaturating or hinge.",
            "the generated images are nearly the same": "the generator has collapsed. Usual remedies: "
            "regularizer=[gradient_penalty], another loss, a lower optimizer.generator.lr, a larger data.batch_size.",
        }
        self.rows = rows
        self.streak = dict.fromkeys(self.limits, 0)

    def on_train_batch_end(self, trainer: pl.Trainer, module: AdversarialModule, *_) -> None:
        if module.iteration % module.log_every:
            return
        for complaint, shows in self.limits.items():
            if self.streak[complaint] < self.rows:  # once told, never again
                self.streak[complaint] = self.streak[complaint] + 1 if shows(module.latest) else 0
                if self.streak[complaint] == self.rows:
                    log.warning("at %.1f kimg: %s. %s", module.kimg, complaint, self.advice[complaint])
