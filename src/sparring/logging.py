"""Where numbers and pictures go: ``metrics.csv`` always, Weights & Biases by default."""

import csv
import logging
import os
import secrets
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Literal

from pytorch_lightning.loggers import WandbLogger
from pytorch_lightning.loggers.logger import Logger
from torch import Tensor

from sparring.files import replacing

log = logging.getLogger(__name__)


class MetricsFile(Logger):
    """A row of ``metrics.csv`` for every row of the log; a new column rewrites the file, whole or not at all.

    Args:
        path: the file; rows after ``iteration`` are dropped, so that a resumed run goes on from its checkpoint.
        iteration: at which training begins.
    """

    name, version = "metrics", None

    def __init__(self, path: Path, iteration: int = 0):
        super().__init__()
        self.path = path
        self._columns: list[str] = ["iteration", "kimg"]
        if path.exists():
            with open(path, newline="") as file:
                reader = csv.DictReader(file)
                rows = [
                    row for row in reader if (row["iteration"] or "").isdigit() and int(row["iteration"]) <= iteration
                ]
                self._columns = list(reader.fieldnames or self._columns)
            self._rewrite(rows)

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        row = {"iteration": step, **metrics}
        if new := [name for name in row if name not in self._columns] or not self.path.exists():
            rows = []
            if self.path.exists():
                with open(self.path, newline="") as file:
                    rows = list(csv.DictReader(file))
                self._columns += new
            else:
                self._columns += [name for name in row if name not in self._columns]
            self._rewrite([*rows, row])
        else:
            with open(self.path, "a", newline="") as file:
                csv.DictWriter(file, self._columns).writerow(row)

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """The configuration lies beside the file, in ``config.yaml``."""

    def _rewrite(self, rows: Iterable[dict]) -> None:
        with replacing(self.path) as temporary, open(temporary, "w", newline="") as file:
            writer = csv.DictWriter(file, self._columns)
            writer.writeheader()
            writer.writerows(rows)


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
        project: str = "sparring",
        entity: str | None = None,
        tags: list[str] | None = None,
        mode: Literal["auto", "online", "offline"] = "auto",
    ):
        online = has_key() if mode == "auto" else mode == "online"
        kept = folder / "wandb" / "run_id"
        resumed = kept.exists()
        if not resumed:
            with replacing(kept) as temporary:
                temporary.write_text(secrets.token_hex(4))
        self.folder, self.lower_is_better = folder, lower_is_better
        self.online, self._resumed, self._broken = online, resumed, False
        super().__init__(
            name=name,
            group=group,
            project=project,
            entity=entity,
            tags=tags,
            id=kept.read_text(),
            save_dir=folder,
            config=config,
            mode="online" if online else "offline",
        )
        del self._wandb_init["anonymous"]  # W&B warns of it, even of None

    def start(self) -> None:
        """Open the run and say where it goes; on failure training goes on without W&B."""
        self._guarded(self._start)

    def _start(self) -> None:
        import wandb

        self._wandb_init["settings"] = wandb.Settings(silent=True, console="off")  # what matters is said below
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

    def _guarded(self, action) -> None:
        if self._broken:
            return
        try:
            action()
        except Exception as error:
            self._broken = True
            logging.getLogger("wandb").setLevel(logging.CRITICAL)  # its own threads would go on about it
            log.warning(
                "W&B failed (%s); training goes on without it, and metrics.csv stays complete",
                " ".join(f"{type(error).__name__} {error}".split())[:200],
            )


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
