"""A folder of JPEG files such as people have, made from any data, and the loader that people read it with."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

from omegaconf import DictConfig
from PIL import Image, ImageOps
from pydantic import Field
from torch.utils.data import DataLoader, RandomSampler
from torchvision import datasets, transforms
from torchvision.transforms.functional import to_pil_image

from sparring.data import cache
from sparring.evaluation.image_sets import Decoded, Subset
from sparring.training.build import open_source

Workers = Annotated[int, Field(ge=0, le=256)]
SIZE = (178, 218)  # of CelebA's aligned photographs, in pixels


def write(cfg: DictConfig, folder: Path, count: int) -> Path:
    """Write ``count`` images of the configured data, enlarged and cropped to the size of CelebA's, as JPEG files.

    Returns:
        ``folder``; the files are in one sub-folder, as ImageFolder wants.
    """
    data = cache.load(open_source(cfg), cfg.cache)
    images = Subset(Decoded(data), min(count, len(data)))
    (folder / "all").mkdir(parents=True)

    def save(i: int) -> None:
        row = i % len(images)
        image = to_pil_image(images.images(range(row, row + 1))[0].expand(3, -1, -1))
        ImageOps.fit(image, SIZE, Image.Resampling.BICUBIC).save(folder / "all" / f"{i:06}.jpg", quality=90)

    with ThreadPoolExecutor() as threads:
        list(threads.map(save, range(count)))
    return folder


def loader(folder: Path, image_size: int, batch_size: int, workers: int, pin_memory: bool = False) -> DataLoader:
    """Return ImageFolder and DataLoader as in PyTorch's DCGAN example: endless batches (batch, 3, H, W) in [-1, 1]."""
    steps = [transforms.Resize(image_size), transforms.CenterCrop(image_size), transforms.ToTensor()]
    transform = transforms.Compose([*steps, transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5))])
    images = datasets.ImageFolder(str(folder), transform)
    endless = RandomSampler(images, replacement=True, num_samples=10**9)  # an epoch of few files is soon over
    options = {"num_workers": workers, "pin_memory": pin_memory, "persistent_workers": workers > 0}
    return DataLoader(images, batch_size, sampler=endless, **options)
