"""task=benchmark: python run.py task=benchmark benchmark=training."""

import signal
import sys
from pathlib import Path

from omegaconf import DictConfig

from sparring.config.instantiate import build
from sparring.training.build import silence_lightning


def benchmark(cfg: DictConfig, folder: Path) -> None:
    """Measure speed on this machine."""
    silence_lightning()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that temporary folders are removed
    build(cfg.benchmark, "benchmark", partial=True)(cfg, folder)
