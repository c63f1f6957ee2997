"""The progress bar."""

import sys
import threading

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ProgressBar
from tqdm import tqdm

from sparring.training.adversarial_module import AdversarialModule

tqdm.set_lock(threading.RLock())  # tqdm's own is shared between processes; a killed rank would leave it behind


class Progress(ProgressBar):
    """Shows kimg of the total, images per second, time left and losses; in a file, a line at every tenth."""

    def __init__(self):
        super().__init__()
        self._bar: tqdm | None = None

    def on_train_start(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        total = module.clock.kimg_at(trainer.max_steps)
        terminal = sys.stderr.isatty()
        self._bar = tqdm(
            total=total,
            initial=module.kimg,
            desc="kimg",
            dynamic_ncols=True,
            bar_format="{desc} {n:.1f}/{total:.1f} {bar} {percentage:.0f}% [{elapsed}<{remaining}{postfix}]"
            if terminal
            else "{desc} {n:.1f}/{total:.1f} [{elapsed}<{remaining}{postfix}]\n",
            mininterval=0.2 if terminal else 0,
            maxinterval=float("inf"),  # otherwise tqdm's monitor forgets miniters in a long evaluation
            miniters=0 if terminal else total / 10,
        )

    def on_train_batch_end(self, trainer: pl.Trainer, module: AdversarialModule, *_) -> None:
        if self._bar is not None:
            if module.iteration % module.log_every == 0:
                self._bar.set_postfix_str(_summary(module), refresh=False)
            self._bar.update(module.kimg - self._bar.n)

    def on_train_end(self, trainer: pl.Trainer, module: AdversarialModule) -> None:
        self._close()

    def on_exception(self, trainer: pl.Trainer, module: AdversarialModule, exception: BaseException) -> None:
        self._close()

    def _close(self) -> None:
        if self._bar is not None:
            self._bar.leave = sys.stderr.isatty()  # a file has the last line already
            self._bar.close()
            self._bar = None


def _summary(module: AdversarialModule) -> str:
    """Return speed, losses and D's belief of the last row of the log."""
    row = module.latest
    parts = [f"{row['images_per_second']:,.0f} images/s"]
    parts += [
        f"{player} {row[f'{player}/adversarial']:.2f}" for player in module.turns if f"{player}/adversarial" in row
    ]
    parts += [f"{name} {row[name]:.2f}" for name in ("D(x)", "D(G(z))") if name in row]
    return "  ".join(parts)
