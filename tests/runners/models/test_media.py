"""The bundled models of sound and pictures, with their real weights."""

import io
import wave
from collections.abc import Generator

import pytest

from tests.runners.models.files import file_of, png, uri
from tests.runners.models.loading import LOADING, load_worker
from tests.runners.worker.driver import Worker

np = pytest.importorskip("numpy")
Image = pytest.importorskip("PIL.Image")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(LOADING)]

SENTENCES = ["This sentence was spoken by a neural network.", "The kettle is on the stove."]


@pytest.fixture(scope="module")
def speak() -> Generator[Worker]:
    yield from load_worker("speak")


@pytest.fixture(scope="module")
def whisper() -> Generator[Worker]:
    yield from load_worker("whisper")


@pytest.fixture(scope="module")
def painter() -> Generator[Worker]:
    yield from load_worker("style-transfer")


@pytest.fixture(scope="module")
def speech(speak: Worker) -> bytes:
    speak.run({"text": " ".join(SENTENCES), "seed": 1}, ids="A")
    return file_of(speak, "A")


def picture(width: int = 96, height: int = 64) -> bytes:
    return png(Image.radial_gradient("L").resize((width, height)).convert("RGB"))


def painted(worker: Worker, id: str, **wish: object) -> bytes:
    worker.run({"image": uri(picture(), "image/png"), **wish}, ids=id)
    return file_of(worker, id)


def test_what_is_spoken_is_understood(speech: bytes, whisper: Worker):
    whisper.run({"audio": uri(speech, "audio/wav")}, ids="a")
    done = whisper.done("a")
    assert "".join(whisper.chunks("a")) == " ".join(SENTENCES)
    assert len(whisper.chunks("a")) == done.metrics["segments"] == 2
    assert "s written down" in whisper.log_of("a")


def test_speech_is_one_file_of_a_known_form(speech: bytes, speak: Worker):
    with wave.open(io.BytesIO(speech)) as sound:
        assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (1, 2, 24_000)
        seconds = sound.getnframes() / 24_000
    assert speak.done("A").metrics["audio_seconds"] == round(seconds, 3)
    assert 3 < seconds < 12


def test_every_sentence_is_in_the_log(speech: bytes, speak: Worker):
    assert speech
    assert speak.log_of("A").splitlines() == [f"{n}/2 {sentence}" for n, sentence in enumerate(SENTENCES, 1)]


def test_a_seed_decides_on_the_sound_and_speed_on_its_length(speak: Worker):
    for id, wish in zip("BCDE", ({"seed": 1}, {"seed": 1}, {"seed": 2}, {"seed": 1, "speed": 2.0}), strict=True):
        speak.run({"text": "Good morning.", **wish}, ids=id)
    first, same, other, fast = (file_of(speak, id) for id in "BCDE")
    assert first == same != other
    assert len(fast) < 0.7 * len(first)


def test_text_without_words_is_refused(speak: Worker):
    speak.run({"text": "日本語"}, ids="F")
    assert (speak.done("F").error or "").startswith("text: there is nothing in it that can be said")


def test_what_is_no_sound_is_refused(whisper: Worker):
    whisper.run({"audio": "data:text/plain,hello"}, ids="b")
    assert (whisper.done("b").error or "").startswith("audio: not a sound that can be read")


def test_silence_is_no_text(whisper: Worker):
    silence = io.BytesIO()
    with wave.open(silence, "wb") as sound:
        sound.setparams((2, 2, 44_100, 0, "NONE", ""))
        sound.writeframes(bytes(4 * 44_100 * 3))
    whisper.run({"audio": uri(silence.getvalue(), "audio/wav")}, ids="c")
    assert (whisper.done("c").status, whisper.chunks("c")) == ("ok", [])


def test_a_picture_is_painted_in_its_own_size(painter: Worker):
    made = Image.open(io.BytesIO(painted(painter, "a", style=19)))
    assert (made.format, made.size) == ("PNG", (96, 64))
    assert [line[:3] for line in painter.log_of("a").splitlines()] == ["1/3", "2/3", "3/3"]


def test_styles_differ_and_without_strength_nothing_happens(painter: Worker):
    one, other, none = painted(painter, "b", style=1), painted(painter, "c", style=2), painted(painter, "d", strength=0)
    assert one != other
    assert np.array_equal(pixels(none), pixels(picture()))


def test_another_picture_can_be_the_style(painter: Worker):
    red, blue = (
        painted(painter, id, style_image=uri(flat(color), "image/png")) for id, color in (("e", "red"), ("f", "blue"))
    )
    assert mean(red)[0] - mean(red)[2] > mean(blue)[0] - mean(blue)[2] + 20


def test_a_picture_larger_than_the_canvas_is_scaled_down(painter: Worker):
    painter.run({"image": uri(picture(2048, 512), "image/png")}, ids="g")
    assert Image.open(io.BytesIO(file_of(painter, "g"))).size == (1024, 256)


@pytest.mark.parametrize(
    ("id", "image", "words"),
    [
        pytest.param("h", uri(b"hello", "image/png"), "image: not a picture that can be read", id="no picture"),
        pytest.param("i", uri(picture()[:-30], "image/png"), "image: not a picture that can be read", id="cut off"),
        pytest.param("j", uri(picture(8, 96), "image/png"), "image: 8 x 96 is too small", id="small"),
        pytest.param("k", uri(picture(8_000, 7_000), "image/png"), "image: 8000 x 7000 is too large", id="large"),
    ],
)
def test_what_cannot_be_painted_is_refused(painter: Worker, id: str, image: str, words: str):
    painter.run({"image": image}, ids=id)
    assert (painter.done(id).error or "").startswith(words)


def flat(color: str) -> bytes:
    return png(Image.new("RGB", (64, 64), color))


def pixels(content: bytes):
    return np.asarray(Image.open(io.BytesIO(content)))


def mean(content: bytes) -> list[float]:
    return pixels(content).mean(axis=(0, 1)).tolist()
