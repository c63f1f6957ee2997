"""A person's own folder of sounds, or the embedded ones."""

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from sparring.config.extras import import_extra
from sparring.data import synthetic_tones
from sparring.data.dataset import Data
from sparring.data.file_listing import list_files
from sparring.data.image_io import check_regular_file
from sparring.data.modalities.sounds import Sounds
from sparring.data.source import Files, OnBadImage, map_in_threads
from sparring.storage.tensor_files import hash_of

if TYPE_CHECKING:
    from soundfile import SoundFile

SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff"}
RATES = (1_000, 400_000)  # Hz; resampling others would never end
FAINT = 1e-3  # of full scale: a piece whose peak is no louder is not normalized
FILTER = 10  # reach of resample_poly's filter to either side, in samples of the lower of the two rates
STREAM = 2**31 - 2**12  # bytes: a header that promises more was written before the length was known


class Audio(Files):
    """Every sound file below a folder, however nested, cut into pieces of ``length`` samples; or the embedded sounds.

    Channels are averaged. A long file gives consecutive pieces, and the rest at its end is dropped; a short one is
    followed by silence. The pieces of a file are held out together. A file of floating point is divided by its peak if
    that is beyond full scale; what lossy files and resampling overshoot is clipped.

    Args:
        path: the folder; None for ``count`` sounds of ``sparring.data.synthetic_tones``.
        sample_rate: in Hz; files of other rates are resampled.
        length: samples of an example.
        labels: whether the first level of sub-folders names the classes; None: if there are at least two of them and no
            file lies outside.
        normalize: make every piece that is not silent as loud as possible.
        on_bad_image: ``error`` or ``skip`` unreadable files.
        count: number of embedded sounds.

    Raises:
        UserError: the folder is missing or holds no sound, or soundfile, which reads them, is not installed.
    """

    modality, kind, dtype = "sounds", "a sound", np.dtype(np.int16)

    def __init__(
        self,
        path: str | None = None,
        sample_rate: Annotated[int, Field(ge=RATES[0], le=RATES[1])] = 4_000,
        length: Annotated[int, Field(ge=16, le=10**7)] = 1_024,
        labels: bool | None = None,
        normalize: bool = False,
        on_bad_image: OnBadImage = "error",
        count: Annotated[int, Field(ge=len(synthetic_tones.KINDS), le=10**9)] = 6_000,
        image_size: Literal[1] = 1,
        channels: Literal[1] = 1,
    ):
        self.embedded = path is None
        self.sample_rate, self.length, self.normalize, self.count = sample_rate, length, normalize, count
        files, names = [], list(synthetic_tones.KINDS)
        if path is not None:
            import_extra("soundfile", "sound", "data=audio")
            files, names = list_files(path, SUFFIXES, "sound", labels)
        super().__init__(Path(path or "").expanduser(), files, image_size, channels, names, on_bad_image=on_bad_image)

    @property
    def name(self) -> str:
        return "tones" if self.embedded else super().name

    @property
    def shape(self) -> tuple[int, ...]:
        return 1, self.length

    @property
    def facts(self) -> dict[str, Any]:
        return super().facts | {"sample_rate": self.sample_rate, "length": self.length}

    def identity(self) -> dict:
        settings = {"sample_rate": self.sample_rate, "length": self.length, "normalize": self.normalize}
        settings["decoding"] = 2  # raise it when the same files are decoded to other samples
        return super().identity() | settings

    def drawn(self) -> Data | None:
        if not self.embedded:
            return None
        sounds, labels = synthetic_tones.draw(self.count, self.length)
        columns, key = {"images": sounds, "labels": labels}, hash_of({"sounds": sounds})
        return Data(columns, key, self.class_names, name=self.name, modality=Sounds(self.sample_rate))

    @property
    def groups(self) -> Sequence[int]:
        """The file of each piece."""
        return list(accumulate(int(piece == 0) for _, _, piece, _ in self._pieces))

    def parts(self) -> list[tuple[str, int, int, float]]:
        return self._pieces

    @cached_property
    def _pieces(self) -> list[tuple[str, int, int, float]]:
        """Of each piece its file, its label, its number in the file, and the peak that the file is divided by."""
        measured = map_in_threads(self._measure, self.files, 2**19)
        files = zip(self.files, measured, strict=True)
        return [(*file, piece, peak) for file, (count, peak) in files for piece in range(count)]

    def _measure(self, file: tuple[str, int]) -> tuple[int, float]:
        """Return the pieces in a file, and its peak; (1, 1) if it can't be read, which decoding reports."""
        try:
            with opened(Path(file[0])) as sound:
                return max(sound.frames * self.sample_rate // (sound.samplerate * self.length), 1), peak_of(sound)
        except Exception:  # of many kinds
            return 1, 1.0

    def decode(self, path: Path, piece: int, peak: float) -> np.ndarray:
        with opened(path) as file:
            wave = self._resample(file, piece * self.length) / peak
        if self.normalize and (loudest := np.abs(wave).max()) > FAINT:
            wave = wave / loudest
        samples = np.zeros((1, self.length), np.int16)
        samples[0, : len(wave)] = (wave * 2**15).round().clip(-(2**15), 2**15 - 1)
        return samples

    def _resample(self, file: "SoundFile", first: int) -> np.ndarray:
        """Return a piece from its ``first`` sample on, as resampling the whole file would give it.

        The filter reaches beyond the piece; beyond the ends of the file its first and last sample are repeated.
        """
        from scipy.signal import resample_poly

        common = math.gcd(file.samplerate, self.sample_rate)
        up, down = self.sample_rate // common, file.samplerate // common
        margin = 0 if up == down else -(-FILTER * max(up, down) // (up * down)) + 1
        begin = max(first // up - margin, 0)  # in units of ``down`` samples of the file, which become ``up``
        end = -(-(first + self.length) // up) + margin
        file.seek(begin * down)
        wave = file.read((end - begin) * down, "float32", always_2d=True).mean(1)
        if not len(wave):
            raise ValueError("it ends before its header says")
        if not np.isfinite(wave).all():
            raise ValueError("it holds NaN or infinite samples")
        if up != down:
            wave = resample_poly(wave, up, down, padtype="edge")
        return wave[first - begin * up :][: self.length]


def peak_of(file: "SoundFile") -> float:
    """Return the peak of a floating-point file, at least 1; 1 for other files, which can't go beyond full scale."""
    if file.subtype not in ("FLOAT", "DOUBLE"):
        return 1.0
    waves = (block.mean(1) for block in file.blocks(2**20, dtype="float32", always_2d=True))
    return float(max(np.abs(wave[np.isfinite(wave)]).max(initial=1) for wave in waves))


@contextmanager
def opened(path: Path) -> Iterator["SoundFile"]:
    """Open a sound file of acceptable length and rate; only its header is read. Use it inside ``decoding``."""
    import soundfile

    check_regular_file(path)
    try:
        with soundfile.SoundFile(path) as file:
            if not 0 < file.frames < 2**40:
                raise ValueError(f"it holds {max(file.frames, 0):,} samples")
            cut = re.search(r"^ ?(?:data|SSND) *: (\d+) \(should be (\d+)\)", file.extra_info, re.M)  # of WAV and AIFF
            if cut and int(cut[2]) < int(cut[1]) < STREAM:
                raise ValueError(f"its header promises {int(cut[1]):,} bytes of sound, and it holds {int(cut[2]):,}")
            if not RATES[0] <= file.samplerate <= RATES[1]:
                raise ValueError(f"it has {file.samplerate:,} samples a second; wanted: {RATES[0]:,} to {RATES[1]:,}")
            yield file
    except soundfile.LibsndfileError as error:
        raise ValueError(error.error_string.strip(" .")) from error
