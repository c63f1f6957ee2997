"""A run's folder: what it holds, how it is begun, and how it is found again."""

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
from sparring.config.schema import Config
from sparring.runs import console, schemas, untrusted
from sparring.storage import tensor_files
from sparring.storage.files import atomic_write, optional_write, read_rows, remove_partial, write_json

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
    """A stored run: ``config.yaml overrides.yaml versions.json status.json metrics.csv scores.json samples/ checkpoints/ wandb/``.

    Attributes:
        folder: where it lies.
        trusted: whose classes it may name besides this project's.
        cache: the cache folder of this command.
    """

    folder: Path
    trusted: tuple[str, ...] = ()
    cache: str | None = None

    @property
    def config(self) -> DictConfig:
        """What was run. Raises UserError if it is damaged, names code of strangers, or holds what could not be typed."""
        found = untrusted.config_of(self.folder, self.trusted, self.cache)
        return OmegaConf.merge(OmegaConf.structured(Config), found, {"run": str(self.folder)})

    def checkpoint(self, name: str | None = None) -> Path:
        """A checkpoint by its name, or the newest.

        Raises:
            UserError: there is none (of that name), and which there are.
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
        """Which its checkpoints bear; None of a run of before there were any."""
        try:
            return schemas.read(self.folder, "versions.json").get("run")
        except FileNotFoundError:
            return None

    @property
    def is_done(self) -> bool:
        """Whether all that it was to do is done, the last evaluation included."""
        return read_status(self.folder).get("state") == "done"

    def newest(self, fallback: bool = False) -> tuple[Path, int] | None:
        """The newest checkpoint and its iteration; None of a run that was cut off before its first one.

        Args:
            fallback: where it is damaged, the newest intact one; damaged ones are set aside as ``NAME.damaged``.

        Raises:
            UserError: it is damaged, or of another run, and what there is besides; or all are.
        """
        folder = self.folder / "checkpoints"
        paths = [folder / "last.ckpt", *reversed(numbered_checkpoints(folder)), *folder.glob("best_by_*.ckpt")]
        paths, damaged, own = [path for path in paths if path.is_file()], {}, self.id
        for path in paths:
            try:
                found = tensor_files.read_checkpoint(path)
                if found.get("run", own) != own:
                    raise UserError(f"{path}: is of another run")
            except UserError as error:
                damaged[path] = error
                if fallback:
                    continue
                others = [p.name for p in paths if not p.samefile(path)]  # the newest has two names
                older = f"resume_fallback=true goes on from the newest intact one of {', '.join(others)}"
                raise UserError(
                    f"resume={self.folder}: {error}.\n{older if others else 'There is no other.'}"
                ) from error
            for bad, error in damaged.items():
                log.warning("%s. It is set aside", error)
                bad.rename(bad.with_name(f"{bad.name}.damaged"))
            return path, found["global_step"]
        if paths:
            raise UserError(f"resume={self.folder}: none of its {len(paths)} checkpoints is intact")
        if known := read_status(self.folder).get("checkpoint"):
            raise UserError(f"resume={self.folder}: its checkpoints are gone; the last one was {folder / known}")
        return None


def holds_checkpoints(folder: Path) -> bool:
    """Whether something was trained there, intact or not."""
    return any((folder / "checkpoints").glob("*.ckpt*"))


def find_run(folder: str, key: str, today: DictConfig | None = None) -> Run:
    """The run in a folder that was named under ``key``, whose configuration may name what ``today``'s trusts."""
    path = untrusted.folder_of(folder, key)
    return Run(path) if today is None else Run(path, tuple(today.trust), today.cache)


def begin_run(folder: Path, cfg: DictConfig, overrides: list[str]) -> Run:
    """Write down what will be run: on which versions, what was typed, and the resolved configuration."""
    if holds_checkpoints(folder) or (folder / "metrics.csv").exists():
        raise UserError(
            f"{folder}: holds a run already; {console.quoted_override('resume', folder)} goes on with it, hydra.run.dir=DIR begins elsewhere"
        )
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / "versions.json", {"run": secrets.token_hex(8), **versions()})
    write_status(folder, "running", seconds=0.0)
    for name, content in (
        ("overrides.yaml", json.dumps(overrides)),
        ("config.yaml", OmegaConf.to_yaml(cfg, resolve=True)),  # at last: what has one is a run
    ):
        with atomic_write(folder / name) as temporary:
            temporary.write_text(redaction.redact(content) + "\n")
    return Run(folder)


@contextmanager
def record_failure(folder: Path) -> Iterator[None]:
    """How it ends is written down of what is done with a run here, unless it ends well."""
    try:
        yield
    except (SystemExit, KeyboardInterrupt):
        write_status(folder, "stopped")
        raise
    except BaseException as error:
        write_status(
            folder, "failed", error=str(error) if isinstance(error, UserError) else f"{type(error).__name__}: {error}"
        )
        raise


def write_status(folder: Path, state: State, **facts) -> None:
    """Write down in ``status.json`` how far a run has come; what it said before stays unless it is said anew.

    Args:
        folder: the run's.
        state: ``running`` is also what a killed run was; ``stopped`` one that was asked to stop, with a checkpoint.
        facts: ``seconds`` on the clock in all sessions, ``iteration``, ``kimg``, ``images_per_second`` of training alone,
            ``device``, ``ranks``, the newest ``checkpoint``, and what a failed one failed of, ``error``.
    """
    path, known = folder / "status.json", read_status(folder)
    if "damaged" not in known:  # it is not written over
        with optional_write(path):
            write_json(path, known | {"error": None} | facts | {"state": state})


def read_status(folder: Path) -> dict:
    """What ``mark`` wrote; nothing of a run that is older than that; of a damaged file that it is, as its ``error``."""
    try:
        return schemas.read(folder, "status.json")
    except FileNotFoundError:
        return {}
    except UserError as error:
        return {"error": str(error), "damaged": True}


def read_scores(folder: Path, remedy: str = "") -> list[dict]:
    """The entries of ``scores.json``, those of training first; none where there is no such file.

    Raises:
        UserError: it is damaged; ``remedy`` says what to do.
    """
    try:
        return schemas.read(folder, "scores.json", remedy)
    except FileNotFoundError:
        return []


def prepare_resume(folder: Path, iteration: int) -> Run:
    """Prepare a run's records for going on at ``iteration``: what was scored after it is forgotten.

    Raises:
        UserError: one of them is damaged, before any is changed. One that is missing is no error.
    """
    remedy = "Mend it, or move it away: the run goes on without it."
    known: dict[str, dict] = {}
    for name in ("versions.json", "status.json"):
        with suppress(FileNotFoundError):
            known[name] = schemas.read(folder, name, remedy)
    with suppress(FileNotFoundError):
        read_rows(folder / "metrics.csv", remedy)
    scored = read_scores(folder, remedy)

    then, now = known.get("versions.json", {}).get("packages", {}), versions()["packages"]
    if changed := [name for name in PACKAGES if then.get(name) != now.get(name)]:
        log.warning(
            "other versions than at the start of this run: %s. The result may differ from an unbroken one.", changed
        )
    remove_partial(folder)
    if scored:
        write_json(folder / "scores.json", [e for e in scored if (e["iteration"] or 0) <= iteration])
    write_status(folder, "running")
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


def numbered_checkpoints(folder: Path) -> list[Path]:
    """The checkpoints every N kimg, oldest first."""
    return sorted(folder.glob("kimg-*.ckpt"))
