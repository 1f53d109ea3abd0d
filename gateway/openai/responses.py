"""Answers as OpenAI's clients read them, whole or in chunks."""

import base64
import struct
from collections.abc import Sequence
from typing import Any, Final, Literal, cast

from msgspec import Raw, Struct, json

from gateway.openai.problems import ModelFailed
from gateway.store.models import Model
from schemas.prediction import Prediction

NO_VECTOR: Final = "The model's output is no list of numbers."
DONE: Final = b"data: [DONE]\n\n"

Finish = Literal["stop", "length"]


class Writing(Struct, frozen=True, kw_only=True):
    """A chat's answer, or a completion."""

    kind: Literal["chat", "text"]
    id: str
    """Of the prediction."""
    created: int
    model: str
    """As the request called it."""
    usage_wanted: bool = False

    def whole(self, text: str, finish: Finish, usage: dict[str, int]) -> dict[str, Any]:
        if self.kind == "chat":
            said = {"role": "assistant", "content": text, "refusal": None}
            return {**self._head("chat.completion"), "choices": [self._choice(finish, message=said)], "usage": usage}
        return {**self._head("text_completion"), "choices": [self._choice(finish, text=text)], "usage": usage}

    def opening(self) -> bytes:
        """Who speaks; of a completion nothing is said."""
        return self._chunk(delta={"role": "assistant", "content": ""}) if self.kind == "chat" else b""

    def piece(self, text: str) -> bytes:
        return self._chunk(delta={"content": text}) if self.kind == "chat" else self._chunk(text=text)

    def closing(self, finish: Finish, usage: dict[str, int]) -> bytes:
        last = self._chunk(finish, delta={}) if self.kind == "chat" else self._chunk(finish, text="")
        counted = frame({**self._head(self._object), "choices": [], "usage": usage}) if self.usage_wanted else b""
        return last + counted + DONE

    @property
    def _object(self) -> str:
        return "chat.completion.chunk" if self.kind == "chat" else "text_completion"

    def _chunk(self, finish: Finish | None = None, **said: Any) -> bytes:
        rest = {"usage": None} if self.usage_wanted else {}
        return frame({**self._head(self._object), "choices": [self._choice(finish, **said)], **rest})

    def _head(self, kind: str) -> dict[str, Any]:
        prefix = "chatcmpl" if self.kind == "chat" else "cmpl"
        return {"id": f"{prefix}-{self.id}", "object": kind, "created": self.created, "model": self.model}

    def _choice(self, finish: Finish | None, **said: Any) -> dict[str, Any]:
        return {"index": 0, **said, "logprobs": None, "finish_reason": finish}


def writing(kind: Literal["chat", "text"], p: Prediction, model: str, *, usage_wanted: bool) -> Writing:
    return Writing(kind=kind, id=p.id, created=int(p.created_at.timestamp()), model=model, usage_wanted=usage_wanted)


def finish(p: Prediction, limit: int | None, *, cut: bool) -> Finish:
    """Why the answer ends."""
    return "length" if not cut and limit is not None and _count(p, "output_token_count") >= limit else "stop"


def usage(p: Prediction) -> dict[str, int]:
    """As far as the model has counted."""
    read, written = _count(p, "input_token_count"), _count(p, "output_token_count")
    return {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written}


def embeddings(model: str, ended: Sequence[Prediction], *, packed: bool) -> dict[str, Any]:
    """Raises `ModelFailed` for outputs that are no vectors."""
    vectors = [vector(p.output) for p in ended]
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(each) if packed else each}
        for index, each in enumerate(vectors)
    ]
    read = sum(_count(p, "input_token_count") for p in ended)
    return {
        "object": "list",
        "data": data,
        "model": model,
        "usage": {"prompt_tokens": read, "total_tokens": read},
    }


def model(found: Model) -> dict[str, Any]:
    created = int(found.created_at.timestamp())
    return {"id": f"{found.owner}/{found.name}", "object": "model", "created": created, "owned_by": found.owner}


def vector(output: Raw | None) -> list[float]:
    """A list of numbers, also the only one of a list. Raises `ModelFailed`."""
    value = json.decode(bytes(output or b"null"))
    numbers = cast(list[Any], value) if isinstance(value, list) else []
    if len(numbers) == 1 and isinstance(numbers[0], list):
        numbers = cast(list[Any], numbers[0])
    if not numbers or any(type(each) not in {int, float} for each in numbers):
        raise ModelFailed(NO_VECTOR)
    return [float(each) for each in numbers]


def frame(content: Any) -> bytes:
    return b"data: " + json.encode(content) + b"\n\n"


def _packed(numbers: Sequence[float]) -> str:
    """Little-endian numbers of four bytes."""
    try:
        return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()
    except OverflowError as error:
        raise ModelFailed(NO_VECTOR) from error


def _count(p: Prediction, metric: str) -> int:
    value = p.metrics.get(metric)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
