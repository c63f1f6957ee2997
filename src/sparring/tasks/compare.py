"""task=compare: python run.py task=compare run=multirun/..."""

import shutil
from pathlib import Path

from omegaconf import DictConfig

from sparring.compare import page, records, wandb_workspace
from sparring.runs import untrusted


def compare(cfg: DictConfig, folder: Path) -> None:
    """Compare stored runs in a table and on a page of one file, and the runs of a W&B project in a workspace."""
    folder = Path(cfg.compare.folder or folder).expanduser()
    runs = records.find(cfg.run) if cfg.run else []
    for run in runs:
        untrusted.check_code(run.config, run.folder / "config.yaml", cfg.trust)
    if cfg.compare.wandb:
        print(f"W&B    {wandb_workspace.publish(cfg.logger.entity, cfg.logger.project, runs)}")
    if runs:
        path, table = page.write(runs, folder)
        print(f"\n{table.markdown(shutil.get_terminal_size((140, 24)).columns)}")
        print(f"Page   {path}\nTable  {path.with_suffix('.md')}, all scores, run by run")
