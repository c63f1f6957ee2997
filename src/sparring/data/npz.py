"""Arrays in .npy and .npz files: read by their headers first, and never unpickled."""

import math
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
import psutil
from numpy.lib import format as npy

from sparring.data.image_io import check_regular_file


class ArrayFileError(ValueError):
    """A file that is no .npy or .npz of plain arrays, or is damaged; the message says why."""


class Header(NamedTuple):
    """Type and shape of an array, read before its content."""

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
        only: the name to give to the array of a .npy.

    Raises:
        ArrayFileError: the file can't be read, here or later.
    """

    def __init__(self, path: Path, only: str = "images"):
        self.path = path
        with self._errors():
            check_regular_file(path)
            with open(path, "rb") as file:
                start = file.read(6)
            if start == npy.MAGIC_PREFIX:
                self._packed, self.names = False, [only]
            elif start.startswith(b"PK"):
                with zipfile.ZipFile(path) as archive:
                    self._packed = True
                    self.names = [n.removesuffix(".npy") for n in archive.namelist() if n.endswith(".npy")]
            else:
                raise ValueError(f"it starts with {start!r}" if start else "it is empty")

    def header(self, name: str) -> Header:
        """Return the header of an array that is as long as it says and holds no Python objects."""
        with self._errors(), self._opened(name) as (file, length):
            reader = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}.get(npy.read_magic(file))
            if reader is None:
                raise ValueError(f"{name} is of an unknown version")
            shape, _, dtype = reader(file)
            header, left = Header(dtype, shape), length - file.tell()
            if dtype.hasobject:
                raise ValueError(f"{name} holds Python objects, which are never unpickled")
            if min(shape, default=0) < 0 or header.size > left:
                raise ValueError(f"{name} should be {header} but holds {left:,} bytes")
            return header

    def read(self, name: str) -> np.ndarray:
        """Return an array: memory-mapped from a .npy, in memory from a .npz."""
        size = self.header(name).size
        with self._errors():
            if not self._packed:
                return np.load(self.path, mmap_mode="r", allow_pickle=False)
            if size > (free := psutil.virtual_memory().available):
                raise ValueError(
                    f"{name} takes {size / 2**30:.1f} GiB of memory, {free / 2**30:.1f} GiB are free; "
                    "a .npy, as np.save writes it, is read piece by piece"
                )
            with self._opened(name) as (file, _):
                array = npy.read_array(file, allow_pickle=False)
                file.read(1)  # the zip module verifies the checksum at the end
                return array

    @contextmanager
    def _opened(self, name: str) -> Iterator[tuple[IO[bytes], int]]:
        """Open an array's file; yield it and its length in bytes."""
        if not self._packed:
            with open(self.path, "rb") as file:
                yield file, self.path.stat().st_size
            return
        with zipfile.ZipFile(self.path) as archive, archive.open(f"{name}.npy") as file:
            yield file, archive.getinfo(f"{name}.npy").file_size

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:  # from numpy, zipfile, zlib, the header's parser, the system
            reason = str(error).strip().partition("\n")[0]
            raise ArrayFileError(reason or type(error).__name__) from error
