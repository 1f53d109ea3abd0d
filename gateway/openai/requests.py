"""The requests of OpenAI's clients: the fields that mean something here, and the names of all others."""

from collections.abc import Callable, Mapping
from typing import Annotated, Any, Final, Literal, TypeVar

from msgspec import Meta, Struct

from gateway.openai.problems import UnsupportedField

T = TypeVar("T", bound="OpenAIRequest")

MAX_STOPS: Final = 16
MAX_STOP_CHARACTERS: Final = 1000
MAX_TEXTS: Final = 2048


class SamplingOptions(Struct, frozen=True):
    """Fields that mean something only to versions with an input of the same name."""

    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None


class StreamOptions(Struct, frozen=True):
    """The field `stream_options`."""

    include_usage: bool | None = None


class OpenAIRequest(Struct, frozen=True, kw_only=True):
    """The fields that all requests have."""

    model: str
    """`owner/name`, `owner/name:id`, or the id of a version."""


class GenerationRequest(OpenAIRequest, frozen=True, kw_only=True):
    """The fields of a request for generated text."""

    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: str | list[str] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None

    @property
    def stops(self) -> list[str]:
        """The texts that the answer ends before.

        Raises `UnsupportedField`.
        """
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        if len(stops) > MAX_STOPS or any(not 0 < len(each) <= MAX_STOP_CHARACTERS for each in stops):
            raise UnsupportedField("stop", f"send up to {MAX_STOPS} texts of 1 to {MAX_STOP_CHARACTERS} characters.")
        return stops

    @property
    def includes_usage(self) -> bool:
        """Whether a stream ends with a chunk of token counts."""
        return bool(self.stream_options and self.stream_options.include_usage)


class ContentPart(Struct, frozen=True):
    """One part of a message's content."""

    type: str
    text: str | None = None


class Message(Struct, frozen=True):
    """A message as clients send it."""

    role: str
    content: str | list[ContentPart] | None = None


class ChatRequest(GenerationRequest, frozen=True, kw_only=True):
    """The body of `POST /chat/completions`."""

    messages: list[Message]


class CompletionRequest(GenerationRequest, frozen=True, kw_only=True):
    """The body of `POST /completions`."""

    prompt: str | list[Any]


class EmbeddingRequest(OpenAIRequest, frozen=True, kw_only=True):
    """The body of `POST /embeddings`."""

    input: str | Annotated[list[Any], Meta(extra_json_schema={"items": {"type": "string"}})]
    encoding_format: Literal["float", "base64"] | None = None

    @property
    def texts(self) -> list[str]:
        """The texts to embed.

        Raises `UnsupportedField`.
        """
        inputs = [self.input] if isinstance(self.input, str) else self.input
        if not 0 < len(inputs) <= MAX_TEXTS:
            raise UnsupportedField("input", f"send 1 to {MAX_TEXTS} texts.")
        texts = [each for each in inputs if isinstance(each, str)]
        if len(texts) < len(inputs):
            raise UnsupportedField("input", "send a text or a list of texts; tokens are not supported.")
        return texts


class PlainMessage(Struct, frozen=True):
    """A message as plain text."""

    role: Literal["system", "user", "assistant"]
    content: str


ROLES: Final[dict[str, Literal["system", "user", "assistant"]]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


def plain_messages(messages: list[Message]) -> list[PlainMessage]:
    """Return the messages as plain text.

    Raises `UnsupportedField`, which names the message.
    """
    if not messages:
        raise UnsupportedField("messages", "send at least one message.")
    return [_plain_message(message, f"messages[{index}]") for index, message in enumerate(messages)]


def single_prompt(request: CompletionRequest) -> str:
    """Return the one text that the request asks to complete.

    Raises `UnsupportedField`.
    """
    prompts = request.prompt if isinstance(request.prompt, list) else [request.prompt]
    if len(prompts) != 1 or not isinstance(prompts[0], str):
        raise UnsupportedField("prompt", "send one text; lists of several texts and tokens are not supported.")
    return prompts[0]


def unknown_fields(fields: Mapping[str, Any], request: OpenAIRequest) -> dict[str, Any]:
    """Return the fields of a request that its struct does not have, without those that are null."""
    return {
        name: value for name, value in fields.items() if value is not None and name not in request.__struct_fields__
    }


def _plain_message(message: Message, where: str) -> PlainMessage:
    role = ROLES.get(message.role)
    if role is None:
        raise UnsupportedField(f"{where}.role", f"must be {', '.join(ROLES)}; tools are not supported.")
    if isinstance(message.content, list):
        return PlainMessage(role, "\n".join(_read_each(message.content, f"{where}.content", _part_text)))
    if message.content is None:
        raise UnsupportedField(f"{where}.content", "send a text.")
    return PlainMessage(role, message.content)


def _read_each(parts: list[ContentPart], where: str, read: Callable[[ContentPart, str], str]) -> list[str]:
    return [read(part, f"{where}[{index}]") for index, part in enumerate(parts)]


def _part_text(part: ContentPart, where: str) -> str:
    if part.type != "text" or part.text is None:
        raise UnsupportedField(f"{where}.type", f"parts of the type {part.type[:50]!r} are not supported; send text.")
    return part.text
