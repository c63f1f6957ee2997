"""The files below a person's folder, and the classes that its sub-folders name."""

import os
from collections import deque
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NoReturn

from sparring.config.errors import UserError


def list_files(
    path: str, suffixes: Collection[str], kind: str, labels: bool | None
) -> tuple[list[tuple[str, int]], list[str]]:
    """List the files of a kind in or below the folder ``data.path``.

    Args:
        path: the folder.
        suffixes: of the files' names, in lower case.
        kind: what the files hold, in messages.
        labels: whether the first level of sub-folders names the classes; None: if there are at least two and no file is
            outside of them.

    Returns:
        The files' paths, sorted, with their labels (-1 without), and the names of the classes.

    Raises:
        UserError: the folder is missing or holds no such file, or a file belongs to no class.
    """
    folder = Path(path).expanduser()
    if not folder.is_dir():
        raise UserError(f"data.path={path}: no such folder")
    paths = [
        os.path.join(below, name)
        for below, names in walk(folder)
        for name in names
        if os.path.splitext(name)[1].lower() in suffixes and not name.startswith(".")
    ]
    if not paths:
        raise UserError(f"data.path={path}: no {kind} ({', '.join(sorted(suffixes))}) in it or below it")
    paths.sort(key=lambda path: path.replace(os.sep, "\0"))  # as Path sorts: a/b.png before a.png
    start = len(os.path.join(folder, ""))
    tops, separators, _ = zip(*(path[start:].partition(os.sep) for path in paths), strict=True)
    loose = "" in separators
    if labels and loose:
        file = tops[separators.index("")]
        raise UserError(f"data.labels=true: sub-folders of data.path={path} name the classes, but {file} is in none")
    names = sorted(set(tops))
    if not (labels or labels is None and not loose and len(names) > 1):
        return [(path, -1) for path in paths], []
    index = {name: i for i, name in enumerate(names)}
    return [(path, index[top]) for path, top in zip(paths, tops, strict=True)], names


def walk(path: str | os.PathLike) -> Iterator[tuple[str, list[str]]]:
    """Yield folders and the names of their files: no hidden folders, each folder once, however many links lead to it.

    Links are followed last, so a folder is named by its own path. A link to a folder above adds nothing.

    Raises:
        UserError: a folder can't be read.
    """
    visited = {_file_id(parent) for parent in Path(path).resolve().parents}
    folders, links = [os.fspath(path)], deque()
    while folders or links:
        folder = folders.pop() if folders else links.popleft()
        this = _file_id(folder)
        if this in visited:
            continue
        visited.add(this)
        _, inside, names = next(os.walk(folder, onerror=_refuse))
        for child in sorted(os.path.join(folder, name) for name in inside if not name.startswith(".")):
            (links if os.path.islink(child) else folders).append(child)
        yield folder, sorted(names)


def _file_id(folder: str | os.PathLike) -> tuple[int, int]:
    try:
        status = os.stat(folder)
        return status.st_dev, status.st_ino
    except OSError as error:
        _refuse(error)


def _refuse(error: OSError) -> NoReturn:
    raise UserError(f"{error.filename} can't be read ({error.strerror})") from error
