"""The specs of operations, which routes declare with `operation_class`: what they read and answer."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, ClassVar, Final, ParamSpec

from litestar.openapi.spec import Operation, Parameter
from msgspec import Meta, Struct

from gateway.openai.requests import SamplingOptions
from gateway.openapi.parameters import CREATE_HEADERS, CURSOR
from gateway.predictions.request import PredictionBody
from gateway.views.resources import PredictionView

JSON: Final = ("application/json",)
TEXT: Final = ("text/plain; charset=utf-8",)
EVENTS: Final = ("text/event-stream; charset=utf-8",)
BYTES: Final = ("application/octet-stream",)
ANY: Final = ("*/*",)

P = ParamSpec("P")

BINARY: Final = Meta(extra_json_schema={"format": "binary"})
ARCHIVE: Final = Annotated[str, BINARY, Meta(description="A tar archive of the folder that cog.yaml is in.")]


class UploadForm(Struct, kw_only=True):
    """The parts of a file upload."""

    content: Annotated[str, BINARY]
    filename: str | None = None
    type: str | None = None
    metadata: dict[str, Any] | None = None


class OperationSpec(Struct, frozen=True):
    """The facts of an operation that its signature does not say; the rest of the document follows from them."""

    answer: Any = None
    """A struct, or a type made of structs, that is sent as JSON; None for texts, files and empty answers."""
    is_page: bool = False
    """Whether the answer is a page of a list, with `answer` as the type of its results."""
    media: tuple[str, ...] = ()
    """Media types of the answer: JSON by default if there is an `answer`."""
    also: tuple[int, ...] = ()
    """Statuses with the same body, beside the one that the route answers by default."""
    refuses: tuple[int, ...] = ()
    """Statuses of refusals that do not follow from the kind of operation."""
    has_problems: bool = True
    """Whether refusals are problems, as RFC 9457 defines them; else they are errors in OpenAI's shape."""
    body: Any = None
    """The struct, or the type, that the route reads; None for no body."""
    body_media: str = "application/json"
    body_options: type[Struct] | None = None
    """A struct of fields that the body may have as well."""
    is_body_required: bool = True
    required: tuple[str, ...] = ()
    """Fields that the body needs, although its struct does not require them."""
    hidden: tuple[str, ...] = ()
    """Fields of the body that this operation ignores."""
    parameters: tuple[Parameter, ...] = ()


class SpecifiedOperation(Operation):
    """An operation with a spec, from which its part of the document is completed."""

    spec: ClassVar[OperationSpec]


def _operation_class(create_spec: Callable[P, OperationSpec]) -> Callable[P, type[Operation]]:
    def create(*args: P.args, **fields: P.kwargs) -> type[Operation]:
        return type("RouteOperation", (SpecifiedOperation,), {"spec": create_spec(*args, **fields)})

    return create


operation = _operation_class(OperationSpec)
"""Return an operation class for a route; the arguments are the fields of `OperationSpec`."""


def page_of(answer: type[Struct], *parameters: Parameter, refuses: Sequence[int] = ()) -> type[Operation]:
    """Return an operation class for a route that lists what it describes as `answer`."""
    return operation(answer, is_page=True, parameters=(CURSOR, *parameters), refuses=tuple(refuses))


def file_operation(*media: str) -> type[Operation]:
    """Return an operation class for a route that answers a file, or a range of it; without `media`, headers only."""
    return operation(media=media, also=(206, 304), refuses=(416,)) if media else operation(also=(304,))


def create_prediction(*, has_version: bool = False) -> type[Operation]:
    """Return an operation class for a route that creates a prediction; 202 answers a wait that ran out.

    `has_version` says whether the version is named in the body, rather than by the path.
    """
    return operation(
        PredictionView,
        also=(202,),
        body=PredictionBody,
        required=("version", "input") if has_version else ("input",),
        hidden=() if has_version else ("version",),
        parameters=CREATE_HEADERS,
    )


def openai_operation(body: type[Struct] | None = None, *, has_sampling: bool = False) -> type[Operation]:
    """Return an operation class for a route of OpenAI's API; other fields of its body are inputs of the version."""
    return operation(
        dict,
        media=(*JSON, *EVENTS),
        refuses=(404, 499, 500),
        has_problems=False,
        body=body,
        body_options=SamplingOptions if has_sampling else None,
    )
