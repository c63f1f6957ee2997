"""task=export"""

from pathlib import Path

from omegaconf import DictConfig

from sparring.runs import store
from sparring.sampling import export as exporting


def export(cfg: DictConfig, folder: Path) -> None:
    """A run's generator as one file, for use elsewhere."""
    print(exporting.usage(*exporting.export_run(store.find_run(cfg.run, "run", cfg), cfg.export)))
