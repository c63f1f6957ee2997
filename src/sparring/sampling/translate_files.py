"""A translating generator and a person's own images, each at its own size."""

import os
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torchvision.transforms.functional import pil_to_tensor

from sparring.config.errors import UserError
from sparring.data.image_folder import walk
from sparring.data.image_grids import rows_of, save_image
from sparring.data.image_io import SUFFIXES, Unreadable, decoding, in_8_bits, is_transparent, on_white, read
from sparring.evaluation.image_sets import like
from sparring.evaluation.sampler import Sampler

LONGEST_NAME = 230  # bytes; file systems take 255, and a file has a longer name while it is written


def translate_files(sampler: Sampler, given: Path, channels: int, out: Path) -> int:
    """Write what a sampler makes of an image file, or of all below a folder, to ``out``: ``images/NAME.png``, and
    ``compared/NAME.png`` beside what was given. Transparent pixels are lost ones, to a model that fills such in; to others
    they are white, as in training.

    NAME is the file's, with the folders above it, and without its ending unless that alone tells two files apart.

    Args:
        sampler: of a game that translates.
        given: the file or folder.
        channels: 1 or 3, of what the model is given.
        out: the folder to write to.

    Returns:
        how many images there were.

    Raises:
        UserError: there is no image; or, when all others were written, which can't be answered to.
    """
    files = image_files(given)
    clash = len({file.with_suffix("") for file in files}) < len(files)  # a.png and a.jpg
    left_out = []
    for file in files:
        name = Path(file.name) if file == given else file.relative_to(given)
        path = name.with_name(f"{name.name if clash else name.stem}.png")
        try:
            if len(os.fsencode(path.name)) > LONGEST_NAME:
                raise UserError(f"its name is too long for an answer's; wanted: at most {LONGEST_NAME} bytes")
            image, lost = _opened(file, channels)
            condition = sampler.game.told(sampler.game.scaled(image), lost)
        except UserError as error:
            left_out.append(str(error) if isinstance(error, Unreadable) else f"{file}: {error}")
            continue
        made = sampler.show(None, condition)
        beside = next(iter(sampler.game.baselines(condition, tuple(made.shape[2:])).values()))
        beside = like(sampler.game.as_data(beside), made.shape[1:])
        save_image(made[0], out / "images" / path)
        save_image(rows_of([beside, made]), out / "compared" / path)
    if left_out:
        raise UserError(f"input: {len(left_out)} of {len(files)} images were left out:\n  " + "\n  ".join(left_out))
    return len(files)


def image_files(given: Path) -> list[Path]:
    """An image file, or all below a folder. Raises UserError if there is none."""
    if not given.exists():
        raise UserError(f"input={given}: there is no such file or folder")
    files = [given]
    if given.is_dir():
        files = sorted(f for folder, names in walk(given) for f in (Path(folder, n) for n in names) if _is_image(f))
    if not files:
        raise UserError(f"input={given}: no image ({', '.join(sorted(SUFFIXES))}) in it or below it")
    return files


def _is_image(file: Path) -> bool:
    return file.suffix.lower() in SUFFIXES and not file.name.startswith(".")


def _opened(file: Path, channels: int) -> tuple[Tensor, Tensor]:
    """A file as an image (1, C, H, W) uint8, laid on white, and where it is transparent (1, 1, H, W), 1 or 0."""
    with decoding(file):
        image = in_8_bits(read(file))
        lost = np.zeros((image.height, image.width), dtype=np.float32)
        if is_transparent(image):
            lost = (np.asarray(image.convert("RGBA"))[:, :, 3] < 128).astype(np.float32)
        pixels = pil_to_tensor(on_white(image).convert("L" if channels == 1 else "RGB"))
    return pixels[None], torch.from_numpy(lost)[None, None]
