"""The format of MNIST's files."""

import math
from pathlib import Path

import numpy as np


def read(path: Path, ndim: int) -> np.ndarray:
    """The uint8 array of ``ndim`` dimensions that an IDX file holds, after a header: two zeros, the type, the number of
    dimensions, and each of them in four bytes, big-endian.

    Raises:
        OSError, ValueError: there is none in it.
    """
    with open(path, "rb") as file:
        if (start := file.read(4)) != bytes([0, 0, 8, ndim]):
            raise ValueError(f"it starts with {start!r}")
        shape = tuple(int.from_bytes(file.read(4), "big") for _ in range(ndim))
        held = path.stat().st_size - file.tell()
        if held != math.prod(shape) or not held:
            raise ValueError(f"it is to hold {shape} and holds {held:,} bytes")
        return np.fromfile(file, np.uint8).reshape(shape)
