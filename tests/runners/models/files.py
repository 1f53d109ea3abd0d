"""Input and output files of bundled models."""

import base64
import io
from pathlib import Path
from typing import Any

from tests.runners.worker.driver import Worker, output

PICTURES = Path(__file__).parent / "pictures"


def uri(content: bytes, media: str) -> str:
    return f"data:{media};base64,{base64.b64encode(content).decode()}"


def png(picture: Any) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def picture_uri(picture: Any) -> str:
    """Return a picture as an input."""
    return uri(png(picture), "image/png")


def file_of(worker: Worker, id: str) -> bytes:
    return take_file(output(worker.done(id)))


def take_file(name: str) -> bytes:
    path = Path(name.removeprefix("file:"))
    content = path.read_bytes()
    path.unlink()
    return content
