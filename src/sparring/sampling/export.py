"""A run's generator as one file: weights and configuration for ``sparring.load``, or a program that needs nothing but PyTorch."""

import json
import logging
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from hydra.utils import get_object
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from sparring.config import trusted_code
from sparring.config.errors import UserError
from sparring.data import cache
from sparring.data.modalities import lookup
from sparring.evaluation.sampler import Sampler
from sparring.runs import store
from sparring.sampling.exported_generator import (
    FACTS,
    ExportedGenerator,
    ExportedTranslator,
    Produced,
    load_program,
    load_weights,
)
from sparring.storage import tensor_files
from sparring.storage.files import atomic_write
from sparring.training.build import open_sampler, open_source

ENDINGS = {"safetensors": ".safetensors", "torch_export": ".pt2"}
FEW = 5  # examples
TOLERANCE = 1e-5  # of a program, whose operations may be others; weights make the same images bit for bit
log = logging.getLogger(__name__)


def export_run(run: store.Run, wanted: DictConfig) -> tuple[Path, ExportedGenerator | ExportedTranslator]:
    """Export a run's generator, as the ``export`` of a configuration says: the file, and the generator that was read from it.

    Batch norm has the statistics with which ``task=sample`` shows the run's images, by default. The file is in its place
    only if what was read from it makes the run's images.

    Raises:
        UserError: it can't be exported, or the file's name does not end as its format does.
    """
    path, cfg = run.checkpoint(wanted.checkpoint), run.config
    out, program = _place(run, wanted, path), wanted.format == "torch_export"
    config = {part: OmegaConf.to_container(cfg, resolve=True)[part] for part in ("model", "loss")}
    _refuse(run, cfg, config)
    data = cache.load(open_source(cfg), cfg.cache) if get_object(cfg.model._target_).translates else None
    sampler = open_sampler(cfg, path, wanted.ema, data=data)
    network, inputs = Produced(sampler.game, sampler.producer), _inputs(sampler, cfg.data.num_classes)
    facts = {"config": config, "inputs": [list(given.shape[1:]) for given in inputs]}
    facts |= _facts(cfg, sampler, path, wanted.ema)
    with atomic_write(out) as temporary:
        (_save_program if program else _save_weights)(temporary, network, inputs, facts)
        exported = (load_program if program else load_weights)(temporary)
        with torch.inference_mode():
            apart = (exported.network(*inputs) - network(*inputs)).abs().max().item()
        if not apart <= (TOLERANCE if program else 0):
            raise UserError(
                f"export.format={wanted.format}: what was exported differs from the run's generator by up to {apart:.1g}; "
                "does its network draw random numbers?"
            )
    return out, exported


def usage(path: Path, exported: ExportedGenerator | ExportedTranslator) -> str:
    """Where the file is, and how to use it."""
    typed, (given, *labels) = json.dumps(str(path)), exported.facts["inputs"]
    shape = f"(batch, {', '.join(map(str, given))})"
    if isinstance(exported, ExportedGenerator):
        use, takes, what = "sample(16, seed=0)", ["latents", *["labels"] * len(labels)], f"latents {shape}"
        what += " and labels (batch,) of whole numbers" * len(labels)
    else:
        fills_in = given[0] > exported.facts["data"]["input_channels"]
        use, takes = "answer(images, lost)" if fills_in else "answer(images)", ["images"]
        what = f"images {shape} in [-1, 1]" + ", the last channel 1 where a pixel is lost, else 0" * fills_in
    kind = exported.facts["data"]["modality"]
    lines = [f"{path} ({path.stat().st_size / 2**20:.1f} MiB) makes the run's {kind}: checked.", ""]
    lines += ["    import sparring", f"    generator = sparring.load({typed})", f"    {kind} = generator.{use}"]
    if kind == "text":
        lines.append('    print(*generator.modality.texts(text), sep="\\n")')
    elif exported.modality.has_combined_file:
        lines += ["    from pathlib import Path", f'    generator.modality.write({kind}, Path("made"))']
    if path.suffix == ENDINGS["torch_export"]:
        lines += ["", f"Or with nothing but PyTorch, of {what}:", "", "    import torch"]
        lines += [f"    program = torch.export.load({typed}).module()", f"    {kind} = program({', '.join(takes)})"]
    return "\n".join(lines)


def _place(run: store.Run, wanted: DictConfig, checkpoint: Path) -> Path:
    ending = ENDINGS[wanted.format]
    if wanted.file is None:
        parts = ["generator"] + [checkpoint.stem] * bool(wanted.checkpoint) + ["raw"] * (not wanted.ema)
        return run.folder / "export" / ("-".join(parts) + ending)
    if not wanted.file.endswith(ending):
        raise UserError(f"export.file={wanted.file}: with export.format={wanted.format} its name must end in {ending}")
    return Path(wanted.file).expanduser()


def _refuse(run: store.Run, cfg: DictConfig, config: dict[str, Any]) -> None:
    if cfg.ema.batch_norm == "batch":
        raise UserError(
            f"run={run.folder}: with ema.batch_norm=batch an image depends on the others of its batch, and no file can hold "
            f"that; say batch_norm: standing in {run.folder / 'config.yaml'}"
        )
    try:
        trusted_code.check(config, where="config.")
    except UserError as error:
        raise UserError(f"{error}. sparring.load builds no others") from error


def _inputs(sampler: Sampler, classes: int) -> tuple[Tensor, ...]:
    """A few of what the generator is given: what its answers are compared by, and a program is recorded with."""
    if sampler.game.translates:
        return (sampler.inputs(range(min(FEW, sampler.example_count))),)
    latents = sampler.latents("sample", FEW)
    return (latents, torch.arange(FEW) % classes) if sampler.game.conditional else (latents,)


def _facts(cfg: DictConfig, sampler: Sampler, checkpoint: Path, ema: bool) -> dict[str, Any]:
    """What the generator is, in words of JSON."""
    game, versions = sampler.game, store.versions()
    stored = tensor_files.read_checkpoint(checkpoint)
    data: dict[str, Any] = {key: cfg.data[key] for key in ("image_size", "channels", "num_classes")}
    data |= lookup.facts(cfg.data)
    if game.translates:
        data["input_channels"] = cfg.data.get("input_channels", cfg.data.channels)
    else:
        data["class_names"] = _class_names(cfg) if game.conditional else []
    return {
        "data": data,
        "latents": None if game.translates else {"distribution": game.latent, "conditional": game.conditional},
        "weights": {
            "checkpoint": checkpoint.name,
            "iteration": stored["global_step"],
            "kimg": stored["kimg"],
            "ema": ema,
            "batch_norm": sampler.batch_norm,
        },
        "versions": {"sparring": version("sparring"), "commit": versions["commit"], **versions["packages"]},
    }


def _class_names(cfg: DictConfig) -> list[str]:
    """Of the labels; none if the data are gone, which are not needed for anything else."""
    try:
        return open_source(cfg).class_names
    except (UserError, OSError) as error:
        log.warning("without names of the classes: %s", error)
        return []


def _save_weights(path: Path, network: Produced, inputs: tuple[Tensor, ...], facts: dict[str, Any]) -> None:
    from safetensors.torch import save

    weights = {
        name: tensor.clone(memory_format=torch.contiguous_format)
        for name, tensor in network.producer.state_dict().items()
    }
    path.write_bytes(save(weights, {FACTS: json.dumps(facts)}))


def _save_program(path: Path, network: Produced, inputs: tuple[Tensor, ...], facts: dict[str, Any]) -> None:
    batch = tuple({0: torch.export.Dim("batch")} for _ in inputs)
    try:
        program = torch.export.export(network, inputs, dynamic_shapes=batch, strict=True)  # else len() fixes the batch
    except Exception as error:  # of many kinds, by what it can't
        name = type(network.producer)
        raise UserError(
            f"export.format=torch_export: PyTorch can't make a program of {name.__module__}.{name.__qualname__} "
            f"({str(error).strip().partition(chr(10))[0]}). export.format=safetensors can hold it."
        ) from error
    with open(path, "wb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, file, extra_files={f"{FACTS}.json": json.dumps(facts)})
