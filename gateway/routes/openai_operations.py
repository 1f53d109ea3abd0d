"""What the OpenAPI document says of the bodies of /openai/v1."""

from dataclasses import dataclass

from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, RequestBody, Schema

TEXT = Schema(type=OpenAPIType.STRING)
NUMBER = Schema(type=OpenAPIType.NUMBER)
COUNT = Schema(type=OpenAPIType.INTEGER)
MODEL = Schema(type=OpenAPIType.STRING, description="owner/name, owner/name:id or a version's id.")
MESSAGE = Schema(type=OpenAPIType.OBJECT, properties={"role": TEXT, "content": TEXT}, required=["role", "content"])
GENERATING: dict[str, Schema] = {
    "stream": Schema(type=OpenAPIType.BOOLEAN),
    "stream_options": Schema(type=OpenAPIType.OBJECT, properties={"include_usage": Schema(type=OpenAPIType.BOOLEAN)}),
    "max_tokens": COUNT,
    "stop": Schema(one_of=[TEXT, Schema(type=OpenAPIType.ARRAY, items=TEXT)]),
    "temperature": NUMBER,
    "top_p": NUMBER,
    "seed": COUNT,
    "presence_penalty": NUMBER,
    "frequency_penalty": NUMBER,
}


@dataclass
class ChatOperation(Operation):
    def __post_init__(self) -> None:
        messages = Schema(type=OpenAPIType.ARRAY, items=MESSAGE)
        self.request_body = _body({"model": MODEL, "messages": messages, **GENERATING}, ["model", "messages"])


@dataclass
class CompletionOperation(Operation):
    def __post_init__(self) -> None:
        self.request_body = _body({"model": MODEL, "prompt": TEXT, **GENERATING}, ["model", "prompt"])


@dataclass
class EmbeddingOperation(Operation):
    def __post_init__(self) -> None:
        given = Schema(one_of=[TEXT, Schema(type=OpenAPIType.ARRAY, items=TEXT)])
        form = Schema(type=OpenAPIType.STRING, enum=["float", "base64"])
        self.request_body = _body({"model": MODEL, "input": given, "encoding_format": form}, ["model", "input"])


def _body(properties: dict[str, Schema], required: list[str]) -> RequestBody:
    """Other fields are inputs of the version."""
    schema = Schema(type=OpenAPIType.OBJECT, properties={**properties}, required=required)
    return RequestBody(content={"application/json": OpenAPIMediaType(schema=schema)}, required=True)
