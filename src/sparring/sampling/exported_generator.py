"""A generator that ``task=export`` wrote, for use anywhere: ``sparring.load``."""

import json
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import torch
from omegaconf import OmegaConf
from torch import Tensor, nn

from sparring.config import trusted_code
from sparring.config.errors import UserError
from sparring.config.instantiate import build
from sparring.data.modalities import lookup
from sparring.data.modalities.base import Modality
from sparring.evaluation.sampler import BLOCK
from sparring.games.game import Game
from sparring.networks.layers import channels_last
from sparring.randomness import Draws

FACTS = "sparring"  # what the metadata are called in a .safetensors file; with ".json", in a .pt2 file
PASS = 100  # images a pass, as in task=sample


class Produced(nn.Module):
    """What a game shows: latents (batch, dim) and, of a conditional game, labels (batch,), or what a translating one is told
    (batch, C, h, w), become images (batch, C, H, W) in [-1, 1].
    """

    def __init__(self, game: Game, producer: nn.Module):
        super().__init__()
        self.producer = producer
        self.game = (game,)  # in a tuple, where torch does not look for parameters: those of its other players

    def forward(self, given: Tensor, labels: Tensor | None = None) -> Tensor:
        (game,) = self.game
        if game.translates:
            return game.produce(None, given, self.producer)
        return game.produce(given, labels, self.producer)


class Exported:
    """Base of what ``load`` returns.

    Attributes:
        network: a ``Produced``, or the program that was made of it.
        facts: ``config`` (model and loss, resolved), ``data`` (``image_size``, ``channels``, ``num_classes``, ``class_names``, ``modality`` ...),
            ``inputs`` (shapes of what the network is given, without the batch), ``latents`` (``distribution``, ``conditional``; null of
            a translator), ``weights`` (``checkpoint``, ``kimg``, ``ema``, ``batch_norm`` ...), ``versions``.
        device: where it computes.
    """

    def __init__(self, game: Game, network: nn.Module, facts: dict[str, Any], device: torch.device | str):
        self._game, self.network, self.facts, self.device = game, network, facts, torch.device(device)

    @property
    def modality(self) -> Modality:
        """What examples are: writes them to files (``write``), and of text says what they read (``texts``)."""
        return self._game.modality

    def _as_data(self, given: Tensor, beside: Tensor | None) -> Tensor:
        """What is made of them, in passes, as uint8 where it is images."""
        parts = (slice(i, i + PASS) for i in range(0, len(given), PASS))
        return torch.cat([self._game.as_data(self(given[p], None if beside is None else beside[p])) for p in parts])


class ExportedGenerator(Exported):
    """Makes images from noise."""

    def __call__(self, latents: Tensor, labels: Tensor | None = None) -> Tensor:
        """Latents (batch, dim) and, of a conditional generator alone, labels (batch,) -> images (batch, C, H, W), float in
        [-1, 1] (StyleGAN2's may lie a little beyond), or points (batch, dims). Gradients reach the latents.
        """
        if self._game.conditional != (labels is not None):
            wanted = "is told a class: labels (batch,) are needed" if labels is None else "is unconditional: no labels"
            raise UserError(f"this generator {wanted}")
        given = latents.to(self.device)
        return self.network(given) if labels is None else self.network(given, labels.to(self.device))

    def latents(self, count: int, seed: int = 0) -> Tensor:
        """The latents (count, dim) of ``sample``, the same on every device."""
        if count < 1:
            raise UserError(f"count={count}: must be at least 1")
        blocks = (Draws((seed, "sample", block), BLOCK, slice(0, BLOCK)) for block in range(-(-count // BLOCK)))
        return torch.cat([self._game.latents(draws) for draws in blocks])[:count].to(self.device)

    @torch.inference_mode()
    def sample(self, count: int, seed: int = 0, labels: Sequence[int] | Tensor | None = None) -> Tensor:
        """Images (count, C, H, W), uint8, points (count, dims), or what else the ``modality`` stores: those of ``task=sample``
        with this seed.

        Bit for bit with seed 0 and without batch norm. Standing statistics are those of seed 0, ``task=sample`` gathers them for
        each seed: other seeds' pixels may differ by a level.

        Args:
            count: how many.
            seed: of the latents.
            labels: of a conditional generator, the classes to cycle through; by default all of them.
        """
        return self._as_data(self.latents(count, seed), self._labels(count, labels))

    def _labels(self, count: int, wanted: Sequence[int] | Tensor | None) -> Tensor | None:
        classes = self.facts["data"]["num_classes"] if self._game.conditional else 0
        if wanted is None and not classes:
            return None
        chosen = torch.as_tensor(range(classes) if wanted is None else wanted)
        if not classes:
            raise UserError(f"labels={chosen.tolist()}: this generator is unconditional")
        whole = chosen.ndim == 1 and len(chosen) > 0 and not chosen.is_floating_point()
        if not whole or not 0 <= chosen.min() <= chosen.max() < classes:
            raise UserError(f"labels={chosen.tolist()}: a list of classes, 0 to {classes - 1}")
        return chosen.cpu()[torch.arange(count) % len(chosen)]


class ExportedTranslator(Exported):
    """Makes images of images: of any size, or, as a program, of the size of the training images."""

    def __call__(self, images: Tensor, lost: Tensor | None = None) -> Tensor:
        """Images (batch, C, h, w) in [-1, 1] -> images (batch, C, H, W), float in [-1, 1] (those of super-resolution may lie a
        little beyond).

        Args:
            images: what to answer to.
            lost: (batch, 1, h, w), above 0 where a pixel is to be filled in; for models that do. By default none.
        """
        channels = self.facts["data"]["input_channels"]
        if images.ndim != 4 or images.shape[1] != channels or not images.is_floating_point():
            raise UserError(
                f"this generator answers to images (batch, {channels}, h, w), float in [-1, 1]; these are {tuple(images.shape)}, "
                f"{images.dtype} (of uint8: generator.answer)"
            )
        images = images.to(self.device)
        lost = torch.zeros_like(images[:, :1]) if lost is None else (lost > 0).to(images)
        try:
            given = self._game.told(images, lost)
        except UserError as error:
            raise UserError(f"lost: {error}") from error
        if not isinstance(self.network, Produced) and list(given.shape[1:]) != self.facts["inputs"][0]:
            raise UserError(
                f"images of {tuple(images.shape[2:])} pixels: a program answers to those of {self.facts['inputs'][0][1:]}"
            )
        return self.network(given)

    @torch.inference_mode()
    def answer(self, images: Tensor, lost: Tensor | None = None) -> Tensor:
        """The same of and as images of uint8: one by one those of ``task=sample input=...``."""
        if images.dtype != torch.uint8:
            raise UserError(f"answer: takes images of uint8, and these are {images.dtype}")
        return self._as_data(self._game.scaled(images), lost)


def load(path: str | PathLike, device: torch.device | str = "cpu") -> ExportedGenerator | ExportedTranslator:
    """The generator in a file that ``task=export`` wrote.

    A ``.safetensors`` file runs no code: it holds numbers, and the names of this package's own networks. A ``.pt2`` file is a
    program, which PyTorch unpickles: load only those of people whom you trust.

    Raises:
        UserError: it is no such file, it names code from elsewhere, or this version of the package can't build its model.
    """
    path = Path(path).expanduser()
    if not path.is_file():
        raise UserError(f"{path}: there is no such file")
    return (load_program if path.suffix == ".pt2" else load_weights)(path, device)


def load_weights(path: Path, device: torch.device | str = "cpu") -> ExportedGenerator | ExportedTranslator:
    """``load`` of a ``.safetensors`` file, whatever it is called."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "pt") as file:
            facts = _facts(path, (file.metadata() or {}).get(FACTS))
            names = file.keys()
            weights = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise UserError(f"{path}: not a safetensors file, or damaged ({error})") from error
    game = _game(path, facts)
    with torch.random.fork_rng(devices=[]):  # first weights are drawn, and forgotten
        producer = build(OmegaConf.create(facts["config"]["model"]["generator"]), "model.generator")
    producer = channels_last(producer)  # as in training: convolutions round accordingly
    try:
        producer.load_state_dict(weights)
    except RuntimeError as error:
        raise UserError(f"{path}: {_written_by(facts)}; its weights do not fit this one's model: {error}") from error
    network = Produced(game, producer.requires_grad_(False).eval()).to(device)
    return _kind(game)(game, network, facts, device)


def load_program(path: Path, device: torch.device | str = "cpu") -> ExportedGenerator | ExportedTranslator:
    """``load`` of a ``.pt2`` file, whatever it is called."""
    from torch.export.passes import move_to_device_pass

    held: dict[str, Any] = {f"{FACTS}.json": None}
    try:
        with open(path, "rb") as file:
            program = torch.export.load(file, extra_files=held)
    except Exception as error:  # of many kinds, by what is wrong
        raise UserError(f"{path}: PyTorch {torch.__version__} can't load it as a program ({error})") from error
    facts = _facts(path, held[f"{FACTS}.json"])
    if torch.device(device).type != "cpu":
        program = move_to_device_pass(program, torch.device(device))
    game = _game(path, facts)
    return _kind(game)(game, program.module(), facts, device)


def _facts(path: Path, text: str | bytes | None) -> dict[str, Any]:
    try:
        facts = json.loads(text or "")
        facts["config"]["model"]["generator"], facts["data"], facts["inputs"], facts["versions"]
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise UserError(f"{path}: not written by task=export, which says what it holds") from error
    return facts


def _game(path: Path, facts: dict[str, Any]) -> Game:
    """The game without numbers: only how it draws latents and shows images is wanted, and no other player's weights."""
    config = facts["config"]
    try:
        trusted_code.check(config, where="config.")
        loss = {"loss": config["loss"]} if config.get("loss") else {}
        with torch.device("meta"):
            game = build(OmegaConf.create(config["model"]), "model", partial=True, **loss)()
        game.modality = lookup.modality_of(facts["data"])
        return game
    except UserError as error:
        raise UserError(f"{path}: {error}") from error
    except Exception as error:  # a constructor's, or Hydra's
        raise UserError(
            f"{path}: {_written_by(facts)}; this one can't build its model: {error.__cause__ or error}"
        ) from error


def _kind(game: Game) -> type[ExportedGenerator] | type[ExportedTranslator]:
    return ExportedTranslator if game.translates else ExportedGenerator


def _written_by(facts: dict[str, Any]) -> str:
    return f"written by sparring {facts['versions'].get('sparring')} (commit {facts['versions'].get('commit')})"
