"""/account: who the token belongs to."""

from litestar import Response, Router, get

from gateway.call import AnyRequest, answer, caller
from gateway.views import present


@get("/account", operation_id="account.get")
async def show(request: AnyRequest) -> Response[bytes]:
    """The account that the token belongs to."""
    account = await caller(request)
    named = ("type", "username", "name", "github_url", "avatar_url")
    return answer(present({field: getattr(account, field) for field in named}))


router = Router("/", route_handlers=[show], tags=["account"])
