"""task=export: write a run's generator to one file, weights for ``sparring.load`` or a program for PyTorch alone."""

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
from sparring.sampling.exported_generator import FACTS, Exported, ExportedGenerator, ProducerNetwork, load_as
from sparring.storage import tensor_files
from sparring.storage.files import atomic_write
from sparring.training.build import open_source
from sparring.training.stored_weights import open_sampler

ENDINGS = {"safetensors": ".safetensors", "torch_export": ".pt2"}
EXAMPLES = 5  # inputs to compare outputs on, and to record a program with
TOLERANCE = {"safetensors": 0.0, "torch_export": 1e-5}  # of outputs; a program may compute by other operations
log = logging.getLogger(__name__)


def export_run(run: store.Run, settings: DictConfig) -> tuple[Path, Exported]:
    """Export a run's generator.

    Batch norm has the statistics that ``task=sample`` uses by default. The file is moved to its place only if the
    generator loaded from it makes the run's images. ``settings`` is the ``export`` section of the configuration.

    Returns:
        The file, and the generator that was loaded from it.

    Raises:
        UserError: the generator can't be exported, or the file's name does not end as its format requires.
    """
    checkpoint, cfg = run.checkpoint(settings.checkpoint), run.config
    out = _output_path(run, settings, checkpoint)
    config: Any = OmegaConf.to_container(OmegaConf.masked_copy(cfg, ["model", "loss"]), resolve=True)
    _check(run, cfg, config)
    data = cache.load(open_source(cfg), cfg.cache) if get_object(cfg.model._target_).translates else None
    sampler = open_sampler(cfg, checkpoint, settings.ema, data=data)
    network, inputs = ProducerNetwork(sampler.game, sampler.producer), _example_inputs(sampler, cfg.data.num_classes)
    facts = {"config": config, "inputs": [list(each.shape[1:]) for each in inputs]}
    facts |= _facts(cfg, sampler, checkpoint, settings.ema)
    with atomic_write(out) as temporary:
        program = settings.format == "torch_export"
        (_save_program if program else _save_weights)(temporary, network, inputs, facts)
        exported = load_as(temporary, program)
        with torch.inference_mode():
            difference = (exported.network(*inputs) - network(*inputs)).abs().max().item()
        if not difference <= TOLERANCE[settings.format]:
            raise UserError(
                f"export.format={settings.format}: what was exported differs from the run's generator by up to "
                f"{difference:.1g}; does its network draw random numbers?"
            )
    return out, exported


def usage(path: Path, exported: Exported) -> str:
    """Return lines that say where the file is and how to use it."""
    data, (shape, *labels) = exported.facts["data"], exported.facts["inputs"]
    kind, shape = data["modality"], f"(batch, {', '.join(map(str, shape))})"
    if not isinstance(exported, ExportedGenerator):
        fills_in = exported.facts["inputs"][0][0] > data["input_channels"]
        call, arguments = "answer(images, lost)" if fills_in else "answer(images)", "images"
        inputs = f"images {shape} in [-1, 1]"
        if fills_in:
            inputs += ", the last channel 1 where a pixel is lost, else 0"
    elif labels:
        call, arguments, inputs = "sample(16, seed=0)", "latents, labels", f"latents {shape} and labels (batch,)"
    else:
        call, arguments, inputs = "sample(16, seed=0)", "latents", f"latents {shape}"
    name, size = json.dumps(str(path)), path.stat().st_size / 2**20
    lines = [f"{path} ({size:.1f} MiB) makes the run's {kind}: checked.", "", "    import sparring"]
    lines += [f"    generator = sparring.load({name})", f"    {kind} = generator.{call}"]
    if kind == "text":
        lines.append('    print(*generator.modality.texts(text), sep="\\n")')
    elif exported.modality.has_combined_file:
        lines += ["    from pathlib import Path", f'    generator.modality.write({kind}, Path("made"))']
    if path.suffix == ENDINGS["torch_export"]:
        lines += ["", f"Or with nothing but PyTorch, of {inputs}:", "", "    import torch"]
        lines += [f"    program = torch.export.load({name}).module()", f"    {kind} = program({arguments})"]
    return "\n".join(lines)


def _output_path(run: store.Run, settings: DictConfig, checkpoint: Path) -> Path:
    ending = ENDINGS[settings.format]
    if settings.file is None:
        name = f"generator-{checkpoint.stem}" if settings.checkpoint else "generator"
        return run.folder / "export" / f"{name}{'' if settings.ema else '-raw'}{ending}"
    if not settings.file.endswith(ending):
        raise UserError(
            f"export.file={settings.file}: with export.format={settings.format} its name must end in {ending}"
        )
    return Path(settings.file).expanduser()


def _check(run: store.Run, cfg: DictConfig, config: dict[str, Any]) -> None:
    if cfg.ema.batch_norm == "batch":
        raise UserError(
            f"run={run.folder}: with ema.batch_norm=batch an image depends on the others of its batch, which no file "
            f"can hold; set batch_norm: standing in {run.folder / 'config.yaml'}"
        )
    try:
        trusted_code.check(config, where="config.")
    except UserError as error:
        raise UserError(f"{error}. sparring.load builds no others") from error


def _example_inputs(sampler: Sampler, num_classes: int) -> tuple[Tensor, ...]:
    if sampler.game.translates:
        return (sampler.inputs(range(min(EXAMPLES, sampler.example_count))),)
    latents = sampler.latents("sample", EXAMPLES)
    return (latents, torch.arange(EXAMPLES) % num_classes) if sampler.game.conditional else (latents,)


def _facts(cfg: DictConfig, sampler: Sampler, checkpoint: Path, ema: bool) -> dict[str, Any]:
    """Describe the generator in values of JSON."""
    game, versions, stored = sampler.game, store.versions(), tensor_files.read_checkpoint(checkpoint)
    data: dict[str, Any] = {key: cfg.data[key] for key in ("image_size", "channels", "num_classes")}
    data |= lookup.facts(cfg.data)
    if game.translates:
        data["input_channels"] = cfg.data.get("input_channels", cfg.data.channels)
    else:
        data["class_names"] = _class_names(cfg) if game.conditional else []
    latents = None if game.translates else {"distribution": game.latent, "conditional": game.conditional}
    weights = {"checkpoint": checkpoint.name, "iteration": stored["global_step"], "kimg": stored["kimg"]}
    weights |= {"ema": ema, "batch_norm": sampler.batch_norm}
    versions = {"sparring": version("sparring"), "commit": versions["commit"], **versions["packages"]}
    return {"data": data, "latents": latents, "weights": weights, "versions": versions}


def _class_names(cfg: DictConfig) -> list[str]:
    """Return the names of the classes; none if the data, which nothing else here needs, are gone."""
    try:
        return open_source(cfg).class_names
    except (UserError, OSError) as error:
        log.warning("without names of the classes: %s", error)
        return []


def _save_weights(path: Path, network: ProducerNetwork, _: tuple[Tensor, ...], facts: dict[str, Any]) -> None:
    from safetensors.torch import save

    state = network.producer.state_dict()
    weights = {name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in state.items()}
    path.write_bytes(save(weights, {FACTS: json.dumps(facts)}))


def _save_program(path: Path, network: ProducerNetwork, inputs: tuple[Tensor, ...], facts: dict[str, Any]) -> None:
    batch = tuple({0: torch.export.Dim("batch")} for _ in inputs)
    try:
        program = torch.export.export(network, inputs, dynamic_shapes=batch, strict=True)  # else len() fixes the batch
    except Exception as error:  # of many kinds
        name, reason = type(network.producer), str(error).strip().partition("\n")[0]
        raise UserError(
            f"export.format=torch_export: PyTorch can't make a program of {name.__module__}.{name.__qualname__} "
            f"({reason}). export.format=safetensors can hold it."
        ) from error
    with open(path, "wb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(program, file, extra_files={f"{FACTS}.json": json.dumps(facts)})
