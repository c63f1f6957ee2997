"""Going on with a stored experiment, or scoring it: its own configuration, with this command's changes.

Nothing here imports torch, as in ``config.py``.
"""

from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from sparring.config import redaction, trusted_code
from sparring.config.errors import UserError
from sparring.config.overrides import parse
from sparring.config.schema import Config
from sparring.runs import untrusted

FREE = (  # what may differ when a run is resumed: it changes neither the weights nor the draws
    "kimg",
    "resume",
    "resume_fallback",
    "trust",
    "cache",
    "trainer.max_steps",
    "trainer.accelerator",
    "trainer.devices",
    "trainer.num_nodes",
    "trainer.strategy",
    "trainer.compile",
    "trainer.cuda_graph",
    "trainer.profiler",
    "accumulate",
    "data.batch_size",  # of a rank; the global batch stays (check_global_batch)
    "logger",
    "sweep",
    "evaluation",
    "checkpoint",
    "grid",
    "data.device_memory_gb",
    "data.suggested_kimg",
)


JUDGED = (  # and what may differ when a run is scored again
    "task",
    "run",
    "real",
    "data.path",
    "data.split",
    "data.held_out",
    "data.on_bad_image",
    "ema.batch_norm",
    "model.generator.temperature",  # of text
)


DINOV2 = "sparring.evaluation.extractors.dinov2.DINOv2"
MACHINE = ("trainer.accelerator", "trainer.devices", "trainer.num_nodes", "trainer.strategy")  # what trainer= chooses


def key_of(override: str) -> str:
    """What an override sets."""
    return override.partition("=")[0].lstrip("+~")


def _said(argument: str) -> str:
    """The text of an override, without the quotes around it."""
    found = [o for o in parse([argument]) if not (o.is_delete() or o.is_sweep_override())]
    value = found[0].value() if found else None
    return value if isinstance(value, str) else argument.partition("=")[2]


def with_stored_overrides(arguments: list[str], conf: Path) -> list[str]:
    """The command line with what follows from it.

    One that goes on with a run or scores it has the stored overrides in front, which it may override in turn. ``real=cifar10``
    means ``data=cifar10``, and images from anywhere are scored with Inception's features unless others are named.

    Raises:
        UserError: an argument holds a secret, or the stored ones do what a stored run may not.
    """
    redaction.refuse_secrets((key_of(argument), argument) for argument in arguments)
    typed = {key_of(argument): _said(argument) for argument in arguments}
    if typed.get("resume") and typed.get("init"):
        raise UserError("resume= goes on with a run, init= starts a new one from its weights: choose one of them")
    evaluates = typed.get("task") == "evaluate"
    stored = typed.get("resume") or evaluates and typed.get("run")
    path = Path(stored).expanduser() / "overrides.yaml" if stored else None
    if path is not None and path.exists():
        # a group that is chosen anew leaves nothing of its former choice behind, and a run is scored on the machine at hand
        again = tuple(f"{key}{end}" for key in typed if key != "trainer" for end in "./")
        again += MACHINE if evaluates or "trainer" in typed else ()
        told = [*typed, "trainer"] if evaluates else typed
        untrusted.check_entries(path.parent)
        kept = [o for o in untrusted.read_overrides(path) if key_of(o) not in told and not key_of(o).startswith(again)]
        arguments = untrusted.checked(kept, path) + arguments
    if evaluates and (conf / "data" / f"{typed.get('real')}.yaml").is_file():
        arguments = [f"data={typed['real']}" if key_of(a) == "real" else a for a in arguments]
    if evaluates and "fake" in typed and "evaluation" not in typed:
        arguments = [*arguments, "evaluation=inception"]
    return arguments


def forget_unchosen(cfg: DictConfig, overrides: list[str]) -> DictConfig:
    """Without the settings that an experiment file gives a regularizer or augmentation that the command chose away."""
    for group in ("regularizer", "augment"):
        if not any(override.partition("=")[0] == group for override in overrides) or not cfg[group]:
            continue
        with open_dict(cfg):
            if group == "augment" and "_target_" not in cfg.augment:
                cfg.augment = {}
            for name in list(cfg[group]) if group == "regularizer" else ():
                if "_target_" not in cfg.regularizer[name]:
                    del cfg.regularizer[name]
    return cfg


def settle_config(cfg: DictConfig, overrides: list[str]) -> DictConfig:
    """The experiment that will be run: this command's, or a stored one with this command's changes.

    Raises:
        UserError: it, or a run that it names, would run code or read files that it may not; or it holds a secret.
    """
    cfg = forget_unchosen(cfg, overrides)
    task = cfg.task._target_.rpartition(".")[2]
    if cfg.resume is not None:
        cfg = recompose(cfg.resume, cfg, "resume", FREE)
    elif task == "evaluate" and isinstance(cfg.run, str):
        cfg = recompose(cfg.run, cfg, "run", FREE + JUDGED)
    for key in ("run", "init"):
        if isinstance(cfg[key], str) and task != "compare":
            untrusted.config_of(untrusted.folder_of(cfg[key], key), cfg.trust)
    redaction.refuse_secrets(trusted_code.strings(OmegaConf.to_container(cfg, resolve=True)))
    if OmegaConf.select(cfg, "evaluation.extractor._target_") == DINOV2 and "dinov2" not in cfg.trust:
        raise UserError(
            "evaluation/extractor=dinov2: torch.hub fetches facebookresearch/dinov2 and runs its code, whatever it is by then. "
            "If you trust it: trust=[dinov2]. evaluation/extractor=clip runs no foreign code"
        )
    return cfg


def recompose(stored_in: str, today: DictConfig, named: str, free: tuple[str, ...]) -> DictConfig:
    """The experiment stored in a folder with what this command changes; today's defaults never creep in.

    ``today`` is composed of the stored overrides and this command's (``completed``). Composing the stored ones alone
    shows what the command changes, and only that is applied to the stored configuration. What follows from a longer ``kimg`` but
    decides the weights, such as the end of a schedule, stays as it was.

    Args:
        stored_in: the run's folder, typed under the key ``named``.
        today: this command's configuration.
        named: ``resume`` or ``run``.
        free: the keys that may differ.

    Raises:
        UserError: this command changes what decides the weights.
    """
    from hydra import compose
    from hydra.core.hydra_config import HydraConfig

    folder = untrusted.folder_of(stored_in, named)
    stored = OmegaConf.create(untrusted.config_of(folder, today.trust, today.cache))
    old = [
        o for o in untrusted.read_overrides(folder / "overrides.yaml") if untrusted.harm_of(o) is None
    ]  # others: see completed
    typed = [override for override in HydraConfig.get().overrides.task if override not in old]
    before, after, known = _flat(forget_unchosen(compose("config", overrides=old), old)), _flat(today), _flat(stored)
    changed = {key for key in before.keys() | after.keys() if before.get(key, ...) != after.get(key, ...)}
    # typed as today's default is, which was another when the run began
    changed |= {key for key in map(key_of, typed) if key in after and known.get(key, ...) != after[key]}
    decisive = sorted(k for k in changed if not k.startswith(free) and known.get(k, ...) != after.get(k, ...))
    if decisive and not all(key_of(override).startswith(free) for override in typed):
        lines = [f"  {key}: {known.get(key)} in the run, {after.get(key)} now" for key in decisive]
        raise UserError(
            f"{named}={stored_in}: these keys would change what is trained:\n" + "\n".join(lines) + "\n"
            "Leave them out, or start a new run from these weights with init=FOLDER."
        )
    resolved = OmegaConf.to_container(today, resolve=True)
    with open_dict(stored):
        another = {key for key in changed if key not in before or key not in after or key.endswith("_target_")}
        anew = {"logger", "evaluation"} & {key.partition(".")[0] for key in another}
        for group in anew:  # as a whole: another choice has other keys
            stored[group] = resolved[group]
        for key in sorted(changed - set(decisive)):
            if key.partition(".")[0] not in anew:
                OmegaConf.update(stored, key, after.get(key), force_add=True)
        stored[named], stored.cache, stored.trust = stored_in, today.cache, today.trust
    trusted_code.check(OmegaConf.to_container(stored), today.trust)
    return OmegaConf.merge(OmegaConf.structured(Config), stored)


def check_global_batch(cfg: DictConfig) -> None:
    """Raise UserError if a run is gone on with in other global batches: on other ranks each has its share of the same."""
    if cfg.resume is None:
        return

    def batch(cfg: DictConfig) -> tuple[int, str]:
        ranks = cfg.trainer.devices * OmegaConf.select(cfg, "trainer.num_nodes", default=1)
        return cfg.data.batch_size * ranks, f"data.batch_size={cfg.data.batch_size} on {ranks} rank{'s'[: ranks > 1]}"

    (before, was), (now, here) = (
        batch(OmegaConf.create(untrusted.config_of(Path(cfg.resume).expanduser(), cfg.trust))),
        batch(cfg),
    )
    if before != now:
        raise UserError(
            f"resume={cfg.resume}: its global batch is {before} ({was}), and decides the weights; now it would be {now} ({here}). "
            "Choose data.batch_size so that it stays, or start a new run from these weights with init=FOLDER."
        )


def _flat(cfg: DictConfig) -> dict[str, Any]:
    """Resolved leaves by dotted key."""

    def walk(node: Any, path: str):
        if isinstance(node, dict) and node:
            for key, value in node.items():
                yield from walk(value, f"{path}.{key}" if path else str(key))
        else:
            yield path, node

    return dict(walk(OmegaConf.to_container(cfg, resolve=True), ""))
