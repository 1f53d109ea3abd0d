"""What the OpenAPI document says of the bodies and parameters of /accounts and /tokens."""

from dataclasses import dataclass

from litestar.openapi.spec import OpenAPIType, Operation, Schema
from litestar.openapi.spec.enums import OpenAPIFormat

from gateway.openapi.operations import PageOperation, body, query

TEXT = Schema(type=OpenAPIType.STRING, max_length=200)
LINK = Schema(type=[OpenAPIType.STRING, OpenAPIType.NULL], format=OpenAPIFormat.URI)
OWN = Schema(
    type=[OpenAPIType.INTEGER, OpenAPIType.NULL], minimum=0, description="0: no limit; null: what the settings say."
)
LIMIT = Schema(type=OpenAPIType.INTEGER, minimum=1)
CHANGES = {
    "type": Schema(type=OpenAPIType.STRING, enum=["user", "organization"]),
    "name": TEXT,
    "github_url": LINK,
    "avatar_url": LINK,
    "creates_per_minute": OWN,
    "others_per_minute": OWN,
}
SCOPE = Schema(type=OpenAPIType.STRING, enum=["predict", "write", "admin"])


@dataclass
class CreateAccount(Operation):
    def __post_init__(self) -> None:
        self.request_body = body({"username": Schema(type=OpenAPIType.STRING), **CHANGES}, ["username"])


@dataclass
class UpdateAccount(Operation):
    def __post_init__(self) -> None:
        self.request_body = body(CHANGES, [])


@dataclass
class CreateToken(Operation):
    def __post_init__(self) -> None:
        properties = {
            "scopes": Schema(type=OpenAPIType.ARRAY, items=SCOPE, min_items=1),
            "name": TEXT,
            "expires_in": Schema(type=OpenAPIType.INTEGER, minimum=1, description="Seconds."),
            "expires_at": Schema(type=OpenAPIType.STRING, format=OpenAPIFormat.DATE_TIME),
            "account": Schema(type=OpenAPIType.STRING, description="Another than your own, for admins."),
            "creates_per_minute": LIMIT,
            "others_per_minute": LIMIT,
        }
        self.request_body = body(properties, ["scopes"])


@dataclass
class TokensOf(PageOperation):
    def __post_init__(self) -> None:
        super().__post_init__()
        self.parameters = [*(self.parameters or []), query("account", "Another than your own, for admins.")]
