"""A folder of JPEG files such as people have, made of whatever data are at hand, and the loader they read it with."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from omegaconf import DictConfig
from PIL import Image
from torch.utils.data import DataLoader, RandomSampler

from sparring.data import cache
from sparring.evaluation.image_sets import Decoded, Subset
from sparring.training.build import open_source


def write(cfg: DictConfig, folder: Path, count: int, width: int = 178, height: int = 218) -> Path:
    """``count`` images of the configured data as JPEG files, by default of the size of CelebA's aligned photographs.

    They are enlarged and cut to that size. Returns ``folder``, in which they lie in one sub-folder, as ImageFolder wants.
    """
    data = cache.load(open_source(cfg), cfg.cache)
    images = Subset(Decoded(data), min(count, len(data)))
    (folder / "all").mkdir(parents=True)

    def save(i: int) -> None:
        row = i % len(images)
        pixels = images.images(range(row, row + 1))[0].expand(3, -1, -1).permute(1, 2, 0).contiguous()
        whole = Image.fromarray(pixels.numpy()).resize((height, height), Image.Resampling.BICUBIC)
        left = (height - width) // 2
        whole.crop((left, 0, left + width, height)).save(folder / "all" / f"{i:06}.jpg", quality=90)

    with ThreadPoolExecutor() as threads:
        list(threads.map(save, range(count)))
    return folder


def loader(folder: Path, image_size: int, batch_size: int, workers: int, pin_memory: bool = False) -> DataLoader:
    """ImageFolder and DataLoader as in PyTorch's DCGAN example: (batch, 3, H, W) in [-1, 1], without an end."""
    from torchvision import transforms
    from torchvision.datasets import ImageFolder

    transform = transforms.Compose(
        [
            transforms.Resize(image_size),
            transforms.CenterCrop(image_size),
            transforms.ToTensor(),
            transforms.Normalize((0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
        ]
    )
    images = ImageFolder(str(folder), transform)
    endless = RandomSampler(images, replacement=True, num_samples=10**9)  # an epoch of few files is soon over
    return DataLoader(
        images, batch_size, sampler=endless, num_workers=workers, pin_memory=pin_memory, persistent_workers=workers > 0
    )
