"""What tests watch a run with: a logger and a callback, and W&B's own reader of what it stored."""

import json
import subprocess
import sys
from pathlib import Path

import pytorch_lightning as pl
from pytorch_lightning.loggers import Logger


class Rows(Logger):
    """Keeps what is logged."""

    name, version = "rows", None

    def __init__(self):
        super().__init__()
        self.rows = []

    def log_metrics(self, metrics, step=None):
        self.rows.append({"step": step, **metrics})

    def log_hyperparams(self, *_):
        pass


class Watch(pl.Callback):
    """Calls ``look(module)`` after every iteration."""

    def __init__(self, look):
        self.look = look

    def on_train_batch_end(self, trainer, module, *_):
        self.look(module)


def read_wandb(folder: Path) -> list[dict]:
    """The records of an offline run, as ``wandb leet`` reads them."""
    (record,) = folder.glob("wandb/offline-run-*")
    done = subprocess.run(
        [str(Path(sys.executable).with_name("wandb")), "leet", "inspect", "--json", str(record)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]
