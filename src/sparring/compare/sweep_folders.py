"""How the folders of a sweep's jobs are named, and how a job finds its folder again. Nothing here imports torch."""

import itertools
import json
from contextlib import suppress
from pathlib import Path

from omegaconf import OmegaConf

from sparring.config import redaction
from sparring.config.errors import UserError
from sparring.config.overrides import CommandLine, key_of, parse
from sparring.config.resolvers import folder_name
from sparring.runs import resume
from sparring.storage.files import atomic_write, read_json


def name_jobs_by_varied_keys(command: CommandLine, added: list[str]) -> list[str]:
    """Return the override that excludes the keys that all jobs share from the names of a sweep's jobs.

    Args:
        command: the command line.
        added: overrides that are added to it, the same for all jobs.

    Raises:
        UserError: ``sweep.name`` is no name, or its folder holds runs and ``sweep.skip_done`` is not set.
    """
    if not command.is_sweep:
        return []
    overrides = [*command.overrides, *parse(added)]
    shared = {o.key_or_group: o.value() for o in overrides if not o.is_sweep_override()}
    name = str(shared.get("sweep.name") or "")
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise UserError(f"sweep.name={name}: must be the name of a folder under multirun/")
    if name and not shared.get("sweep.skip_done") and any(Path("multirun", name).glob("*/status.json")):
        raise UserError(
            f"sweep.name={name}: multirun/{name} holds runs already. sweep.skip_done=true does what is missing there; "
            "else choose another name."
        )
    if len(shared) == len(overrides) and shared.get("sweep", "grid") == "grid":
        return []  # a single job
    return [f"hydra.job.config.override_dirname.exclude_keys=[{','.join(map(str, shared))}]"]


def job_folder(sweep: str, overrides: list[str], shared: list[str]) -> str:
    """Return the folder that holds this job's experiment already, or create one named after the varied keys.

    Args:
        sweep: the sweep's folder.
        overrides: of the job.
        shared: keys that are the same in all jobs. Those that may change when a run is resumed, such as a larger
            ``kimg``, don't make another experiment.
    """
    varied = {key_of(override) for override in overrides} - set(shared)

    def is_decisive(key: str) -> bool:
        return key in varied or not (key.startswith(("sweep", *resume.FREE)) or key == "trainer")

    def experiment(job: list[str]) -> set[str]:
        return {override for override in job if is_decisive(key_of(override))}

    for path in sorted(Path(sweep).glob("*/overrides.yaml")):
        if experiment(read_json(path, list)) == experiment(overrides):
            return path.parent.name
    name = folder_name(overrides, shared)
    if not Path(sweep).is_dir():
        return name  # the configuration is only looked at
    for folder in itertools.chain([Path(sweep, name)], (Path(sweep, f"{name}-{i}") for i in itertools.count(2))):
        with suppress(FileExistsError):
            folder.mkdir()  # only one of several processes can
            with atomic_write(folder / "overrides.yaml") as temporary:
                temporary.write_text(redaction.redact(json.dumps(list(overrides))))
            return folder.name
    raise AssertionError("the names above never end")


OmegaConf.register_new_resolver("job_folder", job_folder, replace=True)
