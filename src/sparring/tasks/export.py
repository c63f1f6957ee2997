"""task=export: python run.py task=export run=outputs/... export.format=torch_export."""

from pathlib import Path

from omegaconf import DictConfig

from sparring.runs import store
from sparring.sampling.export import export_run, usage


def export(cfg: DictConfig, folder: Path) -> None:
    """Write a run's generator to one file and print how to use it."""
    path, exported = export_run(store.find_run(cfg.run, "run", cfg), cfg.export)
    print(usage(path, exported))
