"""Where numbers and pictures go: ``metrics.csv`` always, Weights & Biases by default."""

import logging
import os
import re
import secrets
from collections.abc import Iterable
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field
from pytorch_lightning.loggers import WandbLogger
from torch import Tensor

from sparring.config.errors import UserError
from sparring.config.redaction import redact
from sparring.storage.files import atomic_write

log = logging.getLogger(__name__)
RUN_ID = Path("wandb", "run_id")
# W&B is told neither who and where this is, nor the address of a git remote, which may hold a token; versions.json has the commit
OWN = {"host": "", "email": "", "username": "", "disable_git": True, "disable_code": True}
PATIENCE = {
    "init_timeout": 30,
    "finish_timeout": 120,
    "finish_timeout_raises": True,
}  # seconds; what is left, wandb sync uploads
os.environ.setdefault("WANDB_ERROR_REPORTING", "false")  # to W&B's makers, even of offline runs


class WandbRun(WandbLogger):
    """A W&B run that keeps its id in the output folder, and whose failure never ends training.

    Args:
        folder: the run's output folder; W&B writes to ``wandb`` below it.
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
        online = has_key() if mode == "auto" else mode == "online"
        resumed = run_id(folder) is not None
        if not resumed:
            with atomic_write(folder / RUN_ID) as temporary:
                temporary.write_text(secrets.token_hex(4))
        self.folder, self.lower_is_better = folder, lower_is_better
        self.online, self._resumed, self._broken, self._gone = online, resumed, False, False
        super().__init__(
            name=name,
            group=group,
            project=project,
            entity=entity,
            tags=tags,
            id=run_id(folder),
            save_dir=folder,
            config=config,
            mode="online" if online else "offline",
        )
        del self._wandb_init["anonymous"]  # W&B warns of it, even of None

    @property
    def experiment(self) -> Any:
        """W&B's run; None once it failed, or Lightning would have it open another."""
        return None if self._broken else super().experiment

    def start(self) -> None:
        """Open the run and say where it goes; on failure training goes on without W&B."""
        self._guarded(self._start)

    def _start(self) -> None:
        import wandb

        settings = OWN | {name: value for name, value in PATIENCE.items() if name in wandb.Settings.model_fields}
        self._wandb_init["settings"] = wandb.Settings(
            silent=True, console="off", **settings
        )  # what matters is said below
        run = self.experiment
        run.define_metric("kimg")
        run.define_metric("*", step_metric="kimg")
        for score in self.lower_is_better:
            run.define_metric(score, step_metric="kimg", summary="min,last")
        if self.online:
            log.info("W&B: %s", run.url)
        else:
            log.info(
                "W&B is offline (no key, or logger.mode=offline). To upload this run later:\n    %s", self.sync_command
            )
        if self._resumed and not self.online:
            log.info("W&B can't continue an offline run in place: this part is a second record of the same run id")

    @property
    def sync_command(self) -> str:
        return f"wandb sync --append {self.folder / 'wandb'}/offline-run-*"

    def log_metrics(self, metrics: dict[str, Any], step: int | None = None) -> None:
        self._guarded(lambda: super(WandbRun, self).log_metrics(metrics, step))

    def log_image(
        self, key: str, images: list[Any], step: int | None = None, kimg: float | None = None, **_: Any
    ) -> None:
        """Log images (3, H, W) uint8 against kimg, in the same record."""

        def send() -> None:
            import wandb

            pictures = [wandb.Image(i.permute(1, 2, 0).numpy() if isinstance(i, Tensor) else i) for i in images]
            super(WandbRun, self).log_metrics({key: pictures, "kimg": kimg}, step)

        self._guarded(send)

    def log_file(self, key: str, path: Path, step: int | None = None, kimg: float | None = None) -> None:
        """Log what is heard (.wav), watched (.gif) or read (.txt) against kimg, in the same record."""

        def send() -> None:
            import wandb

            kinds = {
                ".wav": lambda: wandb.Audio(os.fspath(path)),
                ".gif": lambda: wandb.Video(os.fspath(path), format="gif"),
                ".txt": lambda: wandb.Html(f"<pre>{escape(path.read_text())}</pre>", inject=False),
            }
            super(WandbRun, self).log_metrics({key: kinds[path.suffix](), "kimg": kimg}, step)

        self._guarded(send)

    def log_table(self, key: str, columns: list[str] | None = None, data: list | None = None, **more: Any) -> None:
        self._guarded(lambda: super(WandbRun, self).log_table(key, columns, data, **more))

    def log_checkpoint(self, path: Path) -> None:
        """Upload a checkpoint as an artifact of this run."""

        def send() -> None:
            import wandb

            artifact = wandb.Artifact(f"checkpoint-{self.experiment.id}", type="model")
            artifact.add_file(os.fspath(path))
            self.experiment.log_artifact(artifact, aliases=["latest", path.stem])

        self._guarded(send)

    def finish(self, failed: bool = False) -> None:
        """Close the run; without it the next job of a sweep would write into this one."""
        self._guarded(lambda: self._experiment and self._experiment.finish(exit_code=int(failed)))
        if self._gone:
            import wandb

            with suppress(
                Exception
            ):  # else it would try to say goodbye at the very end, and tell with a traceback that it can't
                wandb.teardown(exit_code=1)

    def _guarded(self, action) -> None:
        if self._broken:
            return
        try:
            action()
        except Exception as error:
            self._broken, self._gone = True, isinstance(error, ConnectionError)
            logging.getLogger("wandb").setLevel(logging.CRITICAL)  # its own threads would go on about it
            log.warning(
                "W&B failed (%s); training goes on without it, and metrics.csv stays complete",
                redact(" ".join(f"{type(error).__name__} {error}".split()))[:200],
            )


def run_id(folder: Path) -> str | None:
    """The id in W&B of the run in a folder, None of one that has none.

    Raises:
        UserError: it is not one that this project gave.
    """
    path = folder / RUN_ID
    if not path.exists():
        return None
    with open(path, "rb") as file:
        found = file.read(100)
    if not re.fullmatch(rb"[0-9a-z]{8}\s*", found):
        raise UserError(
            f"{path}: not the id of a run, eight letters and digits; remove it, and the run gets another one"
        )
    return found.decode().strip()


def has_key() -> bool:
    """Whether W&B would log in without asking, found without the network."""
    if os.environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun"):
        return False
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    import wandb

    settings = wandb.setup().settings
    if settings.api_key:
        return True
    import netrc
    from urllib.parse import urlparse

    try:
        return netrc.netrc().authenticators(urlparse(settings.base_url).netloc) is not None
    except (OSError, netrc.NetrcParseError):
        return False
