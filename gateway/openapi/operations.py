"""What the OpenAPI document says of bodies and parameters that handlers read themselves."""

from dataclasses import dataclass

from litestar.openapi.spec import OpenAPIMediaType, OpenAPIType, Operation, Parameter, RequestBody, Schema
from litestar.openapi.spec.enums import OpenAPIFormat

INPUT = Schema(type=OpenAPIType.OBJECT, description="What the version's Input schema asks for.")
WEBHOOK = {
    "webhook": Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.URI, description="Told of what happens."),
    "webhook_events_filter": Schema(
        type=OpenAPIType.ARRAY,
        items=Schema(type=OpenAPIType.STRING, enum=["start", "output", "logs", "completed"]),
        description="Of what; by default of output and completed.",
    ),
}


@dataclass
class CreateOperation(Operation):
    def __post_init__(self) -> None:
        version = Schema(type=OpenAPIType.STRING)
        self.request_body = body({"version": version, "input": INPUT, **WEBHOOK}, ["version", "input"])
        self.parameters = [*(self.parameters or []), *CREATE_HEADERS]


@dataclass
class RunOperation(Operation):
    def __post_init__(self) -> None:
        self.request_body = body({"input": INPUT, **WEBHOOK}, ["input"])
        self.parameters = [*(self.parameters or []), *CREATE_HEADERS]


@dataclass
class ListOperation(Operation):
    def __post_init__(self) -> None:
        self.parameters = [
            *(self.parameters or []),
            CURSOR,
            query("created_after", "Inclusive, ISO 8601."),
            query("created_before", "Inclusive, ISO 8601."),
            query("source", "web or api"),
        ]


@dataclass
class PushOperation(Operation):
    def __post_init__(self) -> None:
        schema = Schema(
            type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY, description="Of the folder that cog.yaml is in."
        )
        self.request_body = RequestBody(content={"application/x-tar": OpenAPIMediaType(schema=schema)}, required=True)
        self.parameters = [
            *(self.parameters or []),
            header("Samovar-Digest", "sha256 of the body, in hex; one that differs is refused."),
        ]


@dataclass
class TrainOperation(Operation):
    def __post_init__(self) -> None:
        destination = Schema(type=OpenAPIType.STRING, description="owner/name of the model that gets a new version.")
        input = Schema(type=OpenAPIType.OBJECT, description="What the version's TrainingInput schema asks for.")
        self.request_body = body({"destination": destination, "input": input, **WEBHOOK}, ["destination", "input"])
        self.parameters = [*(self.parameters or []), CANCEL_AFTER]


@dataclass
class PageOperation(Operation):
    def __post_init__(self) -> None:
        self.parameters = [*(self.parameters or []), CURSOR]


@dataclass
class UploadOperation(Operation):
    def __post_init__(self) -> None:
        text = Schema(type=OpenAPIType.STRING)
        schema = Schema(
            type=OpenAPIType.OBJECT,
            properties={
                "content": Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.BINARY),
                "filename": text,
                "type": text,
                "metadata": Schema(type=OpenAPIType.OBJECT),
            },
            required=["content"],
        )
        form = OpenAPIMediaType(schema=schema)
        self.request_body = RequestBody(content={"multipart/form-data": form}, required=True)


@dataclass
class StreamOperation(Operation):
    def __post_init__(self) -> None:
        self.parameters = [
            *(self.parameters or []),
            query(
                "events",
                "`all` adds status (while starting, with the reason), logs and metrics.",
            ),
            header("Last-Event-ID", "Resume after this event."),
        ]


@dataclass
class RunnersOperation(Operation):
    def __post_init__(self) -> None:
        self.parameters = [*(self.parameters or []), header("Last-Event-ID", "Nothing is said until it is outdated.")]


@dataclass
class FeedOperation(Operation):
    def __post_init__(self) -> None:
        self.parameters = [
            *(self.parameters or []),
            header("Last-Event-ID", "Go on after this event."),
            query("last_event_id", "The same, for clients that cannot send headers."),
        ]


def body(properties: dict[str, Schema], required: list[str]) -> RequestBody:
    schema = Schema(type=OpenAPIType.OBJECT, properties={**properties}, required=required, additional_properties=False)
    return RequestBody(content={"application/json": OpenAPIMediaType(schema=schema)}, required=True)


def query(name: str, description: str) -> Parameter:
    return Parameter(name=name, param_in="query", description=description, schema=Schema(type=OpenAPIType.STRING))


def header(name: str, description: str) -> Parameter:
    return Parameter(name=name, param_in="header", description=description, schema=Schema(type=OpenAPIType.STRING))


CANCEL_AFTER = header("Cancel-After", "Cancel unless it has ended by then: 30s, 5m, 1h30m45s.")
CREATE_HEADERS = [
    header("Prefer", "`wait` or `wait=n`: hold the answer until the end, for 1 to 60 seconds."),
    CANCEL_AFTER,
    header(
        "Idempotency-Key", "1 to 255 characters: the same request again within 24 hours gives the first prediction."
    ),
]
CURSOR = query("cursor", "From `next` or `previous` of a page.")
