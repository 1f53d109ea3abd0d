"""Files that go into bundled models, and come out of them."""

import base64
import io
from pathlib import Path
from typing import Any

from tests.runners.worker.driver import Worker, output

PICTURES = Path(__file__).parent / "pictures"


def uri(content: bytes, media: str) -> str:
    return f"data:{media};base64,{base64.b64encode(content).decode()}"


def png(picture: Any) -> bytes:
    made = io.BytesIO()
    picture.save(made, "PNG")
    return made.getvalue()


def shown(picture: Any) -> str:
    """A picture as an input."""
    return uri(png(picture), "image/png")


def file_of(worker: Worker, id: str) -> bytes:
    return taken(output(worker.done(id)))


def taken(name: str) -> bytes:
    path = Path(name.removeprefix("file:"))
    content = path.read_bytes()
    path.unlink()
    return content
