"""A run's folder: what it holds, how it is begun, and how it is found again."""

import json
import logging
import platform
import subprocess
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from omegaconf import DictConfig, OmegaConf

from sparring.callbacks.checkpoints import numbered
from sparring.errors import UserError
from sparring.files import replacing, update_json_list, write_json

State = Literal["running", "done", "stopped", "failed"]
log = logging.getLogger(__name__)
PACKAGES = [
    "torch",
    "torchvision",
    "pytorch-lightning",
    "torchmetrics",
    "torch-fidelity",
    "hydra-core",
    "wandb",
    "numpy",
]


@dataclass(frozen=True)
class Run:
    """A stored run: ``config.yaml overrides.yaml versions.json status.json metrics.csv scores.json samples/ checkpoints/ wandb/``."""

    folder: Path

    @property
    def config(self) -> DictConfig:
        return OmegaConf.load(self.folder / "config.yaml")

    def checkpoint(self, name: str | None = None) -> Path:
        """A checkpoint by its name, or the newest.

        Raises:
            UserError: there is none (of that name), and which there are.
        """
        folder = self.folder / "checkpoints"
        if name is not None:
            path = folder / (name if name.endswith(".ckpt") else f"{name}.ckpt")
            if not path.is_file():
                names = ", ".join(sorted(p.stem for p in folder.glob("*.ckpt"))) or "none"
                raise UserError(f"checkpoint={name}: not in {folder}, which holds {names}")
            return path
        for path in [folder / "last.ckpt", *reversed(numbered(folder))]:
            if path.is_file():
                return path
        raise UserError(f"{folder} holds no checkpoint: the run ended before its first one (checkpoint.every_kimg)")


def find(folder: str, key: str) -> Run:
    """The run in a folder that was named under ``key``."""
    path = Path(folder).expanduser()
    if not (path / "config.yaml").is_file():
        raise UserError(f"{key}={folder}: no run is stored there (it has no config.yaml)")
    return Run(path)


def begin(folder: Path, cfg: DictConfig, overrides: list[str]) -> Run:
    """Write down what will be run: the resolved configuration, what was typed, and on which versions."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in (
        ("config.yaml", OmegaConf.to_yaml(cfg, resolve=True)),
        ("overrides.yaml", json.dumps(overrides)),
    ):
        with replacing(folder / name) as temporary:
            temporary.write_text(content + "\n")
    write_json(folder / "versions.json", versions())
    mark(folder, "running", seconds=0.0)
    return Run(folder)


def mark(folder: Path, state: State, **facts) -> None:
    """Write down in ``status.json`` how far a run has come; what it said before stays unless it is said anew.

    Args:
        folder: the run's.
        state: ``running`` is also what a killed run was; ``stopped`` one that was asked to stop, with a checkpoint.
        facts: ``seconds`` on the clock in all sessions, ``iteration``, ``kimg``, ``images_per_second`` of training alone,
            ``device``, ``ranks``, and what a failed one failed of, ``error``.
    """
    write_json(folder / "status.json", status(folder) | {"error": None} | facts | {"state": state})


def status(folder: Path) -> dict:
    """What ``mark`` wrote; nothing of a run that is older than that."""
    path = folder / "status.json"
    try:
        return dict(json.loads(path.read_text())) if path.is_file() else {}
    except (ValueError, TypeError):
        return {"error": f"{path} is damaged"}


def go_on(folder: Path, iteration: int) -> Run:
    """Prepare a run's records for going on at ``iteration``: what was scored after it is forgotten."""
    then, now = json.loads((folder / "versions.json").read_text()), versions()
    if changed := [name for name in PACKAGES if then["packages"].get(name) != now["packages"].get(name)]:
        log.warning(
            "other versions than at the start of this run: %s. The result may differ from an unbroken one.", changed
        )
    if (folder / "scores.json").exists():
        update_json_list(folder / "scores.json", lambda old: [e for e in old if e["iteration"] <= iteration])
    mark(folder, "running")
    return Run(folder)


def versions() -> dict:
    """Packages, code and machine."""

    def of(package: str) -> str | None:
        try:
            return version(package)
        except PackageNotFoundError:
            return None

    def git(*command: str) -> str | None:
        try:
            done = subprocess.run(
                ["git", *command], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10
            )
        except (OSError, subprocess.TimeoutExpired):
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    return {
        "python": platform.python_version(),
        "packages": {name: of(name) for name in PACKAGES},
        "commit": git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(git("status", "--porcelain")),
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
    }
