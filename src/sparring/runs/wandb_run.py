"""A logger that writes to Weights & Biases."""

import logging
import netrc
import os
import re
import secrets
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import wraps
from html import escape
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import urlparse

from pydantic import Field
from pytorch_lightning.loggers import WandbLogger
from torch import Tensor

from sparring.config.errors import UserError
from sparring.config.redaction import redact
from sparring.storage.files import atomic_write

log = logging.getLogger(__name__)
RUN_ID = Path("wandb", "run_id")
# W&B gets neither names of machine and person nor a git remote, which may hold a token; versions.json has the commit
PRIVATE = {"host": "", "email": "", "username": "", "disable_git": True, "disable_code": True}
TIMEOUTS = {
    "init_timeout": 30,
    "finish_timeout": 120,
    "finish_timeout_raises": True,
}  # seconds; wandb sync uploads the rest
os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # to W&B's makers, even of offline runs


def guarded(method: Callable[..., None]) -> Callable[..., None]:
    """Make a method of ``WandbRun`` log its first exception; from then on all of them do nothing."""

    @wraps(method)
    def call(self: "WandbRun", *arguments: Any, **options: Any) -> None:
        if self._broken:
            return
        try:
            method(self, *arguments, **options)
        except Exception as error:
            self._broken, self._disconnected = True, isinstance(error, ConnectionError)
            logging.getLogger("wandb").setLevel(logging.CRITICAL)  # its own threads report the error again and again
            log.warning(
                "W&B failed (%s); training goes on without it, and metrics.csv stays complete",
                redact(" ".join(f"{type(error).__name__} {error}".split()))[:200],
            )

    return call


class WandbRun(WandbLogger):
    """A W&B run whose id is stored in the run's folder. If W&B fails, training goes on without it.

    Args:
        folder: the run's folder; W&B writes to its ``wandb/``.
        config: the resolved configuration.
        lower_is_better: logged scores whose smallest value goes to the summary.
        name, group, project, entity, tags: as W&B means them.
        mode: ``auto`` is online with a key and offline without one.
    """

    def __init__(
        self,
        folder: Path,
        config: dict,
        lower_is_better: Iterable[str] = (),
        name: str | None = None,
        group: str | None = None,
        project: Annotated[str, Field(pattern=r"^[^/\\#?%:]{1,128}$")] = "sparring",
        entity: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")] | None = None,
        tags: list[str] | None = None,
        mode: Literal["auto", "online", "offline"] = "auto",
    ):
        self.folder, self.lower_is_better = folder, lower_is_better
        self.online = has_key() if mode == "auto" else mode == "online"
        self._resumed, self._broken, self._disconnected = run_id(folder) is not None, False, False
        if not self._resumed:
            with atomic_write(folder / RUN_ID) as temporary:
                temporary.write_text(secrets.token_hex(4))
        super().__init__(
            name=name,
            group=group,
            project=project,
            entity=entity,
            tags=tags,
            id=run_id(folder),
            save_dir=folder,
            config=config,
            mode="online" if self.online else "offline",
        )
        del self._wandb_init["anonymous"]  # even None makes W&B warn of it

    @property
    def experiment(self) -> Any:
        """W&B's run; None once W&B failed, since Lightning would open another."""
        return None if self._broken else super().experiment

    @guarded
    def start(self) -> None:
        """Open the run and log its address, or how to upload it."""
        import wandb

        settings = PRIVATE | {name: value for name, value in TIMEOUTS.items() if name in wandb.Settings.model_fields}
        self._wandb_init["settings"] = wandb.Settings(silent=True, console="off", **settings)
        run = self.experiment
        run.define_metric("kimg")
        run.define_metric("*", step_metric="kimg")
        for score in self.lower_is_better:
            run.define_metric(score, step_metric="kimg", summary="min,last")
        if self.online:
            log.info("W&B: %s", run.url)
            return
        log.info(
            "W&B is offline (no key, or logger.mode=offline). To upload this run later:\n    %s", self.sync_command
        )
        if self._resumed:
            log.info("W&B can't continue an offline run in place: this part is a second record of the same run id")

    @property
    def sync_command(self) -> str:
        """The command that uploads an offline run."""
        return f"wandb sync --append {self.folder / 'wandb'}/offline-run-*"

    @guarded
    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        super().log_metrics(metrics, step)

    @guarded
    def log_image(
        self, key: str, images: list[Any], step: int | None = None, kimg: float | None = None, **_: Any
    ) -> None:
        """Log images (3, H, W), uint8, and their kimg in one record."""
        import wandb

        pictures = [wandb.Image(i.permute(1, 2, 0).numpy() if isinstance(i, Tensor) else i) for i in images]
        self.log_metrics({key: pictures, "kimg": kimg}, step)

    @guarded
    def log_file(self, key: str, path: Path, step: int | None = None, kimg: float | None = None) -> None:
        """Log a sound (.wav), an animation (.gif) or a text (.txt), and its kimg in one record."""
        import wandb

        kinds = {
            ".wav": lambda: wandb.Audio(os.fspath(path)),
            ".gif": lambda: wandb.Video(os.fspath(path), format="gif"),
            ".txt": lambda: wandb.Html(f"<pre>{escape(path.read_text())}</pre>", inject=False),
        }
        self.log_metrics({key: kinds[path.suffix](), "kimg": kimg}, step)

    @guarded
    def log_table(self, key: str, columns: list[str] | None = None, data: list | None = None, **more: Any) -> None:
        super().log_table(key, columns, data, **more)

    @guarded
    def log_checkpoint(self, path: Path) -> None:
        """Upload a checkpoint as an artifact of this run."""
        import wandb

        artifact = wandb.Artifact(f"checkpoint-{self.experiment.id}", type="model")
        artifact.add_file(os.fspath(path))
        self.experiment.log_artifact(artifact, aliases=["latest", path.stem])

    def finish(self, failed: bool = False) -> None:
        """Close the run; otherwise the next job of a sweep would write into it."""
        self._finish(failed)
        if self._disconnected:
            import wandb

            with suppress(Exception):  # otherwise it connects once more at exit, and fails with a traceback
                wandb.teardown(exit_code=1)

    @guarded
    def _finish(self, failed: bool) -> None:
        if self._experiment:
            self._experiment.finish(exit_code=int(failed))


def run_id(folder: Path) -> str | None:
    """Return the W&B run id that is stored in a run's folder, or None.

    Raises:
        UserError: it is not an id that this project writes.
    """
    path = folder / RUN_ID
    if not path.exists():
        return None
    with open(path, "rb") as file:
        content = file.read(100)
    if not re.fullmatch(rb"[0-9a-z]{8}\s*", content):
        raise UserError(f"{path}: not the id of a run, eight letters and digits; remove it to get another one")
    return content.decode().strip()


def has_key() -> bool:
    """Return whether W&B would log in without asking, without using the network."""
    if os.environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun"):
        return False
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    import wandb

    settings = wandb.setup().settings
    if settings.api_key:
        return True
    try:
        return netrc.netrc().authenticators(urlparse(settings.base_url).netloc) is not None
    except (OSError, netrc.NetrcParseError):
        return False
