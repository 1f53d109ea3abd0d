"""OpenAI's fields become a version's inputs, by the names that it has for them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct, json

from gateway.openai import requests
from gateway.openai.problems import Refused
from gateway.openai.requests import Chat, Completion, Generating, Turn

PROMPT: Final = ("prompt", "text", "input")
SYSTEM: Final = ("system_prompt", "system")
LIMIT: Final = ("max_tokens", "max_new_tokens", "max_completion_tokens", "max_output_tokens", "max_length")
STOP: Final = ("stop", "stop_sequences")
TEXT: Final = ("text", "input", "texts", "inputs", "sentence", "sentences", "query", "prompt")

HINTS: Final = frozenset({"temperature", "top_p", "seed", "presence_penalty", "frequency_penalty"})
"""They are sent as a matter of course: a version without such an input chooses its words as it does."""
SILENT: Final = frozenset(
    {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"}
)
"""They change nothing of an answer."""
NEUTRAL: Final[dict[str, tuple[Any, ...]]] = {
    "n": (1,),
    "best_of": (1,),
    "tools": ([],),
    "tool_choice": ("none", "auto"),
    "parallel_tool_calls": (True, False),
    "functions": ([],),
    "function_call": ("none", "auto"),
    "logprobs": (False,),
    "top_logprobs": (),
    "logit_bias": ({},),
    "echo": (False,),
    "suffix": ("",),
    "response_format": ({"type": "text"},),
    "modalities": (["text"],),
    "audio": (),
    "prediction": (),
    "web_search_options": (),
}
"""What cannot be answered here, but for these values, which ask for nothing."""


class Schema(Struct, frozen=True):
    """The inputs of a version."""

    properties: Mapping[str, Mapping[str, Any]]
    required: frozenset[str] = frozenset()

    def first(self, names: Sequence[str]) -> str | None:
        return next((name for name in names if name in self.properties), None)

    def array(self, name: str) -> bool:
        return self.properties[name].get("type") == "array"


class Mapped(Struct, frozen=True, kw_only=True):
    input: dict[str, Any]
    names: dict[str, str]
    """What the request calls each input."""
    limit: int | None = None
    """Tokens after which the version stops, whatever it would have said."""
    cuts: list[str] = []
    """Texts that the answer ends before, where the version has no input for them."""


def chat(asked: Chat, others: Mapping[str, Any], schema: Schema) -> Mapped:
    """Raises `Refused`."""
    turns = requests.turns(asked.messages)
    prompt = schema.first(PROMPT)
    if "messages" in schema.properties:
        said = [{"role": turn.role, "content": turn.content} for turn in turns]
        input: dict[str, Any] = {"messages": said if schema.array("messages") else json.encode(said).decode()}
        if prompt in schema.required:
            input[prompt] = next((turn.content for turn in reversed(turns) if turn.role == "user"), "")
    elif prompt is None:
        raise _unfit("chat", "messages or prompt")
    else:
        input = _spoken(turns, prompt, schema.first(SYSTEM))
    return _generating(asked, others, schema, input, "messages")


def completion(asked: Completion, others: Mapping[str, Any], schema: Schema) -> Mapped:
    """Raises `Refused`."""
    name = schema.first(PROMPT)
    if name is None:
        raise _unfit("complete texts", "prompt")
    return _generating(asked, others, schema, {name: requests.prompt(asked)}, "prompt")


def embedding(text: str, others: Mapping[str, Any], schema: Schema) -> Mapped:
    """Raises `Refused`."""
    name = schema.first(TEXT)
    if name is None:
        raise _unfit("embed texts", "text")
    more = _others(others, schema)
    return Mapped(
        input={**more, name: [text] if schema.array(name) else text},
        names={**{each: each for each in more}, name: "input"},
    )


def one_prompt(turns: Sequence[Turn]) -> str:
    """A conversation as one text: a single question stands alone, several turns are a transcript to be gone on with."""
    if len(turns) == 1:
        return turns[0].content
    lines = [f"{turn.role.capitalize()}: {turn.content}" for turn in turns]
    return "\n\n".join(lines if turns[-1].role == "assistant" else [*lines, "Assistant:"])


def _spoken(turns: Sequence[Turn], prompt: str, system: str | None) -> dict[str, Any]:
    """For a version that takes a prompt, and maybe who answers."""
    if system is None:
        return {prompt: one_prompt(turns)}
    who = [turn.content for turn in turns if turn.role == "system"]
    rest = [turn for turn in turns if turn.role != "system"]
    return {prompt: one_prompt(rest) if rest else "", **({system: "\n\n".join(who)} if who else {})}


def _generating(
    asked: Generating, others: Mapping[str, Any], schema: Schema, input: dict[str, Any], source: str
) -> Mapped:
    names = dict.fromkeys(input, source)
    if (limit := schema.first(LIMIT)) is not None:
        field = "max_tokens" if asked.max_completion_tokens is None else "max_completion_tokens"
        names[limit] = field
        if (wanted := getattr(asked, field)) is not None:
            input[limit] = wanted
    elif (asked.max_tokens, asked.max_completion_tokens) != (None, None):
        raise Refused("max_tokens", "this model has no input that would limit its answer; leave it out.")
    stop = schema.first(STOP)
    if stop is not None and not schema.array(stop) and any("," in each for each in asked.stops):
        stop = None  # such an input is a list with commas
    if stop is not None and asked.stops:
        names[stop] = "stop"
        input[stop] = asked.stops if schema.array(stop) else ",".join(asked.stops)
    more = _others(others, schema)
    most = input.get(limit, schema.properties[limit].get("default")) if limit else None
    return Mapped(
        input={**more, **input},
        names={**{each: each for each in more}, **names},
        limit=most if isinstance(most, int) else None,
        cuts=asked.stops if stop is None else [],
    )


def _others(given: Mapping[str, Any], schema: Schema) -> dict[str, Any]:
    """Inputs that the request names as the version does. Raises `Refused`."""
    input: dict[str, Any] = {}
    for name, value in given.items():
        if name in NEUTRAL:
            if value not in NEUTRAL[name]:
                raise Refused(name, "this is not supported here.")
        elif name in schema.properties:
            input[name] = value
        elif name not in HINTS and name not in SILENT:
            raise Refused(name[:100], "this model has no such input.")
    return input


def _unfit(what: str, wanted: str) -> Refused:
    return Refused("model", f"it cannot {what}: it has no input called {wanted}.")
