"""Responses for OpenAI's clients, whole or in chunks."""

import base64
import struct
from collections.abc import Sequence
from typing import Any, Final, Literal, cast

from msgspec import Raw, Struct, json

from gateway.openai.problems import ModelFailed
from gateway.store.models import Model
from schemas.prediction import Prediction

NOT_A_VECTOR: Final = "The model's output is not a list of numbers."
DONE: Final = b"data: [DONE]\n\n"

FinishReason = Literal["stop", "length"]


class ResponseWriter(Struct, frozen=True, kw_only=True):
    """Writes the response to a chat or a completion.

    A route creates one per request and takes from it either the whole response, or the chunks of a stream.
    """

    kind: Literal["chat", "text"]
    id: str
    """The prediction's id."""
    created: int
    model: str
    """The name by which the request called the model."""
    includes_usage: bool = False

    def whole_response(self, text: str, finish: FinishReason, usage: dict[str, int]) -> dict[str, Any]:
        """Return the response to a request that is not streamed."""
        if self.kind == "chat":
            message = {"role": "assistant", "content": text, "refusal": None}
            return {**self._head("chat.completion"), "choices": [self._choice(finish, message=message)], "usage": usage}
        return {**self._head("text_completion"), "choices": [self._choice(finish, text=text)], "usage": usage}

    def first_chunk(self) -> bytes:
        """Return the chunk that names the speaker of a chat; a completion has none."""
        return self._chunk(delta={"role": "assistant", "content": ""}) if self.kind == "chat" else b""

    def text_chunk(self, text: str) -> bytes:
        """Return the chunk of a piece of text."""
        return self._chunk(delta={"content": text}) if self.kind == "chat" else self._chunk(text=text)

    def last_chunks(self, finish: FinishReason, usage: dict[str, int]) -> bytes:
        """Return the end of a stream: the finish reason, the token counts if they were asked for, and the end mark."""
        last = self._chunk(finish, delta={}) if self.kind == "chat" else self._chunk(finish, text="")
        counts = (
            encode_frame({**self._head(self._object), "choices": [], "usage": usage}) if self.includes_usage else b""
        )
        return last + counts + DONE

    @property
    def _object(self) -> str:
        return "chat.completion.chunk" if self.kind == "chat" else "text_completion"

    def _chunk(self, finish: FinishReason | None = None, **delta: Any) -> bytes:
        rest = {"usage": None} if self.includes_usage else {}
        return encode_frame({**self._head(self._object), "choices": [self._choice(finish, **delta)], **rest})

    def _head(self, kind: str) -> dict[str, Any]:
        prefix = "chatcmpl" if self.kind == "chat" else "cmpl"
        return {"id": f"{prefix}-{self.id}", "object": kind, "created": self.created, "model": self.model}

    def _choice(self, finish: FinishReason | None, **content: Any) -> dict[str, Any]:
        return {"index": 0, **content, "logprobs": None, "finish_reason": finish}


def create_writer(kind: Literal["chat", "text"], p: Prediction, model: str, *, includes_usage: bool) -> ResponseWriter:
    """Return the writer of a prediction's response."""
    return ResponseWriter(
        kind=kind, id=p.id, created=int(p.created_at.timestamp()), model=model, includes_usage=includes_usage
    )


def finish_reason(p: Prediction, limit: int | None, *, is_stopped: bool) -> FinishReason:
    """Return why the answer ends."""
    return "length" if not is_stopped and limit is not None and _count(p, "output_token_count") >= limit else "stop"


def usage(p: Prediction) -> dict[str, int]:
    """Return the token counts, as far as the model reports them."""
    read, written = _count(p, "input_token_count"), _count(p, "output_token_count")
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def embeddings(model: str, predictions: Sequence[Prediction], *, is_base64: bool) -> dict[str, Any]:
    """Return the response to an embeddings request.

    Raises `ModelFailed` for outputs that are not vectors.
    """
    vectors = [parse_vector(p.output) for p in predictions]
    data = [
        {"object": "embedding", "index": index, "embedding": _encode_base64(each) if is_base64 else each}
        for index, each in enumerate(vectors)
    ]
    read = sum(_count(p, "input_token_count") for p in predictions)
    return {
        "object": "list",
        "data": data,
        "model": model,
        "usage": {"prompt_tokens": read, "total_tokens": read},
    }


def model_object(row: Model) -> dict[str, Any]:
    """Return a model as `GET /models` describes it."""
    created = int(row.created_at.timestamp())
    return {"id": f"{row.owner}/{row.name}", "object": "model", "created": created, "owned_by": row.owner}


def parse_vector(output: Raw | None) -> list[float]:
    """Return an output as a list of numbers; a list whose only item is such a list counts as one.

    Raises `ModelFailed`.
    """
    value = json.decode(bytes(output or b"null"))
    numbers = cast(list[Any], value) if isinstance(value, list) else []
    if len(numbers) == 1 and isinstance(numbers[0], list):
        numbers = cast(list[Any], numbers[0])
    if not numbers or any(type(each) not in {int, float} for each in numbers):
        raise ModelFailed(NOT_A_VECTOR)
    return [float(each) for each in numbers]


def encode_frame(content: Any) -> bytes:
    """Encode a server-sent event."""
    return b"data: " + json.encode(content) + b"\n\n"


def _encode_base64(numbers: Sequence[float]) -> str:
    """Encode numbers as little-endian floats of four bytes.

    Raises `ModelFailed`.
    """
    try:
        return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
    except OverflowError as error:
        raise ModelFailed(NOT_A_VECTOR) from error


def _count(p: Prediction, metric: str) -> int:
    value = p.metrics.get(metric)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
