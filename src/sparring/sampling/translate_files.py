"""task=sample input=DIR: run a translating generator on image files, each at its own size."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from sparring.config.errors import UserError
from sparring.data.file_listing import walk
from sparring.data.image_grids import rows_of, save_image
from sparring.data.image_io import SUFFIXES, UnreadableFileError, decoding, read
from sparring.data.image_resizing import in_8_bits, is_transparent, on_white
from sparring.evaluation.image_sets import like
from sparring.evaluation.sampler import Sampler

LONGEST_NAME = 230  # bytes; file systems take 255, and a file's temporary name is longer


def translate_files(sampler: Sampler, input_path: Path, channels: int, out: Path) -> int:
    """Translate an image file, or all below a folder.

    Writes ``images/NAME.png`` and, next to its input, ``compared/NAME.png``. NAME is the file's path below the folder,
    without its ending unless that alone tells two files apart. A model that fills in fills transparent pixels; to other
    models they are white, as in training.

    Args:
        sampler: of a game that translates.
        input_path: the file or folder.
        channels: 1 or 3, of the model's inputs.
        out: the folder to write to.

    Returns:
        The number of images.

    Raises:
        UserError: there is no image; or, after the others were translated, some can't be.
    """
    game: Any = sampler.game
    files = image_files(input_path)
    clash = len({file.with_suffix("") for file in files}) < len(files)  # a.png and a.jpg
    left_out = []
    for file in files:
        name = Path(file.name) if file == input_path else file.relative_to(input_path)
        path = name.with_name(f"{name.name if clash else name.stem}.png")
        try:
            if len(os.fsencode(path.name)) > LONGEST_NAME:
                raise UserError(f"its name is too long for a file of the output; at most {LONGEST_NAME} bytes")
            image, transparent = _open(file, channels)
            condition = game.condition_for(game.scaled(image), transparent)
        except UserError as error:
            left_out.append(str(error) if isinstance(error, UnreadableFileError) else f"{file}: {error}")
            continue
        output = sampler.show(None, condition)
        baseline = next(iter(game.baselines(condition, tuple(output.shape[2:])).values()))
        baseline = like(game.as_data(baseline), output.shape[1:])
        save_image(output[0], out / "images" / path)
        save_image(rows_of([baseline, output]), out / "compared" / path)
    if left_out:
        raise UserError(f"input: {len(left_out)} of {len(files)} images were left out:\n  " + "\n  ".join(left_out))
    return len(files)


def image_files(path: Path) -> list[Path]:
    """Return an image file, or all below a folder. Raise UserError if there is none."""
    if not path.exists():
        raise UserError(f"input={path}: there is no such file or folder")
    files = [path]
    if path.is_dir():
        below = (Path(folder, name) for folder, names in walk(path) for name in names)
        files = sorted(f for f in below if f.suffix.lower() in SUFFIXES and not f.name.startswith("."))
    if not files:
        raise UserError(f"input={path}: no image ({', '.join(sorted(SUFFIXES))}) in it or below it")
    return files


def _open(file: Path, channels: int) -> tuple[Tensor, Tensor]:
    """Return an image (1, C, H, W) uint8 on white, and (1, 1, H, W) float32, 1 where it is transparent, else 0."""
    with decoding(file):
        image = in_8_bits(read(file))
        transparent = np.zeros((image.height, image.width), dtype=np.float32)
        if is_transparent(image):
            transparent = (np.asarray(image.convert("RGBA"))[:, :, 3] < 128).astype(np.float32)
        pixels = pil_to_tensor(on_white(image).convert("L" if channels == 1 else "RGB"))
    return pixels[None], torch.from_numpy(transparent)[None, None]
