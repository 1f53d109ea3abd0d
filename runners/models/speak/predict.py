"""hibari reads English text aloud, sentence by sentence, into one file."""

import os
import tempfile
import wave
from typing import Any

from cog import BasePredictor, Input, Path

MAX_CHARACTERS = 20_000  # about half an hour of speech


class Predictor(BasePredictor):
    """Speaks in one voice."""

    def setup(self) -> None:
        """Load the voice and speak one word."""
        # Threads that spin while they wait make everything beside them ten times slower, and themselves with it.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // 2)))
        import numpy
        from hibari import SAMPLE_RATE, Hibari

        self.numpy = numpy
        self.rate: int = SAMPLE_RATE
        self.voice: Any = Hibari(threads=1)  # the others are not in the wheel
        self.speak("Ready.", 1.0, numpy.random.default_rng(0))

    def predict(
        self,
        text: str = Input(description="What to say, in English", min_length=1, max_length=MAX_CHARACTERS),
        speed: float = Input(description="2: twice as fast", ge=0.5, le=2, default=1.0),
        seed: int | None = Input(description="The same seed gives the same sound", default=None, ge=0),
    ) -> Path:
        """Speak a text into a WAV file."""
        noise = self.numpy.random.default_rng(seed)
        sentences = self.voice.split_sentences(text)
        sounds: list[Any] = []
        for number, sentence in enumerate(sentences, 1):
            print(f"{number}/{len(sentences)} {' '.join(sentence.split())}")
            sounds += self.speak(sentence, speed, noise)
        samples = sum(map(len, sounds))
        if not samples:
            raise ValueError("text: there is nothing in it that can be said; give it words in English")
        self.record_metric("audio_seconds", round(samples / self.rate, 3))
        return self.save(sounds)

    def speak(self, sentence: str, speed: float, noise: Any) -> list[Any]:
        """Return the sound of a sentence. A long one comes in several parts."""
        voice = self.voice
        return [voice.from_ids(voice.ids(sounds), speed, noise) for sounds in voice.phonemize(sentence)]

    def save(self, sounds: list[Any]) -> Path:
        """Write sounds one after another to a file."""
        with tempfile.NamedTemporaryFile(prefix="speech-", suffix=".wav", delete=False) as file:
            with wave.open(file, "wb") as sound:
                sound.setnchannels(1)
                sound.setsampwidth(2)
                sound.setframerate(self.rate)
                for part in sounds:
                    sound.writeframes((self.numpy.clip(part, -1, 1) * 32767).astype("<i2").tobytes())
            return Path(file.name)
