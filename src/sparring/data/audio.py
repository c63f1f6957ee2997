"""A person's own folder of sounds, and the embedded ones."""

import math
import os
import re
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from sparring.data import synthetic_tones
from sparring.data.dataset import Data
from sparring.data.image_folder import listed
from sparring.data.modalities.sounds import Sounds
from sparring.data.source import Files, Listing, in_threads
from sparring.storage.tensor_files import hash_of

if TYPE_CHECKING:
    from soundfile import SoundFile

SUFFIXES = {".wav", ".flac", ".ogg", ".opus", ".mp3", ".aif", ".aiff"}
RATES = (1_000, 400_000)  # Hz; of others resampling would not come to its end
FAINT = 1e-3  # of full scale: what is no louder is not made as loud as the rest
REACH = 10  # of the filter of resample_poly to either side, in samples of the lower of the two rates
STREAM = 2**31 - 2**12  # bytes: a header that promises as many was written before anyone knew how many would come


class Audio(Files):
    """Every sound file below a folder, however nested, cut into pieces of ``length`` samples; without a folder the embedded ones.

    Channels are averaged. A file that is longer gives consecutive pieces, and what is left at its end is dropped; a shorter one is
    followed by silence. Pieces of a file are held out together, or trained on. A file of floating point that is louder than full
    scale anywhere is made quieter as a whole, so that its peak is full scale and its pieces stay to each other as they were; what
    lossy files and resampling overshoot is clipped, as players do.

    Args:
        path: the folder; None for ``count`` sounds of ``sparring.data.synthetic_tones``.
        sample_rate: in Hz; files of other rates are resampled.
        length: samples of an example.
        labels: the first level of sub-folders names the classes; None: if there are at least two, and no file lies beside.
        normalize: make the peak of every piece as loud as can be, but of silence.
        on_bad_image: ``error`` or ``skip``, of files that can't be read.
        count: of the embedded sounds.
        image_size, channels: 1.
    """

    modality, kind, dtype = "sounds", "a sound", np.dtype(np.int16)

    def __init__(
        self,
        path: str | None = None,
        sample_rate: int = 4_000,
        length: int = 1_024,
        labels: bool | None = None,
        normalize: bool = False,
        on_bad_image: Literal["error", "skip"] = "error",
        count: int = 6_000,
        image_size: Literal[1] = 1,
        channels: Literal[1] = 1,
    ):
        if not RATES[0] <= sample_rate <= RATES[1] or length < 16:
            raise ValueError(
                f"data.sample_rate={sample_rate} data.length={length}: wanted {RATES[0]:,} to {RATES[1]:,} Hz and at least 16 samples"
            )
        self.path = None if path is None else Path(path).expanduser()
        self.sample_rate, self.length, self.normalize, self.count = sample_rate, length, normalize, count
        self._files, names = Listing(Path(), []), list(synthetic_tones.KINDS)
        if path is not None:
            self._files, names = listed(path, SUFFIXES, "sound", labels)
        elif count < len(names):
            raise ValueError(f"data.count={count}: there are {len(names)} kinds of embedded sounds")
        super().__init__(image_size, channels, names, on_bad_image=on_bad_image)

    @property
    def name(self) -> str:
        return "tones" if self.path is None else self.path.absolute().name

    @property
    def shape(self) -> tuple[int, ...]:
        return 1, self.length

    @property
    def facts(self) -> dict[str, Any]:
        return super().facts | {"sample_rate": self.sample_rate, "length": self.length}

    def files(self) -> Listing:
        return self._files

    def identity(self) -> dict:
        how = {"sample_rate": self.sample_rate, "length": self.length, "normalize": self.normalize}
        how["decoding"] = 2  # raised when the same files would be decoded to other samples
        return super().identity() | how

    def drawn(self) -> Data | None:
        if self.path is not None:
            return None
        sounds, labels = synthetic_tones.draw(self.count, self.length)
        columns = {"images": sounds, "labels": labels}
        modality = Sounds(self.sample_rate)
        return Data(columns, hash_of({"sounds": sounds}), self.class_names, name=self.name, modality=modality)

    @property
    def groups(self) -> Sequence[int]:
        """The file of each piece."""
        return np.cumsum([piece == 0 for _, _, piece, _ in self.parts()]) - 1

    def parts(self) -> list[tuple[Path, int, int, float]]:
        """Files, their labels, which piece of each, and the peak by which it is divided."""
        if not hasattr(self, "_parts"):
            known = in_threads(self._pieces, self._files, 2**19)
            self._parts = [
                (*file, i, loudest) for file, (n, loudest) in zip(self._files, known, strict=True) for i in range(n)
            ]
        return self._parts

    def fitted(self, path: Path, piece: int, loudest: float) -> np.ndarray:
        with opened(path) as file:
            wave = self._resampled(file, piece * self.length) / loudest
        if self.normalize and (peak := np.abs(wave).max()) > FAINT:
            wave = wave / peak
        samples = np.zeros((1, self.length), np.int16)
        samples[0, : len(wave)] = (wave * 2**15).round().clip(-(2**15), 2**15 - 1)
        return samples

    def _resampled(self, file: "SoundFile", first: int) -> np.ndarray:
        """A piece from its ``first`` sample on, as if the whole file had been resampled: what lies around it is heard with it, and
        beyond the ends of the file its first and last sample go on.
        """
        from scipy.signal import resample_poly

        common = math.gcd(file.samplerate, self.sample_rate)
        up, down = self.sample_rate // common, file.samplerate // common
        around = 0 if up == down else -(-REACH * max(up, down) // (up * down)) + 1
        begin = max(first // up - around, 0)  # counted in ``down`` samples of the file, which become ``up``
        end = -(-(first + self.length) // up) + around
        file.seek(begin * down)
        wave = file.read((end - begin) * down, "float32", always_2d=True).mean(1)
        if not len(wave):
            raise ValueError("it ends before its header says")
        if not np.isfinite(wave).all():
            raise ValueError("it holds samples that are no numbers")
        if up != down:
            wave = resample_poly(wave, up, down, padtype="edge")
        return wave[first - begin * up :][: self.length]

    def _pieces(self, file: tuple[Path, int]) -> tuple[int, float]:
        """How many a file holds, and its peak; one that can't be read is to be one, and told when it is decoded."""
        try:
            with opened(file[0]) as sound:
                return max(sound.frames * self.sample_rate // (sound.samplerate * self.length), 1), peak_of(sound)
        except Exception:  # of many kinds
            return 1, 1.0


def peak_of(file: "SoundFile") -> float:
    """The peak of a file that may go beyond full scale, else 1; never less."""
    if file.subtype not in ("FLOAT", "DOUBLE"):
        return 1.0
    waves = (block.mean(1) for block in file.blocks(2**20, dtype="float32", always_2d=True))
    return float(max(np.abs(wave[np.isfinite(wave)]).max(initial=1) for wave in waves))


@contextmanager
def opened(path: Path) -> Iterator["SoundFile"]:
    """A sound file of sane length and rate, nothing but its header read. Call it and use it ``decoding``."""
    import soundfile

    if not stat.S_ISREG(os.stat(path).st_mode):  # a pipe would be waited for, a device read for ever
        raise ValueError("it is no regular file")
    try:
        with soundfile.SoundFile(path) as file:
            if not 0 < file.frames < 2**40:
                raise ValueError(f"it holds {max(file.frames, 0):,} samples")
            cut = re.search(r"^ ?(?:data|SSND) *: (\d+) \(should be (\d+)\)", file.extra_info, re.M)  # of WAV and AIFF
            if cut and int(cut[2]) < int(cut[1]) < STREAM:
                raise ValueError(f"its header tells of {int(cut[1]):,} bytes of sound, and {int(cut[2]):,} are there")
            if not RATES[0] <= file.samplerate <= RATES[1]:
                raise ValueError(f"it has {file.samplerate:,} samples a second; wanted: {RATES[0]:,} to {RATES[1]:,}")
            yield file
    except soundfile.LibsndfileError as error:
        raise ValueError(error.error_string.strip(" .")) from error
