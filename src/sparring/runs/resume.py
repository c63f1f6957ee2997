"""Resume a stored experiment, or score it again: its own configuration, with the changes of this command.

Nothing here imports torch.
"""

from pathlib import Path

from omegaconf import DictConfig, OmegaConf, open_dict

from sparring.config import redaction, trusted_code
from sparring.config.errors import UserError
from sparring.config.overrides import CommandLine, key_of
from sparring.config.schema import structured
from sparring.config.values import leaves, plain, task_of
from sparring.runs import untrusted

MACHINE = ("trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy")  # what trainer= chooses
FREE = (  # keys that may differ when a run is resumed: they change neither the weights nor the draws
    *("kimg", "resume", "resume_fallback", "trust", "cache", "logger", "sweep", "evaluation", "checkpoint", "grid"),
    *("trainer.max_steps", "trainer.compile", "trainer.cuda_graph", "trainer.profiler", *MACHINE),
    *("accumulate", "data.batch_size"),  # of a rank; the global batch stays (check_global_batch)
    *("data.device_memory_gb", "data.suggested_kimg"),
)
FREE_IN_EVALUATION = (
    *FREE,
    *("task", "run", "real", "data.path", "data.split", "data.held_out", "data.on_bad_image", "ema.batch_norm"),
    "model.generator.temperature",  # of text
)


def stored_overrides(command: CommandLine) -> list[str]:
    """Return the overrides of the run that a command resumes or scores, without those that the command replaces.

    Raises:
        UserError: ``resume=`` and ``init=`` are both given, or a stored override does what a stored run may not.
    """
    evaluates, keys = command.text("task") == "evaluate", command.keys
    if command.text("resume") and command.text("init"):
        raise UserError("resume= continues a run, init= starts a new one from its weights: choose one of them")
    folder = command.text("resume") or (command.text("run") if evaluates else None)
    path = Path(folder or "").expanduser() / "overrides.yaml"
    if folder is None or not path.exists():
        return []
    untrusted.check_entries(path.parent)
    # a group that is chosen anew keeps nothing of its former choice, and a run is scored on the machine at hand
    replaced = tuple(f"{key}{end}" for key in keys if key != "trainer" for end in "./")
    if evaluates or "trainer" in keys:
        keys, replaced = [*keys, "trainer"], (*replaced, *MACHINE)
    stored = untrusted.read_overrides(path)
    return untrusted.check_overrides(
        [o for o in stored if key_of(o) not in keys and not key_of(o).startswith(replaced)], path
    )


def implied_overrides(command: CommandLine) -> list[str]:
    """Return the overrides that an evaluation implies.

    ``real=cifar10`` means ``data=cifar10``. Images that are given are scored with Inception's features by default.
    """
    implied, real = [], command.text("real")
    if command.text("task") != "evaluate":
        return implied
    if (command.conf / "data" / f"{real}.yaml").is_file():
        implied += [f"data={real}", "real=null"]
    if "fake" in command.keys and "evaluation" not in command.keys:
        implied += ["evaluation=inception"]
    return implied


def forget_unchosen(cfg: DictConfig, overrides: list[str]) -> DictConfig:
    """Drop the settings that an experiment file gives a regularizer or augmentation that the command chose away."""
    keys = [override.partition("=")[0] for override in overrides]
    with open_dict(cfg):
        if "augment" in keys and cfg.augment and "_target_" not in cfg.augment:
            cfg.augment = {}
        if "regularizer" in keys and cfg.regularizer:
            for name in [name for name, node in cfg.regularizer.items() if node and "_target_" not in node]:
                del cfg.regularizer[name]
    return cfg


def settle_config(cfg: DictConfig, overrides: list[str]) -> DictConfig:
    """Return the experiment to run: this command's, or a stored one with the changes of this command.

    Raises:
        UserError: it, or a run that it names, would run code or read files that it may not; or it holds a secret.
    """
    cfg, task = forget_unchosen(cfg, overrides), task_of(cfg)
    if cfg.resume is not None:
        cfg = _recompose(cfg.resume, cfg, "resume", FREE)
    elif task == "evaluate" and isinstance(cfg.run, str):
        cfg = _recompose(cfg.run, cfg, "run", FREE_IN_EVALUATION)
    for key in ("run", "init"):
        if isinstance(cfg[key], str) and task != "compare":
            untrusted.config_of(untrusted.folder_of(cfg[key], key), cfg.trust)
    values = leaves(plain(cfg), lists=True)
    redaction.refuse_secrets((key, value) for key, value in values if isinstance(value, str))
    trusted_code.check_downloaded(cfg)
    return cfg


def _recompose(folder: str, today: DictConfig, key: str, free: tuple[str, ...]) -> DictConfig:
    """Return a stored experiment with the changes of this command; today's defaults are not applied.

    Composing the stored overrides alone shows what this command changes, and only that is applied to the stored
    configuration. What follows from a longer ``kimg`` but decides the weights, such as the end of a schedule, stays.

    Args:
        folder: the run's, typed under ``key``.
        today: composed of the stored overrides and this command's.
        key: ``resume`` or ``run``.
        free: the keys that may differ.

    Raises:
        UserError: this command changes what decides the weights.
    """
    from hydra import compose
    from hydra.core.hydra_config import HydraConfig

    path = untrusted.folder_of(folder, key)
    stored = OmegaConf.create(untrusted.config_of(path, today.trust, today.cache))
    old = [o for o in untrusted.read_overrides(path / "overrides.yaml") if untrusted.find_harm(o) is None]
    typed = [override for override in HydraConfig.get().overrides.task if override not in old]
    before, after = _values(forget_unchosen(compose("config", overrides=old), old)), _values(today)
    known = _values(stored)
    changed = {k for k in before.keys() | after.keys() if before.get(k, ...) != after.get(k, ...)}
    # typed as today's default is, which was another when the run began
    changed |= {k for k in map(key_of, typed) if k in after and known.get(k, ...) != after[k]}
    decisive = sorted(k for k in changed if not k.startswith(free) and known.get(k, ...) != after.get(k, ...))
    if decisive and not all(key_of(override).startswith(free) for override in typed):
        lines = [f"  {k}: {known.get(k)} in the run, {after.get(k)} now" for k in decisive]
        raise UserError(
            f"{key}={folder}: these keys would change what is trained:\n" + "\n".join(lines) + "\n"
            "Leave them out, or start a new run from these weights with init=FOLDER."
        )
    resolved = plain(today)
    with open_dict(stored):
        other = {k for k in changed if k not in before or k not in after or k.endswith("_target_")}
        replaced = {"logger", "evaluation"} & {k.partition(".")[0] for k in other}
        for group in replaced:  # as a whole: another choice has other keys
            stored[group] = resolved[group]
        for k in sorted(changed - set(decisive)):
            if k.partition(".")[0] not in replaced:
                OmegaConf.update(stored, k, after.get(k), force_add=True)
        stored[key], stored.cache, stored.trust = folder, today.cache, today.trust
    trusted_code.check(plain(stored), today.trust)
    return structured(stored)


def _values(cfg: DictConfig) -> dict:
    return dict(leaves(plain(cfg)))


def check_global_batch(cfg: DictConfig) -> None:
    """Raise UserError if a run is resumed with another global batch, which decides the weights."""
    if cfg.resume is None:
        return
    stored = OmegaConf.create(untrusted.config_of(Path(cfg.resume).expanduser(), cfg.trust))
    (before, was), (now, is_now) = _global_batch(stored), _global_batch(cfg)
    if before != now:
        raise UserError(
            f"resume={cfg.resume}: its global batch is {before} ({was}), and decides the weights; now it is {now} "
            f"({is_now}). Choose data.batch_size so that it stays, or start a new run from these weights: init=FOLDER."
        )


def _global_batch(cfg: DictConfig) -> tuple[int, str]:
    """Return the examples of a turn on all ranks, and how they come about."""
    ranks = cfg.trainer.devices * OmegaConf.select(cfg, "trainer.num_nodes", default=1)
    plural = "s" if ranks > 1 else ""
    return cfg.data.batch_size * ranks, f"data.batch_size={cfg.data.batch_size} on {ranks} rank{plural}"
