"""Files of arrays, .npy and .npz: their headers say what they hold, and nothing in them is unpickled."""

import math
import os
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from numpy.lib import format as npy


class NoArrays(ValueError):
    """A file that is no .npy or .npz of plain arrays, or is damaged, and why."""


class Header(NamedTuple):
    """What an array is, before it is read."""

    dtype: np.dtype
    shape: tuple[int, ...]

    def __str__(self) -> str:
        return f"{self.dtype} {self.shape}"

    @property
    def size(self) -> int:
        """In bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


class ArraysIn:
    """The arrays of a .npz by their names, or the one of a .npy.

    Args:
        path: the file.
        only: what the array of a .npy is called.

    Raises:
        NoArrays: the file can't be read, here or later.
    """

    def __init__(self, path: Path, only: str = "images"):
        self.path, self._packed = path, True
        with self._named():
            if not path.is_file():  # a pipe would be waited for
                raise ValueError("it is no regular file")
            with open(path, "rb") as file:
                start = file.read(6)
            if start == npy.MAGIC_PREFIX:
                self._packed, self.names = False, [only]
            elif start.startswith(b"PK"):
                with zipfile.ZipFile(path) as archive:
                    self.names = [n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy")]
            else:
                raise ValueError(f"it starts with {start!r}" if start else "it is empty")

    def header(self, name: str) -> Header:
        """Of an array: one that is as long as it says, and of no Python objects."""
        with self._named(), self._opened(name) as (file, length):
            reader = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(npy.read_magic(file))
            if reader is None:
                raise ValueError(f"{name} is of an unknown version")
            shape, _, dtype = reader(file)
            header, left = Header(dtype, shape), length - file.tell()
            if dtype.hasobject:
                raise ValueError(f"{name} holds Python objects, which are never unpickled")
            if min(shape, default=0) < 0 or header.size > left:
                raise ValueError(f"{name} is to be {header} and holds {left:,} bytes")
            return header

    def read(self, name: str) -> np.ndarray:
        """An array: of a .npy mapped, of a .npz in memory."""
        size = self.header(name).size
        with self._named():
            if not self._packed:
                return np.load(self.path, mmap_mode="r", allow_pickle=False)
            if size > (free := free_memory()):
                raise ValueError(
                    f"{name} takes {size / 2**30:.1f} GiB of memory, {free / 2**30:.1f} GiB are free; "
                    "a .npy, as np.save writes it, is read piece by piece"
                )
            with self._opened(name) as (file, _):
                array = npy.read_array(file, allow_pickle=False)
                file.read(1)  # at its end the checksum is looked at
                return array

    @contextmanager
    def _opened(self, name: str) -> Iterator[tuple[BinaryIO, int]]:
        """The array's file, and how many bytes it holds."""
        if not self._packed:
            with open(self.path, "rb") as file:
                yield file, self.path.stat().st_size
            return
        with zipfile.ZipFile(self.path) as archive, archive.open(f"{name}.npy") as file:
            yield file, archive.getinfo(f"{name}.npy").file_size

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # numpy's, zipfile's, zlib's, the parser's, the system's
            reason = str(error).strip().partition("\n")[0]
            raise NoArrays(reason or type(error).__name__) from error


def free_memory() -> int:
    """Bytes that can still be had, where Linux tells; else all there are."""
    try:
        told = dict(line.split(":") for line in Path("/proc/meminfo").read_text().splitlines())
        return int(told["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
