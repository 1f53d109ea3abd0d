"""One model's output is another's input: what is spoken is written down again, and a picture is painted."""

import base64
import io
from collections.abc import AsyncGenerator
from typing import Any

import httpx
import pytest
from replicate.client import Client

from benchmarks.stack import Stack
from tests.contract.conftest import open_client

Image = pytest.importorskip("PIL.Image")

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

SENTENCE = "This sentence was spoken by a neural network."


@pytest.fixture(scope="module")
async def replicate(stack: Stack) -> AsyncGenerator[Client]:
    async with open_client(stack.url, stack.token) as client:
        yield client


@pytest.fixture(scope="module")
def speech(replicate: Client) -> str:
    """The address of the spoken sentence."""
    output: Any = replicate.run("samovar/speak", input={"text": SENTENCE, "seed": 1})
    return str(output)


def test_what_is_spoken_is_written_down_again(replicate: Client, speech: str) -> None:
    output: Any = replicate.run("samovar/whisper", input={"audio": speech})
    assert "".join(output) == SENTENCE


def test_an_uploaded_sound_is_written_down(replicate: Client, speech: str) -> None:
    sound = io.BytesIO(httpx.get(speech).content)
    sound.name = "speech.wav"
    events = list(replicate.stream("samovar/whisper", input={"audio": sound}))
    assert "".join(str(event) for event in events if event.event.value == "output") == SENTENCE


def test_a_picture_is_painted(replicate: Client) -> None:
    created = io.BytesIO()
    Image.radial_gradient("L").save(created, "PNG")
    uri = "data:image/png;base64," + base64.b64encode(created.getvalue()).decode()
    prediction = replicate.predictions.create(model="samovar/style-transfer", input={"image": uri, "style": 19})
    prediction.wait()
    assert prediction.status == "succeeded", prediction.error
    painted = Image.open(io.BytesIO(httpx.get(str(prediction.output)).content))
    assert (painted.format, painted.size) == ("PNG", (256, 256))
    assert [line[:3] for line in (prediction.logs or "").splitlines()] == ["1/3", "2/3", "3/3"]
