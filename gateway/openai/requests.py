"""Requests as OpenAI's clients write them: the fields that mean something here, and all the others by name."""

from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, TypeVar

from msgspec import Struct

from gateway.openai.problems import Refused

T = TypeVar("T", bound="Asked")

MOST_STOPS: Final = 16
LONGEST_STOP: Final = 1000
MOST_TEXTS: Final = 2048


class StreamOptions(Struct, frozen=True):
    include_usage: bool | None = None


class Asked(Struct, frozen=True, kw_only=True):
    model: str


class Generating(Asked, frozen=True, kw_only=True):
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: str | list[str] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None

    @property
    def stops(self) -> list[str]:
        """Where the answer ends. Raises `Refused`."""
        stops = [self.stop] if isinstance(self.stop, str) else self.stop or []
        if len(stops) > MOST_STOPS or any(not 0 < len(each) <= LONGEST_STOP for each in stops):
            raise Refused("stop", f"give up to {MOST_STOPS} texts of 1 to {LONGEST_STOP} characters.")
        return stops

    @property
    def usage_wanted(self) -> bool:
        return bool(self.stream_options and self.stream_options.include_usage)


class Part(Struct, frozen=True):
    type: str
    text: str | None = None


class Message(Struct, frozen=True):
    role: str
    content: str | list[Part] | None = None


class Chat(Generating, frozen=True, kw_only=True):
    messages: list[Message]


class Completion(Generating, frozen=True, kw_only=True):
    prompt: str | list[Any]


class Embedding(Asked, frozen=True, kw_only=True):
    input: str | list[Any]
    encoding_format: Literal["float", "base64"] | None = None

    @property
    def texts(self) -> list[str]:
        """Raises `Refused`."""
        given = [self.input] if isinstance(self.input, str) else self.input
        if not 0 < len(given) <= MOST_TEXTS:
            raise Refused("input", f"give 1 to {MOST_TEXTS} texts.")
        texts = [each for each in given if isinstance(each, str)]
        if len(texts) < len(given):
            raise Refused("input", "give a text or a list of texts; tokens are not taken.")
        return texts


class Turn(Struct, frozen=True):
    """A message, in plain text."""

    role: Literal["system", "user", "assistant"]
    content: str


ROLES: Final[dict[str, Literal["system", "user", "assistant"]]] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


def turns(messages: list[Message]) -> list[Turn]:
    """Raises `Refused`, which names the message."""
    if not messages:
        raise Refused("messages", "give one message at least.")
    return [_turn(message, f"messages[{index}]") for index, message in enumerate(messages)]


def prompt(asked: Completion) -> str:
    """Raises `Refused`."""
    given = asked.prompt if isinstance(asked.prompt, list) else [asked.prompt]
    if len(given) != 1 or not isinstance(given[0], str):
        raise Refused("prompt", "give one text; lists of several and tokens are not taken.")
    return given[0]


def others(fields: Mapping[str, Any], asked: Asked) -> dict[str, Any]:
    """The fields of a request that its struct does not have, without those that are null."""
    return {name: value for name, value in fields.items() if value is not None and name not in asked.__struct_fields__}


def _turn(message: Message, where: str) -> Turn:
    role = ROLES.get(message.role)
    if role is None:
        raise Refused(f"{where}.role", f"must be {', '.join(ROLES)}; tools are not supported.")
    if isinstance(message.content, list):
        return Turn(role, "\n".join(_each(message.content, f"{where}.content", _text)))
    if message.content is None:
        raise Refused(f"{where}.content", "give a text.")
    return Turn(role, message.content)


def _each(parts: list[Part], where: str, read: Callable[[Part, str], str]) -> list[str]:
    return [read(part, f"{where}[{index}]") for index, part in enumerate(parts)]


def _text(part: Part, where: str) -> str:
    if part.type != "text" or part.text is None:
        raise Refused(f"{where}.type", f"parts of the type {part.type[:50]!r} are not supported; send text.")
    return part.text
