"""What the OpenAPI document says of the bodies and parameters of deployments."""

from dataclasses import dataclass

from litestar.openapi.spec import OpenAPIType, Operation, Schema

from gateway.openapi.operations import body

TEXT = Schema(type=OpenAPIType.STRING)
RELEASE = {
    "version": Schema(type=OpenAPIType.STRING, description="Of the deployment's model: 64 hex digits."),
    "hardware": Schema(type=OpenAPIType.STRING, description="A SKU that `/hardware` lists."),
    "min_instances": Schema(type=OpenAPIType.INTEGER, minimum=0, maximum=5),
    "max_instances": Schema(type=OpenAPIType.INTEGER, minimum=0, maximum=20),
}


@dataclass
class MakeOperation(Operation):
    def __post_init__(self) -> None:
        properties = {"name": TEXT, "model": TEXT, **RELEASE}
        self.request_body = body(properties, list(properties))


@dataclass
class ChangeOperation(Operation):
    def __post_init__(self) -> None:
        self.request_body = body(RELEASE, [])


@dataclass
class RollbackOperation(Operation):
    def __post_init__(self) -> None:
        self.request_body = body({"number": Schema(type=OpenAPIType.INTEGER, minimum=1)}, [])
        self.request_body.required = False
