"""/account: who the token belongs to."""

from litestar import Response, Router, get

from gateway.http.context import AnyRequest, answer, caller
from gateway.views.accounts import account_view


@get("/account", operation_id="account.get")
async def show(request: AnyRequest) -> Response[bytes]:
    """The account that the token belongs to."""
    return answer(account_view(await caller(request)))


router = Router("/", route_handlers=[show], tags=["account"])
