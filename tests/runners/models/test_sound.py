"""What Whisper listens to: any file that can be read, at its own rate, in one channel."""

import importlib.util
from pathlib import Path
from typing import Any

import pytest

from tests.runners.models.loading import MODELS

np = pytest.importorskip("numpy")
soundfile = pytest.importorskip("soundfile")

SPEC = importlib.util.spec_from_file_location("sound", MODELS / "whisper" / "sound.py")
assert SPEC is not None
assert SPEC.loader is not None
sound = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(sound)


def tone(pitch: float, rate: int, seconds: float = 1.0) -> Any:
    return np.sin(2 * np.pi * pitch * np.arange(round(rate * seconds)) / rate).astype(np.float32)


@pytest.mark.parametrize("rate", [4_000, 8_000, 11_025, 22_050, 44_100, 48_000, 96_000, 44_056])
def test_a_tone_stays_the_same_tone(rate: int):
    result = sound.resample(tone(440, rate), rate)
    assert len(result) == 16_000
    assert np.abs(result - tone(440, 16_000))[200:-200].max() < 0.01


def test_what_is_too_high_is_cut_away():
    assert np.abs(sound.resample(tone(12_000, 44_100), 44_100))[200:-200].max() < 0.01


@pytest.mark.parametrize("kind", ["wav", "flac", "ogg", "mp3"])
def test_two_channels_of_any_kind_become_one(kind: str, tmp_path: Path):
    left = tone(440, 44_100)
    soundfile.write(tmp_path / f"x.{kind}", np.stack([left, np.zeros_like(left)], 1), 44_100)
    samples = sound.read_samples(tmp_path / f"x.{kind}")
    assert abs(len(samples) - 16_000) < 1_600
    assert np.abs(np.abs(np.fft.rfft(samples[:16_000])).argmax() - 440) < 3
    assert 0.4 < np.abs(samples[2_000:-2_000]).max() < 0.6


def test_a_long_file_is_read_in_pieces(tmp_path: Path):
    seconds = 1.5 * sound.READ_VALUES / 16_000
    soundfile.write(tmp_path / "x.wav", tone(440, 16_000, seconds), 16_000)
    assert len(sound.read_samples(tmp_path / "x.wav")) == round(seconds * 16_000)


@pytest.mark.parametrize(
    ("rate", "frames", "words"),
    [
        pytest.param(1_000, 10, "1000 samples a second; give it between 4000 and 384000", id="rate"),
        pytest.param(8_000, 8_000 * 3_660, "61 minutes; cut it into parts of at most 60", id="length"),
    ],
)
def test_an_unusual_rate_or_length_is_refused(rate: int, frames: int, words: str):
    with pytest.raises(ValueError, match=words):
        sound.check(rate, frames)


def test_what_is_no_sound_is_refused_without_naming_a_path(tmp_path: Path):
    (tmp_path / "x.wav").write_bytes(b"RIFF and nothing more")
    with pytest.raises(ValueError, match="audio: not a sound that can be read") as caught:
        sound.read_samples(tmp_path / "x.wav")
    assert str(tmp_path) not in str(caught.value)


def test_an_empty_sound_is_refused(tmp_path: Path):
    soundfile.write(tmp_path / "x.wav", np.zeros(0, np.float32), 16_000)
    with pytest.raises(ValueError, match="holds no sound"):
        sound.read_samples(tmp_path / "x.wav")
