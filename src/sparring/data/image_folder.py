"""A person's own folder of images."""

from pathlib import Path

from pydantic import PositiveInt

from sparring.data.file_listing import list_files
from sparring.data.image_io import SUFFIXES
from sparring.data.source import Channels, Crop, Files, OnBadImage


class ImageFolder(Files):
    """Every jpg, png, webp and bmp below a folder, however nested.

    Args:
        path: the folder.
        labels: whether the first level of sub-folders names the classes; None: if there are at least two of them and no
            file lies outside.
        crop: side of the centre square, in pixels of the files; None for the shorter side.

    Raises:
        UserError: the folder is missing or holds no such file.
    """

    suffixes, content = SUFFIXES, "image"  # of the files

    def __init__(
        self,
        path: str,
        image_size: PositiveInt = 64,
        channels: Channels = 3,
        labels: bool | None = False,
        crop: Crop | None = None,
        on_bad_image: OnBadImage = "error",
    ):
        files, class_names = list_files(path, self.suffixes, self.content, labels)
        super().__init__(Path(path).expanduser(), files, image_size, channels, class_names, crop, on_bad_image)
