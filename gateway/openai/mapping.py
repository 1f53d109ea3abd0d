"""Maps the fields of an OpenAI request to the inputs of a version, by the names that the version has for them."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from msgspec import Struct, json

from gateway.openai import requests
from gateway.openai.problems import UnsupportedField
from gateway.openai.requests import ChatRequest, CompletionRequest, GenerationRequest, PlainMessage, SamplingOptions

PROMPT_INPUTS: Final = ("prompt", "text", "input")
SYSTEM_INPUTS: Final = ("system_prompt", "system")
LIMIT_INPUTS: Final = ("max_tokens", "max_new_tokens", "max_completion_tokens", "max_output_tokens", "max_length")
STOP_INPUTS: Final = ("stop", "stop_sequences")
TEXT_INPUTS: Final = ("text", "input", "texts", "inputs", "sentence", "sentences", "query", "prompt")

OPTIONAL_FIELDS: Final = frozenset(SamplingOptions.__struct_fields__)
"""Clients send these as a matter of course, so a version without such an input ignores them."""
IGNORED_FIELDS: Final = frozenset(
    {"user", "metadata", "store", "service_tier", "safety_identifier", "prompt_cache_key", "prompt_cache_retention"}
)
"""Fields that do not change an answer."""
NEUTRAL_VALUES: Final[dict[str, tuple[Any, ...]]] = {
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
"""Fields that are not supported here, and the values of each that ask for nothing."""


class InputSchema(Struct, frozen=True):
    """The inputs of a version."""

    properties: Mapping[str, Mapping[str, Any]]
    required: frozenset[str] = frozenset()

    def first_of(self, names: Sequence[str]) -> str | None:
        """Return the first of these names that is an input of the version."""
        return next((name for name in names if name in self.properties), None)

    def is_array(self, name: str) -> bool:
        """Return whether the input takes an array."""
        return self.properties[name].get("type") == "array"


class MappedInput(Struct, frozen=True, kw_only=True):
    """The inputs of one prediction, and what the request says beside them."""

    input: dict[str, Any]
    field_names: dict[str, str]
    """The field of the request that each input came from."""
    limit: int | None = None
    """How many tokens the version generates at most."""
    stops: list[str] = []
    """Texts that the answer ends before, where the version has no input for them."""


def map_chat(request: ChatRequest, fields: Mapping[str, Any], schema: InputSchema) -> MappedInput:
    """Map a chat to messages, or to a prompt.

    Raises `UnsupportedField`.
    """
    messages = requests.plain_messages(request.messages)
    prompt = schema.first_of(PROMPT_INPUTS)
    if "messages" in schema.properties:
        content = [{"role": message.role, "content": message.content} for message in messages]
        input: dict[str, Any] = {"messages": content if schema.is_array("messages") else json.encode(content).decode()}
        if prompt in schema.required:
            input[prompt] = next((message.content for message in reversed(messages) if message.role == "user"), "")
    elif prompt is None:
        raise _unusable("chat", "messages or prompt")
    else:
        input = _prompt_input(messages, prompt, schema.first_of(SYSTEM_INPUTS))
    return _map_generation(request, fields, schema, input, "messages")


def map_completion(request: CompletionRequest, fields: Mapping[str, Any], schema: InputSchema) -> MappedInput:
    """Map a completion to a prompt.

    Raises `UnsupportedField`.
    """
    name = schema.first_of(PROMPT_INPUTS)
    if name is None:
        raise _unusable("complete texts", "prompt")
    return _map_generation(request, fields, schema, {name: requests.single_prompt(request)}, "prompt")


def map_embedding(text: str, fields: Mapping[str, Any], schema: InputSchema) -> MappedInput:
    """Map one text of an embeddings request.

    Raises `UnsupportedField`.
    """
    name = schema.first_of(TEXT_INPUTS)
    if name is None:
        raise _unusable("embed texts", "text")
    extra = _map_unknown_fields(fields, schema)
    return MappedInput(
        input={**extra, name: [text] if schema.is_array(name) else text},
        field_names={**{each: each for each in extra}, name: "input"},
    )


def join_messages(messages: Sequence[PlainMessage]) -> str:
    """Return a conversation as one text.

    A single message stands alone; several are a transcript for the model to continue.
    """
    if len(messages) == 1:
        return messages[0].content
    lines = [f"{message.role.capitalize()}: {message.content}" for message in messages]
    return "\n\n".join(lines if messages[-1].role == "assistant" else [*lines, "Assistant:"])


def _prompt_input(messages: Sequence[PlainMessage], prompt: str, system: str | None) -> dict[str, Any]:
    """Return the inputs of a version that takes a prompt, and maybe a system prompt."""
    if system is None:
        return {prompt: join_messages(messages)}
    system_texts = [message.content for message in messages if message.role == "system"]
    rest = [message for message in messages if message.role != "system"]
    return {
        prompt: join_messages(rest) if rest else "",
        **({system: "\n\n".join(system_texts)} if system_texts else {}),
    }


def _map_generation(
    request: GenerationRequest, fields: Mapping[str, Any], schema: InputSchema, input: dict[str, Any], source: str
) -> MappedInput:
    names = dict.fromkeys(input, source)
    if (limit := schema.first_of(LIMIT_INPUTS)) is not None:
        field = "max_tokens" if request.max_completion_tokens is None else "max_completion_tokens"
        names[limit] = field
        if (value := getattr(request, field)) is not None:
            input[limit] = value
    elif (request.max_tokens, request.max_completion_tokens) != (None, None):
        raise UnsupportedField("max_tokens", "this model has no input that limits its answer; leave this field out.")
    stop = schema.first_of(STOP_INPUTS)
    if stop is not None and not schema.is_array(stop) and any("," in each for each in request.stops):
        stop = None  # such an input separates its texts with commas
    if stop is not None and request.stops:
        names[stop] = "stop"
        input[stop] = request.stops if schema.is_array(stop) else ",".join(request.stops)
    extra = _map_unknown_fields(fields, schema)
    default_limit = input.get(limit, schema.properties[limit].get("default")) if limit else None
    return MappedInput(
        input={**extra, **input},
        field_names={**{each: each for each in extra}, **names},
        limit=default_limit if isinstance(default_limit, int) else None,
        stops=request.stops if stop is None else [],
    )


def _map_unknown_fields(fields: Mapping[str, Any], schema: InputSchema) -> dict[str, Any]:
    """Return the inputs that the request names as the version does.

    Raises `UnsupportedField`.
    """
    input: dict[str, Any] = {}
    for name, value in fields.items():
        if name in NEUTRAL_VALUES:
            if value not in NEUTRAL_VALUES[name]:
                raise UnsupportedField(name, "this is not supported here.")
        elif name in schema.properties:
            input[name] = value
        elif name not in OPTIONAL_FIELDS and name not in IGNORED_FIELDS:
            raise UnsupportedField(name[:100], "this model has no such input.")
    return input


def _unusable(use: str, inputs: str) -> UnsupportedField:
    return UnsupportedField("model", f"it cannot {use}: it has no input called {inputs}.")
