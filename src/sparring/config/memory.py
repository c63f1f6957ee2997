"""Refuse an experiment that the memory can't hold, before it is built. Importing this imports no torch."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from sparring.config.errors import UserError
from sparring.config.values import leaves, plain

if TYPE_CHECKING:
    from torch import nn

LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container
COPIES = 4  # of a parameter in training: itself, its gradient, and the two averages of Adam
USUAL = {"model": 1024, "image_size": 256}  # networks without larger sizes are not counted
FULL = re.compile(
    r"can't allocate memory|not enough memory|out of memory|Unable to allocate|Cannot allocate memory|unable to mmap"
    r"|overflow(ed)?\b.*(numel|size)|(numel|size).*overflow|failed to map",
    re.IGNORECASE,
)


def available() -> int:
    """Return the bytes that this process may use: of the machine, the container, or a limit (``ulimit -v``)."""
    import psutil

    sizes = [psutil.virtual_memory().total]
    for path in LIMITS:
        with suppress(OSError, ValueError):  # no such file, or "max"
            sizes.append(int(Path(path).read_text()))
    with suppress(ImportError):  # on Windows, which has no such limits
        import resource

        if (limit := resource.getrlimit(resource.RLIMIT_AS)[0]) != resource.RLIM_INFINITY:
            sizes.append(limit)
    return min(sizes)


def require(size: float, subject: str, remedy: str) -> None:
    """Raise UserError if ``size`` bytes for a subject (a plural) are more than this process may use."""
    if size > (limit := available()):
        raise UserError(
            f"{subject} take {size / 2**30:.3g} GiB of memory or more; there are {limit / 2**30:.3g}: {remedy}"
        )


def example_size(data: DictConfig) -> int:
    """Return the numbers in an example: pixels, voxels, samples of a sound, or letters."""
    channels = max(data.channels, data.get("input_channels") or 0)
    return channels * data.image_size**2 * (data.get("frames") or 1) * (data.get("length") or 1)


def check_sizes(cfg: DictConfig) -> None:
    """Raise UserError if batches, grids or generated data can't be held; computed as lower bounds."""
    data, size = cfg.data, example_size(cfg.data)
    images, batch = f"images of data.image_size={data.image_size}", f"data.batch_size={data.batch_size}"
    # bytes of all turns; floats of a part's reals, fakes and their gradients
    iteration = size * (cfg.n_dis * data.batch_size + 12 * data.batch_size // cfg.accumulate)
    keys = f"{batch} n_dis={cfg.n_dis} accumulate={cfg.accumulate}"
    require(iteration, f"{keys}: an iteration's {images}", "choose a smaller batch or a larger accumulate")
    require(5 * size * cfg.grid.count, f"grid.count={cfg.grid.count}: {images}", "choose fewer")
    if latents := OmegaConf.select(cfg, "model.latent_dim"):
        subject = f"{batch} model.latent_dim={latents}: the latents of a batch"
        require(4 * latents * data.batch_size, subject, "choose a smaller one")
    if (count := OmegaConf.select(cfg, "evaluation.batch_size")) is not None:
        require(5 * size * count, f"evaluation.batch_size={count}: {images}", "choose a smaller one")
    if count := data.get("count"):
        bytes_each = 8 * data.channels + 16 if data.image_size == 1 else size + 8
        require(count * bytes_each, f"data.count={count}: the {data.get('modality') or 'examples'}", "choose fewer")


def check_samples(sample: DictConfig, data: DictConfig) -> None:
    """Raise UserError if the samples of ``task=sample``, or the walks between them, can't be held."""
    size, images = example_size(data), f"images of data.image_size={data.image_size}"
    rows, steps = sample.get("rows", 0), sample.get("steps", 0)
    walks = 16 if sample.get("kind", "samples") == "samples" else rows
    require(2 * size * sample.count, f"sample.count={sample.count}: {images}, and their grid,", "choose fewer")
    require(walks * size * sample.frames, f"sample.frames={sample.frames}: {images}, {walks} each,", "choose fewer")
    require(3 * size * rows * steps, f"sample.rows={rows} sample.steps={steps}: {images}", "choose fewer")


def check_networks(cfg: DictConfig, build: Callable[[], "nn.Module"]) -> None:
    """Raise UserError if networks of unusual sizes can't be held.

    Args:
        cfg: the experiment.
        build: returns its game on the current device. It is called on the meta device, to count the parameters.
    """
    import torch

    sizes = [v for _, v in leaves(plain(cfg.model), lists=True) if type(v) is int]
    largest = max(sizes, default=0)
    if largest <= USUAL["model"] and cfg.data.image_size <= USUAL["image_size"]:
        return
    with explain_exhaustion(f"model: networks with a size of {largest}"), torch.device("meta"):
        game = build()
    numbers = COPIES * sum(p.numel() for p in game.parameters()) + sum(b.numel() for b in game.buffers())
    keys = f"model.width={cfg.model.get('width')} data.image_size={cfg.data.image_size}"
    require(4 * numbers, f"{keys}: the networks in training", "choose smaller ones")


@contextmanager
def explain_exhaustion(subject: str = "") -> Iterator[None]:
    """Turn errors of a full memory into a UserError that names the keys to make smaller.

    Args:
        subject: what takes the memory, a plural, with its key.
    """
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # torch has many for it
        chain = [error, *filter(None, (error.__cause__, error.__context__))]
        if not any(isinstance(each, MemoryError) or FULL.search(str(each)) for each in chain):
            raise
        first = next((line.strip() for line in str(error).splitlines() if FULL.search(line)), type(error).__name__)
        problem = f"{subject} take more memory than there is" if subject else "the memory is full"
        raise UserError(
            f"{problem} ({first[:200]}). Make smaller: data.batch_size (or accumulate larger), model.width, "
            "data.image_size, grid.count, evaluation.batch_size, sample.count"
        ) from error
