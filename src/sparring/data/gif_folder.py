"""A person's own folder of animations (GIF)."""

from pathlib import Path

import numpy as np
from PIL import ImageSequence
from pydantic import PositiveInt

from sparring.data.image_folder import ImageFolder
from sparring.data.image_io import opened
from sparring.data.image_resizing import fit
from sparring.data.source import Channels, Crop, OnBadImage
from sparring.data.volume_file import Frames, Volumetric


class ClipFolder(Volumetric, ImageFolder):
    """Every GIF below a folder, however nested.

    Args:
        path: the folder.
        frames: of a clip: what an animation shows at as many equally distant times.
    """

    modality = "clips"
    suffixes, content = {".gif"}, "animation"

    def __init__(
        self,
        path: str,
        image_size: PositiveInt = 64,
        frames: Frames = 16,
        channels: Channels = 3,
        labels: bool | None = None,
        crop: Crop | None = None,
        on_bad_image: OnBadImage = "error",
    ):
        super().__init__(path, image_size, channels, labels, crop, on_bad_image)
        self.frames = frames

    def identity(self) -> dict:
        return super().identity() | {"frames": self.frames}

    def decode(self, path: Path) -> np.ndarray:
        with opened(path) as animation:
            pictures, ends = [], []  # of each frame, and the time in milliseconds at which it ends
            for picture in ImageSequence.Iterator(animation):
                pictures.append(fit(picture.copy(), self.image_size, self.channels, self.crop))
                ends.append((ends or [0])[-1] + max(picture.info.get("duration", 0), 1))
        times = np.arange(self.frames) / self.frames * ends[-1]
        return np.stack([pictures[i] for i in np.searchsorted(ends, times, side="right")], 1)
