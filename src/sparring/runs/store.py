"""A run's folder: what it holds, how it is started, resumed and found again."""

import json
import logging
import platform
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from omegaconf import DictConfig, OmegaConf

from sparring.config import redaction
from sparring.config.errors import UserError
from sparring.config.schema import structured
from sparring.runs import console, schemas, untrusted
from sparring.storage import tensor_files
from sparring.storage.files import atomic_write, optional_write, read_rows, remove_partial, write_json

State = Literal["running", "done", "stopped", "failed"]
log = logging.getLogger(__name__)
PACKAGES = (
    "torch",
    "torchvision",
    "pytorch-lightning",
    "torchmetrics",
    "torch-fidelity",
    "hydra-core",
    "wandb",
    "numpy",
)


@dataclass(frozen=True)
class Run:
    """A stored run: config, overrides, versions, status, metrics and scores in files, samples/, checkpoints/, wandb/.

    Attributes:
        folder: the run's.
        trusted: packages, modules or classes that it may name besides this project's.
        cache: the cache folder of this command.
    """

    folder: Path
    trusted: tuple[str, ...] = ()
    cache: str | None = None

    @property
    def config(self) -> DictConfig:
        """The resolved experiment. Raises UserError as ``untrusted.config_of`` does."""
        stored = untrusted.config_of(self.folder, self.trusted, self.cache)
        return structured(stored, {"run": str(self.folder)})

    def checkpoint(self, name: str | None = None) -> Path:
        """Return the path of a checkpoint by its name, or of the newest.

        Raises:
            UserError: it is missing; the message lists the others.
        """
        folder = self.folder / "checkpoints"
        if name is not None:
            path = folder / (name if name.endswith(".ckpt") else f"{name}.ckpt")
            if path.parent != folder or not path.is_file():
                names = ", ".join(sorted(p.stem for p in folder.glob("*.ckpt"))) or "none"
                raise UserError(f"checkpoint={name}: not in {folder}, which holds {names}")
            return path
        for path in [folder / "last.ckpt", *reversed(numbered_checkpoints(folder))]:
            if path.is_file():
                return path
        raise UserError(f"{folder} holds no checkpoint: the run ended before its first one (checkpoint.every_kimg)")

    @property
    def id(self) -> str | None:
        """The id that its checkpoints hold, too; None for older runs."""
        try:
            return schemas.read(self.folder, "versions.json").get("run")
        except FileNotFoundError:
            return None

    @property
    def is_done(self) -> bool:
        """Whether training and the last evaluation are done."""
        return read_status(self.folder).get("state") == "done"

    def newest(self, fallback: bool = False) -> tuple[Path, int] | None:
        """Return the newest checkpoint and its iteration; None if the run ended before its first one.

        Args:
            fallback: if it is damaged, return the newest intact one, and rename damaged ones to ``NAME.damaged``.

        Raises:
            UserError: it is damaged or belongs to another run; the message lists the others. Or none is intact.
        """
        folder = self.folder / "checkpoints"
        paths = [folder / "last.ckpt", *reversed(numbered_checkpoints(folder)), *folder.glob("best_by_*.ckpt")]
        paths, damaged, own_id = [path for path in paths if path.is_file()], {}, self.id
        for path in paths:
            try:
                content = tensor_files.read_checkpoint(path)
                if content.get("run", own_id) != own_id:
                    raise UserError(f"{path}: is of another run")
            except UserError as error:
                damaged[path] = error
                if fallback:
                    continue
                others = [p.name for p in paths if not p.samefile(path)]  # the newest has two names
                older = f"resume_fallback=true resumes from the newest intact one of {', '.join(others)}"
                advice = older if others else "There is no other."
                raise UserError(f"resume={self.folder}: {error}.\n{advice}") from error
            for bad, error in damaged.items():
                log.warning("%s. It is set aside", error)
                bad.rename(bad.with_name(f"{bad.name}.damaged"))
            return path, content["global_step"]
        if paths:
            raise UserError(f"resume={self.folder}: none of its {len(paths)} checkpoints is intact")
        if name := read_status(self.folder).get("checkpoint"):
            raise UserError(f"resume={self.folder}: its checkpoints are gone; the last one was {folder / name}")
        return None


def numbered_checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints that were written every N kimg, oldest first."""
    return sorted(folder.glob("kimg-*.ckpt"))


def holds_checkpoints(folder: Path) -> bool:
    """Return whether a run's folder holds checkpoints, intact or not."""
    return any((folder / "checkpoints").glob("*.ckpt*"))


def find_run(folder: str, key: str, cfg: DictConfig | None = None) -> Run:
    """Return the run in a folder.

    Args:
        folder: as it was typed.
        key: under which it was typed, for messages.
        cfg: this command's configuration, whose ``trust`` and ``cache`` apply.

    Raises:
        UserError: no run is stored there, or the folder holds what a run does not.
    """
    path = untrusted.folder_of(folder, key)
    return Run(path) if cfg is None else Run(path, tuple(cfg.trust), cfg.cache)


def begin_run(folder: Path, cfg: DictConfig, overrides: list[str]) -> Run:
    """Write a new run's ``versions.json``, ``status.json``, ``overrides.yaml`` and resolved ``config.yaml``.

    Raises:
        UserError: the folder holds a run.
    """
    if holds_checkpoints(folder) or (folder / "metrics.csv").exists():
        raise UserError(
            f"{folder}: holds a run already; {console.quoted_override('resume', folder)}, or another hydra.run.dir=DIR"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "versions.json", {"run": secrets.token_hex(8), **versions()})
    write_status(folder, "running", seconds=0.0)
    for name, content in (
        ("overrides.yaml", json.dumps(overrides)),
        ("config.yaml", OmegaConf.to_yaml(cfg, resolve=True)),  # the last one: it makes the folder a run
    ):
        with atomic_write(folder / name) as temporary:
            temporary.write_text(redaction.redact(content) + "\n")
    return Run(folder)


@contextmanager
def record_failure(folder: Path) -> Iterator[None]:
    """Record a stopped or failed run in ``status.json``."""
    try:
        yield
    except (SystemExit, KeyboardInterrupt):
        write_status(folder, "stopped")
        raise
    except BaseException as error:
        text = str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        write_status(folder, "failed", error=text)
        raise


def write_status(folder: Path, state: State, **facts) -> None:
    """Update ``status.json``; facts that are not given stay. A damaged file is not overwritten.

    Args:
        folder: the run's.
        state: ``running``, which a killed run keeps; ``stopped`` on request, with a checkpoint; ``done`` or ``failed``.
        facts: ``seconds`` of all sessions, ``iteration``, ``kimg``, ``images_per_second`` of training alone,
            ``device``, ``ranks``, the newest ``checkpoint``, and the ``error`` of a failed run.
    """
    path, known = folder / "status.json", read_status(folder)
    if "damaged" not in known:
        with optional_write(path):
            write_json(path, known | {"error": None} | facts | {"state": state})


def read_status(folder: Path) -> dict:
    """Return what ``write_status`` wrote; empty without a file; ``error`` and ``damaged`` for a damaged one."""
    try:
        return schemas.read(folder, "status.json")
    except FileNotFoundError:
        return {}
    except UserError as error:
        return {"error": str(error), "damaged": True}


def read_scores(folder: Path, remedy: str = "") -> list[dict]:
    """Return the entries of ``scores.json``, those of training first; none if there is no such file.

    Raises:
        UserError: it is damaged; ``remedy`` says what to do.
    """
    try:
        return schemas.read(folder, "scores.json", remedy)
    except FileNotFoundError:
        return []


def prepare_resume(folder: Path, iteration: int) -> Run:
    """Prepare a run's records for training from ``iteration``: scores of later iterations are dropped.

    Raises:
        UserError: a record is damaged; then none is changed. A missing one is no error.
    """
    remedy = "Mend it, or move it away: the run goes on without it."
    records: dict[str, dict] = {}
    for name in ("versions.json", "status.json"):
        with suppress(FileNotFoundError):
            records[name] = schemas.read(folder, name, remedy)
    with suppress(FileNotFoundError):
        read_rows(folder / "metrics.csv", remedy)
    scores = read_scores(folder, remedy)

    before, now = records.get("versions.json", {}).get("packages", {}), versions()["packages"]
    if changed := [name for name in PACKAGES if before.get(name) != now.get(name)]:
        log.warning(
            "other versions than at the start of this run: %s. The result may differ from an unbroken one.", changed
        )
    remove_partial(folder)
    if scores:
        write_json(folder / "scores.json", [entry for entry in scores if (entry["iteration"] or 0) <= iteration])
    write_status(folder, "running")
    return Run(folder)


def versions() -> dict:
    """Return the versions of Python, packages and code, and the machine."""
    return {
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "commit": _git("rev-parse", "HEAD"),
        "uncommitted_changes": bool(_git("status", "--porcelain")),
        "system": platform.platform(),
        "processor": platform.processor() or platform.machine(),
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _git(*command: str) -> str | None:
    try:
        done = subprocess.run(["git", *command], cwd=Path(__file__).parent, capture_output=True, text=True, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
