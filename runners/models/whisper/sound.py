"""Reading a sound file as Whisper needs it: one channel of 32-bit floats, 16,000 a second."""

from collections.abc import Iterator
from math import gcd
from pathlib import Path

import numpy as np
import soundfile
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

RATE = 16_000
MAX_SECONDS = 3600  # the samples are held in memory
RATES = range(4_000, 384_001)  # what recorders make; others would need filters without end
ZEROS = 16  # crossings of zero on either side of the filter's middle: the more, the sharper it cuts
READ_VALUES = 1 << 20  # at once
ROWS = 1 << 14  # samples computed at once

Samples = NDArray[np.float32]


def read_samples(path: Path) -> Samples:
    """Read a file's samples. Raises `ValueError`, which says what is wrong with the file."""
    try:
        with soundfile.SoundFile(path) as file:
            check(file.samplerate, file.frames)
            pieces = list(read_mono(file))
            rate = file.samplerate
    except (soundfile.LibsndfileError, OSError) as error:
        raise ValueError(f"audio: not a sound that can be read (wav, flac, mp3 or ogg): {reason(error)}") from None
    if not (samples := np.concatenate(pieces) if pieces else np.zeros(0, np.float32)).size:
        raise ValueError("audio: the file holds no sound")
    return resample(np.nan_to_num(samples, posinf=0, neginf=0), rate)


def check(rate: int, frames: int) -> None:
    """Raise `ValueError` for a sound that is too long, or has an unusual rate."""
    if rate not in RATES:
        raise ValueError(f"audio: {rate} samples a second; give it between {RATES[0]} and {RATES[-1]}")
    if frames > MAX_SECONDS * rate:
        raise ValueError(f"audio: {frames / rate / 60:.0f} minutes; cut it into parts of at most {MAX_SECONDS // 60}")


def read_mono(file: soundfile.SoundFile) -> Iterator[Samples]:
    """Yield the mean of all channels. Samples are counted as they come, since a header may promise fewer."""
    count = 0
    while len(piece := file.read(max(1, READ_VALUES // file.channels), dtype="float32", always_2d=True)):
        check(file.samplerate, count := count + len(piece))
        yield piece.mean(axis=1)


def resample(samples: Samples, rate: int) -> Samples:
    """Resample by a windowed sinc: what is too high for the new rate is cut away, or it would come back as noise."""
    if rate == RATE:
        return samples
    up, down = RATE // gcd(rate, RATE), rate // gcd(rate, RATE)
    cutoff = min(1.0, RATE / rate)
    reach = int(np.ceil(ZEROS / cutoff))
    windows = sliding_window_view(np.pad(samples, (reach, reach + 1)), 2 * reach + 1)
    result = np.empty(-(-len(samples) * up // down), np.float32)
    for phase in range(min(up, len(result))):
        whole, part = divmod(phase * down, up)
        taps = filter_of(part / up, reach, cutoff)
        rows = windows[whole::down][: len(result[phase::up])]
        for row in range(0, len(rows), ROWS):  # a slice of windows is copied before it is multiplied
            result[phase::up][row : row + ROWS] = rows[row : row + ROWS] @ taps
    return result


def filter_of(part: float, reach: int, cutoff: float) -> Samples:
    """Return the weights of the samples around a point that lies this part of a step after the middle."""
    distance = np.arange(-reach, reach + 1) - part
    window = np.cos(np.pi / 2 * np.clip(distance / (reach + 1), -1, 1)) ** 2
    taps = np.sinc(distance * cutoff) * window
    return (taps / taps.sum()).astype(np.float32)


def reason(error: Exception) -> str:
    """Return why a file cannot be read."""
    return str(error).rpartition(": ")[2].strip().rstrip(".") or "it is damaged"
