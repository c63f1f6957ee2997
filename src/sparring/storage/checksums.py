"""Check that files hold what was written: the CRC of checkpoints and cached folders, the SHA-256 of downloads."""

import hashlib
import os
import zipfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tqdm import tqdm

BLOCK = 2**26  # bytes of a file that share a CRC-32
ZIP = b"PK\x03\x04"  # the first bytes of a zip archive


def check_archive(path: Path) -> None:
    """Check the CRC of every entry of a file that ``torch.save`` wrote; PyTorch's reader does not.

    PyTorch recognises an archive by its first bytes, other readers by its last ones. A file that is an archive to only
    one of them is refused. Files of PyTorch before 1.6 are no archives and have no checksums.

    Raises:
        ValueError: the file is damaged.
    """
    with open(path, "rb") as file:
        is_archive = file.read(len(ZIP)) == ZIP
    if is_archive != zipfile.is_zipfile(path):
        raise ValueError("it begins as a file of one kind, and ends as one of another")
    if is_archive:
        with zipfile.ZipFile(path) as archive:
            if (damaged := archive.testzip()) is not None:
                raise ValueError(f"the checksum of {damaged} is wrong")


def block_checksums(paths: list[Path]) -> dict[str, list[int]]:
    """Return the CRC-32 of each block of each file, by file name. Several threads read faster than one."""
    blocks = [(path, start) for path in paths for start in range(0, path.stat().st_size, BLOCK)]
    sums: dict[str, list[int]] = {path.name: [] for path in paths}
    with ThreadPoolExecutor() as threads:
        values = threads.map(_crc32, blocks)
        bar = tqdm(values, "checking", len(blocks), unit=" blocks", delay=2, leave=False)
        for (path, _), value in zip(blocks, bar, strict=True):
            sums[path.name].append(value)
    return sums


def _crc32(block: tuple[Path, int]) -> int:
    (path, start), value, left, part = block, 0, BLOCK, memoryview(bytearray(2**20))
    with open(path, "rb", buffering=0) as file:
        file.seek(start)
        while left and (count := file.readinto(part)):
            value, left = zlib.crc32(part[:count], value), left - count
    return value


def sha256(path: str | os.PathLike) -> str:
    """Return the SHA-256 of a file's content, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
