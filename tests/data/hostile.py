"""Hypothesis's strategies of files, folders and arrays: whole, damaged, hostile."""

import io
import os
import re
import socket
import struct
import zipfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
from hypothesis import strategies as st
from PIL import Image, ImageOps

# ---- pictures ---------------------------------------------------------------------------------------------------

MODES = {
    "PNG": ["1", "L", "LA", "P", "RGB", "RGBA", "I;16"],
    "JPEG": ["L", "RGB", "CMYK"],
    "WEBP": ["RGB", "RGBA"],
    "BMP": ["1", "L", "P", "RGB"],
    "GIF": ["L", "P"],
    "TIFF": ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "I;16", "I", "F", "LAB", "YCbCr"],
}
SIZES = [(1, 1), (1, 9), (12, 1), (5, 7), (8, 8), (16, 8), (2, 600)]
PAGE = b"<!DOCTYPE html><html><body>404 Not Found</body></html>"
JUNK = [
    b"",
    b"\0" * 64,
    PAGE,
    b'<svg xmlns="http://www.w3.org/2000/svg" width="9" height="9"/>',
    b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
    b"P6 60000 60000 255\n",
    b"RIFF\xff\xff\xff\x7fWEBPVP8 ",
    b"II*\0\x08\0\0\0\xff\xff" + bytes(range(256)),
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR",
    b"\x80\x04\x95\x10\0\0\0\0\0\0\0\x8c\x05posix",
]


class Picture(NamedTuple):
    """The bytes of a file, and the mode and the upright RGBA pixels of what was saved if nothing was damaged."""

    content: bytes
    whole: Image.Image | None


@st.composite
def pictures(draw, damaged: bool = True) -> Picture:
    """An image file of any format, mode and size, as it was saved or damaged."""
    kind = draw(st.sampled_from(sorted(MODES)))
    mode, size = draw(st.sampled_from(MODES[kind])), draw(st.sampled_from(SIZES))
    noise = np.random.default_rng(draw(st.integers(0, 9)))
    if mode in ("I;16", "I", "F"):
        deep = noise.integers(0, 65536, size[::-1])
        image = Image.fromarray(deep.astype({"I;16": np.uint16, "I": np.int32, "F": np.float32}[mode]))
    elif mode == "LAB":
        image = Image.frombytes("LAB", size, noise.bytes(3 * size[0] * size[1]))
    else:
        image = Image.fromarray(noise.integers(0, 256, (*size[::-1], 4), dtype=np.uint8)).convert(mode)
    options = {}
    if kind in ("PNG", "JPEG", "WEBP") and draw(st.booleans()):
        options["exif"] = exif = Image.Exif()
        exif[0x112] = draw(st.sampled_from([1, 2, 3, 6, 8, 0, 9]))
    if kind in ("PNG", "GIF") and mode == "P" and draw(st.booleans()):
        options["transparency"] = draw(st.sampled_from([0, 255, bytes(range(200))])) if kind == "PNG" else 0
    if kind in ("GIF", "WEBP", "PNG") and mode == "RGB" and draw(st.booleans()):
        options |= {"save_all": True, "append_images": [image.rotate(90)]}
    file = io.BytesIO()
    image.save(file, kind, **options)
    content = file.getvalue()
    if damaged and draw(st.booleans()):
        return Picture(draw(damages(content)), None)
    whole = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    return Picture(content, None if mode == "LAB" else whole)


@st.composite
def damages(draw, content: bytes) -> bytes:
    """The bytes after a few of the things that happen to files."""
    for _ in range(draw(st.integers(1, 3))):
        at, length = draw(st.integers(0, len(content))), draw(st.integers(1, 40))
        kind = draw(st.sampled_from(["flip", "cut", "swap", "splice", "zeros", "more", "sizes", "junk"]))
        if kind == "flip":
            new = bytes(byte ^ draw(st.integers(1, 255)) for byte in content[at : at + min(length, 4)])
            content = content[:at] + new + content[at + len(new) :]
        elif kind == "cut":
            content = content[:at]
        elif kind == "swap":
            content = content[at:] + content[:at]
        elif kind == "splice":
            content = content[:at] + content[max(at - length, 0) :]
        elif kind == "zeros":
            content = content[:at] + bytes(len(content[at : at + length])) + content[at + length :]
        elif kind == "more":
            content = content[:at] + draw(st.binary(max_size=40)) + content[at:]
        elif kind == "sizes":
            content = declared(content, draw(st.sampled_from([0, 1, 9000, 20_000, 65_535, 2**31 - 1])))
        else:
            content = draw(st.sampled_from(JUNK))
    return content


def declared(content: bytes, side: int) -> bytes:
    """The file with other height and width in its header, and whatever checksum that needs."""
    if content[:4] == b"\x89PNG":
        header = content[12:16] + struct.pack(">II", side, side) + content[24:29]
        return content[:12] + header + struct.pack(">I", zipfile.crc32(header)) + content[33:]
    if content[:2] == b"BM":
        return content[:18] + struct.pack("<ii", min(side, 2**31 - 1), side) + content[26:]
    short = min(side, 65_535)
    if content[:3] == b"GIF":
        return content[:6] + struct.pack("<HH", short, short) + content[10:]
    return re.sub(
        rb"(\xff[\xc0\xc2]...).{4}",
        lambda found: found[1] + struct.pack(">HH", short, short),
        content,
        count=1,
        flags=re.DOTALL,
    )


# ---- folders ----------------------------------------------------------------------------------------------------

ENDINGS = [".jpg", ".jpeg", ".png", ".webp", ".bmp", ".PNG", ".txt", ""]
NAMES = [
    "a", "b", "é", "e\u0301", "日本", "кот", "عربى", "🦊", "a b", " ", "a\nb", "\x1b[31mred", "x" * 240, "caf\udce9",
    "..a", "a..", "{a}", "%s", "a=b,c", "$HOME", "'", '"', "\\", "CON", ".hidden", "-rf", "~", "a.tar",
]  # fmt: skip
SPECIAL = ["pipe", "socket", "zeros", "nowhere", "itself", "folder", "above", "other", "memory"]
names = st.sampled_from(NAMES) | st.text(
    st.characters(exclude_characters="/\0", codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=12
).filter(lambda name: name not in (".", ".."))
entries = st.lists(
    st.tuples(
        st.sampled_from([(), (), ("a",), ("b",), ("a", "c"), ("b", "..a")]) | st.tuples(names),
        names,
        st.sampled_from(ENDINGS[:3] * 4 + ENDINGS),
        pictures() | pictures() | pictures(damaged=False) | st.sampled_from(SPECIAL),
    ),
    min_size=0,
    max_size=5,
)
good_entries = st.lists(
    st.tuples(st.just(("a",)), names, st.sampled_from(ENDINGS[:6]), pictures(damaged=False)), min_size=1, max_size=4
)


def lay(folder: Path, listed) -> dict[Path, Picture]:
    """Make the files; those that are files, by their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    made = {}
    for above, name, ending, content in listed:
        path = folder.joinpath(*above, name + ending)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if os.path.lexists(path):
                continue
            if isinstance(content, Picture):
                path.write_bytes(content.content)
                made[path] = content
            else:
                _special(content, path, folder)
        except OSError:  # too long a name, a file where a folder is wanted
            continue
    return made


def _special(kind: str, path: Path, folder: Path) -> None:
    links = {"zeros": "/dev/zero", "nowhere": "gone", "itself": path.name, "above": "..", "memory": "/proc/self/maps"}
    links["other"] = str(folder / ("b" if "a" in path.parts else "a"))
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "socket":
        here = os.getcwd()
        os.chdir(path.parent)  # a socket's path is short
        try:
            with socket.socket(socket.AF_UNIX) as it:
                it.bind(path.name)
        finally:
            os.chdir(here)
    elif kind == "folder":
        path.mkdir()
    else:
        path.symlink_to(links[kind])


# ---- arrays -----------------------------------------------------------------------------------------------------

DTYPES = ["u1"] * 6 + ["b1", "i1", "u2", ">f4", "f8", "c8", "U3", "O", "V9", "M8[s]"]
SHAPES = [
    (4, 8, 8),
    (4, 8, 8, 1),
    (4, 8, 8, 3),
    (4, 3, 8, 8),
    (1, 8, 8),
    (0, 8, 8),
    (4, 0, 0),
    (),
    (4,),
    (4, 8),
    (4, 8, 9),
]
SHAPES += [(4, 8, 8, 3)] * 4 + [(4, 8, 8, 2), (1, 2, 3, 4, 5), (4, 1, 900)]
LIES = [(10**12, 8, 8), (4, 10**6, 10**6), (-4, 8, 8), (2**62, 2**62, 4), (5, 8, 8), (10**12,), (0, 10**9, 10**9)]
LABELS = [
    [0, 1, 2, 1], [0, 0, 0, 0], [1, 2, 1, 2], [0, 1, 2], [-1, 0, 1, 0], [0, 1, 10**18, 2], [0.0, 1.0, np.nan, 0.0],
    [[0], [1], [0], [1]], ["a", "b", "a", "b"], [True, False, True, True], [2**63, 0, 1, 2], [0, 1, 70_000, 2], [],
    None,
]  # fmt: skip
KINDS = ["i8", "i8", "u1", "u8", ">i4", "f4", None]


def stored(array: np.ndarray, shape: tuple[int, ...] | None = None) -> bytes:
    """A .npy, whose header may say another shape."""
    file = io.BytesIO()
    np.save(file, array)
    if shape is None:
        return file.getvalue()
    body, header = array.tobytes(), io.BytesIO()
    facts = {"descr": array.dtype.str, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(header, facts)
    return header.getvalue() + body


@st.composite
def images(draw) -> tuple[np.ndarray, bytes, bool]:
    """An array, its .npy, and whether that says the truth."""
    shape, dtype = draw(st.sampled_from(SHAPES)), draw(st.sampled_from(DTYPES))
    array = np.random.default_rng(0).integers(0, 256, shape)
    array = np.asarray(array).astype(dtype, order=draw(st.sampled_from("CF")))
    lie = draw(st.none() | st.none() | st.sampled_from(LIES)) if dtype == "u1" else None
    return array, stored(array, lie), lie is None


@st.composite
def labels(draw) -> np.ndarray | None:
    listed, kind = draw(st.sampled_from(LABELS[:1] * 6 + LABELS)), draw(st.sampled_from(KINDS))
    try:
        return None if listed is None else np.asarray(listed, dtype=kind)
    except (OverflowError, ValueError):
        return np.asarray(listed)


def packed(members: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()
