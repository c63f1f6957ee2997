"""task=compare"""

import shutil
from pathlib import Path

from omegaconf import DictConfig

from sparring.compare import page, records, wandb_workspace
from sparring.runs import untrusted


def compare(cfg: DictConfig, folder: Path) -> None:
    """Lay stored runs side by side: a page that needs no other file, and a table; and those of a W&B project in a workspace."""
    folder = Path(cfg.compare.folder or folder).expanduser()
    found = records.find(cfg.run) if cfg.run else []
    for run in found:
        untrusted.check_code(run.config, run.folder / "config.yaml", cfg.trust)
    if cfg.compare.wandb:
        print(f"W&B    {wandb_workspace.publish(cfg.logger.entity, cfg.logger.project, found)}")
    if not found:
        return
    path, table = page.write(found, folder)
    print(f"\n{table.markdown(shutil.get_terminal_size((140, 24)).columns)}")
    print(f"Page   {path}\nTable  {path.with_suffix('.md')}, all scores, run by run")
