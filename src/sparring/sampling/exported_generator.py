"""A generator that ``task=export`` wrote, for use outside a run: what ``sparring.load`` returns."""

import json
from collections.abc import Callable, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig
from torch import Tensor, nn

from sparring.config import trusted_code
from sparring.config.errors import UserError
from sparring.config.instantiate import build
from sparring.data.modalities import lookup
from sparring.data.modalities.base import Modality
from sparring.evaluation.sampler import draw_latents, in_passes
from sparring.games.game import Game
from sparring.networks.layers import channels_last
from sparring.sampling.labels import cycle_labels

FACTS = "sparring"  # the name of the facts in a .safetensors file; in a .pt2 file they are FACTS.json
BATCH_SIZE = 100  # images a pass, as in task=sample


class ProducerNetwork(nn.Module):
    """A game's producer as one network.

    Latents (batch, dim) and, if conditional, labels (batch,), or a translator's inputs -> images (batch, C, H, W).
    """

    def __init__(self, game: Game, producer: nn.Module):
        super().__init__()
        self.producer = producer
        # The method, not the game: the other players' weights are no part of this network.
        self.produce: Callable[..., Tensor] = game.produce
        self.translates = game.translates

    def forward(self, inputs: Tensor, labels: Tensor | None = None) -> Tensor:
        if self.translates:
            return self.produce(None, inputs, self.producer)
        return self.produce(inputs, labels, self.producer)


class Exported:
    """Base of what ``load`` returns.

    Attributes:
        network: a ``ProducerNetwork``, or the program that was made of it.
        facts: ``config`` (model and loss, resolved), ``data`` (``image_size``, ``channels``, ``num_classes``,
            ``class_names``, ``modality`` ...), ``inputs`` (shapes of the network's inputs, without the batch),
            ``latents`` (``distribution``, ``conditional``; null of a translator), ``weights`` (``checkpoint``,
            ``kimg``, ``ema``, ``batch_norm`` ...), ``versions``.
        device: where it computes.
    """

    def __init__(self, game: Game, network: nn.Module, facts: dict[str, Any], device: torch.device | str):
        self._game: Any = game
        self.network, self.facts, self.device = network, facts, torch.device(device)

    @property
    def modality(self) -> Modality:
        """The kind of the examples: ``write`` stores them in files, and text has ``texts``, which returns strings."""
        return self._game.modality


class ExportedGenerator(Exported):
    """A generator of examples from latents."""

    def __call__(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Make examples. Gradients reach the latents.

        Args:
            latents: (batch, dim), such as ``latents`` returns.
            labels: (batch,) whole numbers; for a conditional generator alone.

        Returns:
            Images (batch, C, H, W), float in [-1, 1] (StyleGAN2's can exceed it a little), or points (batch, dims).

        Raises:
            UserError: labels are missing, or the generator is unconditional.
        """
        if self._game.conditional != (labels is not None):
            reason = "conditional: labels (batch,) are needed" if labels is None else "unconditional: no labels"
            raise UserError(f"this generator is {reason}")
        inputs = latents.to(self.device)
        return self.network(inputs) if labels is None else self.network(inputs, labels.to(self.device))

    def latents(self, count: int, seed: int = 0) -> Tensor:
        """Return the latents (count, dim) of ``sample``, the same on every device."""
        if count < 1:
            raise UserError(f"count={count}: must be at least 1")
        return draw_latents(self._game, seed, "sample", count).to(self.device)

    @torch.inference_mode()
    def sample(self, count: int, seed: int = 0, labels: Sequence[int] | Tensor | None = None) -> Tensor:
        """Return the samples of ``task=sample``.

        They are the same bit for bit with seed 0, or without batch norm. The file has the standing statistics of seed
        0, and ``task=sample`` gathers them for each seed: with other seeds pixels can differ by a level.

        Args:
            count: number of samples.
            seed: of the latents.
            labels: classes of a conditional generator to cycle through; by default all.

        Returns:
            Images (count, C, H, W), uint8; points (count, dims); or what else the ``modality`` stores.

        Raises:
            UserError: ``count`` is below 1, or the generator has no such classes.
        """
        num_classes = self.facts["data"]["num_classes"] if self._game.conditional else 0
        latents, labels = self.latents(count, seed), cycle_labels("labels", labels, count, num_classes)

        def make(part: slice) -> Tensor:
            return self._game.as_data(self(latents[part], None if labels is None else labels[part]))

        return in_passes(make, count, BATCH_SIZE)


class ExportedTranslator(Exported):
    """A generator of images from images of any size; as a program, of the size of the training images."""

    def __call__(self, images: Tensor, lost: Tensor | None = None) -> Tensor:
        """Translate images.

        Args:
            images: (batch, C, h, w), float in [-1, 1].
            lost: (batch, 1, h, w), above 0 where a pixel is to be filled in, for models that do; by default nowhere.

        Returns:
            Images (batch, C, H, W), float in [-1, 1] (those of super-resolution can exceed it a little).

        Raises:
            UserError: the images have another shape or dtype, or ``lost`` does not fit the model.
        """
        channels = self.facts["data"]["input_channels"]
        if images.ndim != 4 or images.shape[1] != channels or not images.is_floating_point():
            raise UserError(
                f"this generator takes images (batch, {channels}, h, w), float in [-1, 1]; "
                f"these are {tuple(images.shape)}, {images.dtype} (for uint8: generator.answer)"
            )
        images = images.to(self.device)
        lost = torch.zeros_like(images[:, :1]) if lost is None else (lost > 0).to(images)
        try:
            inputs = self._game.condition_for(images, lost)
        except UserError as error:
            raise UserError(f"lost: {error}") from error
        shape = self.facts["inputs"][0]
        if not isinstance(self.network, ProducerNetwork) and list(inputs.shape[1:]) != shape:
            raise UserError(f"images of {tuple(images.shape[2:])} pixels: a program answers to those of {shape[1:]}")
        return self.network(inputs)

    @torch.inference_mode()
    def answer(self, images: Tensor, lost: Tensor | None = None) -> Tensor:
        """Translate images (batch, C, h, w) uint8 to uint8: one by one the results of ``task=sample input=...``."""
        if images.dtype != torch.uint8:
            raise UserError(f"answer: takes images of uint8, and these are {images.dtype}")

        def make(part: slice) -> Tensor:
            return self._game.as_data(self(self._game.scaled(images[part]), None if lost is None else lost[part]))

        return in_passes(make, len(images), BATCH_SIZE)


def load(path: str | PathLike, device: torch.device | str = "cpu") -> ExportedGenerator | ExportedTranslator:
    """Load an exported generator; see ``sparring.load``."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    return load_as(path, path.suffix == ".pt2", device)


def load_as(path: Path, program: bool, device: torch.device | str = "cpu") -> ExportedGenerator | ExportedTranslator:
    """Load a ``program`` of torch.export, or else a safetensors file, whatever the file's name ends in."""
    if program:
        facts, network = _read_program(path, torch.device(device))
        game = _build_game(path, facts)
    else:
        facts, weights = _read_weights(path)
        game = _build_game(path, facts)
        network = ProducerNetwork(game, _build_producer(path, facts, weights)).to(device)
    return (ExportedTranslator if game.translates else ExportedGenerator)(game, network, facts, device)


def _read_program(path: Path, device: torch.device) -> tuple[dict[str, Any], nn.Module]:
    from torch.export.passes import move_to_device_pass

    files: dict[str, Any] = {f"{FACTS}.json": None}
    try:
        with open(path, "rb") as file:
            program = torch.export.load(file, extra_files=files)
    except Exception as error:  # of many kinds
        raise UserError(f"{path}: PyTorch {torch.__version__} can't load it as a program ({error})") from error
    if device.type != "cpu":
        program = move_to_device_pass(program, device)
    return _parse_facts(path, files[f"{FACTS}.json"]), program.module()


def _read_weights(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            facts = _parse_facts(path, (file.metadata() or {}).get(FACTS))
            return facts, {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file, or damaged ({error})") from error


def _parse_facts(path: Path, text: str | bytes | None) -> dict[str, Any]:
    try:
        facts = json.loads(text or "")
        whole = {"data", "inputs", "versions"} <= facts.keys() and facts["config"]["model"]["generator"] is not None
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise UserError(f"{path}: not written by task=export: it holds no facts of a generator")
    return facts


def _build_game(path: Path, facts: dict[str, Any]) -> Game:
    """Build the game without weights: it draws latents and converts images."""
    config = facts["config"]
    loss = {"loss": config["loss"]} if config.get("loss") else {}
    try:
        trusted_code.check(config, where="config.")
        with torch.device("meta"):
            game = build(DictConfig(config["model"]), "model", partial=True, **loss)()
        game.modality = lookup.modality_of(facts["data"])
        return game
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except Exception as error:  # of a constructor, or of Hydra
        reason = error.__cause__ or error
        raise UserError(f"{path}: {_origin(facts)}; this version can't build its model: {reason}") from error


def _build_producer(path: Path, facts: dict[str, Any], weights: dict[str, Tensor]) -> nn.Module:
    with torch.random.fork_rng(devices=[]):  # the initial weights are drawn, and replaced
        producer = build(DictConfig(facts["config"]["model"]["generator"]), "model.generator")
    producer = channels_last(producer)  # as in training: convolutions round accordingly
    try:
        producer.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{path}: {_origin(facts)}; its weights do not fit this version's model: {error}") from error
    return producer.requires_grad_(False).eval()


def _origin(facts: dict[str, Any]) -> str:
    return f"written by sparring {facts['versions'].get('sparring')} (commit {facts['versions'].get('commit')})"
