"""Clips: the embedded digits, moving, and a person's own folder of animations."""

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from PIL import ImageSequence
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from sparring.data.array_files import MNISTMini
from sparring.data.dataset import Data
from sparring.data.image_folder import listed
from sparring.data.image_io import fit, opened
from sparring.data.modalities.volumes import Clips
from sparring.data.source import Example, Files, Listing
from sparring.data.volumes import Volumetric
from sparring.randomness import generator
from sparring.storage.tensor_files import hash_of

DIRECTIONS = ("right", "down", "left", "up")


class MovingDigits(Volumetric):
    """Each of the 5,000 embedded digits going straight through a black frame and coming back from its borders, the same for every seed:
    Moving MNIST (Srivastava et al. 2015, Unsupervised learning of video representations using LSTMs), made small, of one digit.

    The label tells the digit and whither it sets out, so that who learns to tell the labels apart has to look at shape and motion:
    10 * direction + digit, with an angle of up to 30 degrees to that direction. A digit starts in the half of the frame from
    which it does not come to a border at once.

    Args:
        frames: of a clip.
        image_size: pixels of a side.
        channels: always 1.
        digit_size: pixels of a digit's side, its black margin included.
        speed: pixels a frame, from half of it to one and a half times as much.
    """

    modality = "clips"

    def __init__(
        self,
        frames: int = 8,
        image_size: int = 24,
        channels: Literal[1] = 1,
        digit_size: int = 18,
        speed: float = 1.5,
    ):
        super().__init__(
            image_size, channels, [f"{digit} {direction}" for direction in DIRECTIONS for digit in range(10)]
        )
        if not frames or not 0 < digit_size < image_size:
            raise ValueError(
                f"frames={frames} digit_size={digit_size}: wanted one frame or more, and digits smaller than image_size={image_size}"
            )
        self.frames, self.digit_size, self.speed = frames, digit_size, speed

    def identity(self) -> dict:
        return {"frames": self.frames, "digit_size": self.digit_size, "speed": self.speed}

    def __len__(self) -> int:
        return 5000

    def __iter__(self) -> Iterator[Example]:
        columns = self.drawn().columns
        yield from zip(columns["images"].numpy(), columns["labels"].tolist(), strict=True)

    def drawn(self) -> Data:
        pixels, digits = map(torch.from_numpy, MNISTMini().load())
        small = interpolate(pixels[:, None].float(), [self.digit_size] * 2, mode="bilinear", antialias=True)
        directions = torch.arange(len(small)) % len(DIRECTIONS)  # digits lie by class
        parts = zip(small.split(200), self._corners(directions).split(200), strict=True)
        columns = {"images": torch.cat([self._clips(*part) for part in parts]), "labels": 10 * directions + digits}
        return Data(columns, hash_of(columns), self.class_names, name=self.name, modality=Clips())

    def _corners(self, directions: Tensor) -> Tensor:
        """Where the left upper corners of digits that set out to directions (batch,) lie: (batch, frames, 2), x and y in pixels."""
        numbers = torch.rand(len(directions), 4, generator=generator("moving digits"))
        room = self.image_size - self.digit_size
        angles = directions * (math.pi / 2) + math.radians(30) * (2 * numbers[:, 0] - 1)
        ahead = torch.stack([angles.cos(), angles.sin()], 1)
        start = numbers[:, 1:3]  # as a share of the room
        start = torch.where(ahead > 0.5, start / 2, torch.where(ahead < -0.5, 1 - start / 2, start))
        steps = torch.arange(self.frames)[:, None] * self.speed * (0.5 + numbers[:, 3, None, None])
        gone = (room * start[:, None] + ahead[:, None] * steps) % (2 * room)  # as if the borders were mirrors
        return room - (gone - room).abs()

    def _clips(self, digits: Tensor, corners: Tensor) -> Tensor:
        """Digits (batch, 1, digit_size, digit_size) at corners (batch, frames, 2): (batch, 1, frames, image_size, image_size) uint8."""
        size, frames = self.image_size, self.frames
        matrices = torch.zeros(len(digits), frames, 2, 3)
        matrices[..., 0, 0] = matrices[..., 1, 1] = size / self.digit_size
        matrices[..., 2] = (size - self.digit_size - 2 * corners) / self.digit_size
        grid = affine_grid(matrices.flatten(0, 1), [len(digits) * frames, 1, size, size], align_corners=False)
        moved = grid_sample(digits.repeat_interleave(frames, 0), grid, align_corners=False)
        return moved.round().to(torch.uint8).view(-1, 1, frames, size, size)


class ClipFolder(Volumetric, Files):
    """Every GIF below a folder, however nested.

    Args:
        path: the folder.
        image_size: pixels of a side.
        frames: of a clip: what an animation shows at as many equally distant times.
        channels: 1 or 3.
        labels: the first level of sub-folders names the classes; null if there are at least two, and no file lies beside.
        crop: side of the centre square that is kept, in pixels of the files; by default the shorter side.
        on_bad_image: ``error`` or ``skip``.
    """

    modality = "clips"

    def __init__(
        self,
        path: str,
        image_size: int = 64,
        frames: int = 16,
        channels: int = 3,
        labels: bool | None = None,
        crop: int | None = None,
        on_bad_image: Literal["error", "skip"] = "error",
    ):
        self.path = Path(path).expanduser()
        self._files, names = listed(path, {".gif"}, "animation", labels)
        super().__init__(image_size, channels, names, crop, on_bad_image)
        self.frames = frames

    @property
    def name(self) -> str:
        return self.path.absolute().name

    def files(self) -> Listing:
        return self._files

    def identity(self) -> dict:
        return super().identity() | {"frames": self.frames}

    def fitted(self, path: Path) -> np.ndarray:
        with opened(path) as animation:
            pictures, ends = [], []
            for picture in ImageSequence.Iterator(animation):
                pictures.append(fit(picture.copy(), self.image_size, self.channels, self.crop))
                ends.append((ends or [0])[-1] + max(picture.info.get("duration", 0), 1))
        times = np.arange(self.frames) / self.frames * ends[-1]
        return np.stack([pictures[i] for i in np.searchsorted(ends, times, side="right")], 1)
