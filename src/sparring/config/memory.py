"""What an experiment takes of the memory, told before it is taken. Importing this imports no torch."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from omegaconf import DictConfig, OmegaConf

from sparring.config.errors import UserError
from sparring.config.values import leaves

if TYPE_CHECKING:
    from torch import nn

LIMITS = ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes")  # of a container
COPIES = 4  # of a parameter in training: itself, its gradient, and the two averages of Adam
USUAL = {"model": 1024, "image_size": 256}  # networks of no greater numbers are built without being counted first
FULL = re.compile(
    r"can't allocate memory|not enough memory|out of memory|Unable to allocate|Cannot allocate memory|overflow(ed)?\b.*(numel|size)"
    r"|(numel|size).*overflow|failed to map|unable to mmap",
    re.IGNORECASE,
)


def available() -> int:
    """Bytes that this process may have: of the machine, or of the container or limit (``ulimit -v``) it runs in."""
    import psutil

    sizes = [psutil.virtual_memory().total]
    for path in LIMITS:
        with suppress(OSError, ValueError):  # there is none
            sizes.append(int(Path(path).read_text()))
    with suppress(ImportError):  # on Windows, which has no such limits
        import resource

        if (limit := resource.getrlimit(resource.RLIMIT_AS)[0]) != resource.RLIM_INFINITY:
            sizes.append(limit)
    return min(sizes)


def require(size: float, what: str, remedy: str) -> None:
    """Raise UserError if ``size`` bytes for ``what`` are more than this machine has."""
    if size > (there := available()):
        raise UserError(
            f"{what} take {size / 2**30:.3g} GiB of memory at least, and {there / 2**30:.3g} GiB are there: {remedy}"
        )


def numbers_of(data: DictConfig) -> int:
    """In an example: of pixels, of frames of them, of a sound's samples, of letters."""
    channels = max(data.channels, data.get("input_channels") or 0)
    return channels * data.image_size**2 * (data.get("frames") or 1) * (data.get("length") or 1)


def check_sizes(cfg: DictConfig) -> None:
    """Raise UserError if batches, grids or drawn data can't be held: a lower bound of what they take."""
    data = cfg.data
    numbers = numbers_of(data)
    turn, part = cfg.n_dis * data.batch_size, data.batch_size // cfg.accumulate
    here = f"of data.image_size={data.image_size}"
    require(
        numbers * (turn + 12 * part),  # bytes of all turns; floats of reals, of fakes and of their gradients
        f"data.batch_size={data.batch_size} n_dis={cfg.n_dis} accumulate={cfg.accumulate}: the images of an iteration, {here},",
        "choose a smaller batch or a larger accumulate",
    )
    require(5 * numbers * cfg.grid.count, f"grid.count={cfg.grid.count}: its images, {here},", "choose fewer")
    if latents := OmegaConf.select(cfg, "model.latent_dim"):
        batch = f"data.batch_size={data.batch_size} model.latent_dim={latents}: the latents of a batch"
        require(4 * latents * data.batch_size, batch, "choose a smaller one")
    if (size := OmegaConf.select(cfg, "evaluation.batch_size")) is not None:
        require(5 * numbers * size, f"evaluation.batch_size={size}: a batch, {here},", "choose a smaller one")
    if count := data.get("count"):
        size = 8 * data.channels + 16 if data.image_size == 1 else numbers + 8
        require(count * size, f"data.count={count}: the {data.get('modality') or 'examples'}", "choose fewer")


def check_samples(wanted: DictConfig, data: DictConfig) -> None:
    """Raise UserError if the samples of a run of these data, and the walk between them, can't be held."""
    numbers, of = numbers_of(data), f"of data.image_size={data.image_size}"
    require(2 * numbers * wanted.count, f"sample.count={wanted.count}: images {of}, and their grid,", "choose fewer")
    each = wanted.get("rows", 0) if wanted.get("kind", "samples") != "samples" else 16
    require(
        each * numbers * wanted.frames, f"sample.frames={wanted.frames}: of {each} images {of} each,", "choose fewer"
    )
    walks = wanted.get("rows", 0) * wanted.get("steps", 0)
    require(
        3 * numbers * walks,
        f"sample.rows={wanted.get('rows')} sample.steps={wanted.get('steps')}: images {of},",
        "choose fewer",
    )


def check_networks(cfg: DictConfig, build: Callable[[], "nn.Module"]) -> None:
    """Raise UserError if networks of unusual sizes can't be held; they are built without their memory to be counted.

    Args:
        cfg: the experiment.
        build: makes its game, on the device that is set.
    """
    import torch

    sizes = [
        value for _, value in leaves(OmegaConf.to_container(cfg.model, resolve=True), lists=True) if type(value) is int
    ]
    largest = max(sizes, default=0)
    if largest <= USUAL["model"] and cfg.data.image_size <= USUAL["image_size"]:
        return
    said = f"model.width={cfg.model.get('width')} data.image_size={cfg.data.image_size}"
    with explain_exhaustion(f"model: networks of {largest} in one of their sizes"), torch.device("meta"):
        game = build()
    numbers = COPIES * sum(p.numel() for p in game.parameters()) + sum(b.numel() for b in game.buffers())
    require(4 * numbers, f"{said}: the networks in training", "choose smaller ones")


@contextmanager
def explain_exhaustion(doing: str = "") -> Iterator[None]:
    """Memory that is full while something is done becomes a UserError that names what to make smaller."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # torch says it in many ways
        chain = [error, *filter(None, (error.__cause__, error.__context__))]
        if not any(isinstance(each, MemoryError) or FULL.search(str(each)) for each in chain):
            raise
        first = next((line.strip() for line in str(error).splitlines() if FULL.search(line)), type(error).__name__)
        raise UserError(
            f"{doing or 'the memory'} {'take more memory than there is' if doing else 'is full'} ({first[:200]}). Make smaller: "
            "data.batch_size (or accumulate larger), model.width, data.image_size, grid.count, evaluation.batch_size, sample.count"
        ) from error
