"""Moving digits: small clips made of the embedded MNIST digits."""

import math
from typing import Annotated, Literal

import torch
from pydantic import Field, PositiveInt
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate

from sparring.data.dataset import Data
from sparring.data.mnist import MNISTMini
from sparring.data.modalities.volumes import Clips
from sparring.data.volume_file import Frames, Volumetric
from sparring.randomness import generator
from sparring.storage.tensor_files import hash_of

DIRECTIONS = ("right", "down", "left", "up")


class MovingDigits(Volumetric):
    """Each of the 5,000 embedded digits moving straight through a black frame and bouncing off its borders.

    A small Moving MNIST (Srivastava et al. 2015) of one digit, the same for every seed. The label is 10 * direction +
    digit, within 30 degrees of the direction, so that a classifier must look at shape and motion. A digit starts in the
    half of the frame from which it does not reach a border at once.

    Args:
        frames: of a clip.
        digit_size: pixels of a digit's side, its black margin included; less than ``image_size``.
        speed: pixels a frame; a digit's is a half to one and a half times as much.
    """

    modality = "clips"

    def __init__(
        self,
        frames: Frames = 8,
        image_size: PositiveInt = 24,
        channels: Literal[1] = 1,
        digit_size: Annotated[int, Field(ge=1, le=65_536)] = 18,
        speed: Annotated[float, Field(gt=0)] = 1.5,
    ):
        names = [f"{digit} {direction}" for direction in DIRECTIONS for digit in range(10)]
        super().__init__(image_size, channels, names)
        if digit_size >= image_size:
            raise ValueError(f"digit_size={digit_size}: must be less than image_size={image_size}")
        self.frames, self.digit_size, self.speed = frames, digit_size, speed

    def drawn(self) -> Data:
        pixels, digits = map(torch.from_numpy, MNISTMini().load())
        small = interpolate(pixels[:, None].float(), [self.digit_size] * 2, mode="bilinear", antialias=True)
        directions = torch.arange(len(small)) % len(DIRECTIONS)  # digits are sorted by class
        parts = zip(small.split(200), self._corners(directions).split(200), strict=True)
        columns = {"images": torch.cat([self._clips(*part) for part in parts]), "labels": 10 * directions + digits}
        return Data(columns, hash_of(columns), self.class_names, name=self.name, modality=Clips())

    def _corners(self, directions: Tensor) -> Tensor:
        """Return the upper left corners (batch, frames, 2), x and y in pixels, of digits by direction (batch,)."""
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
        """Place digits (batch, 1, H, W) at corners (batch, frames, 2): clips (batch, 1, frames, size, size) uint8."""
        size, frames = self.image_size, self.frames
        matrices = torch.zeros(len(digits), frames, 2, 3)
        matrices[..., 0, 0] = matrices[..., 1, 1] = size / self.digit_size
        matrices[..., 2] = (size - self.digit_size - 2 * corners) / self.digit_size
        grid = affine_grid(matrices.flatten(0, 1), [len(digits) * frames, 1, size, size], align_corners=False)
        moved = grid_sample(digits.repeat_interleave(frames, 0), grid, align_corners=False)
        return moved.round().to(torch.uint8).view(-1, 1, frames, size, size)
