"""/account: who the token belongs to."""

from litestar import Response, Router, get

from gateway.call import AnyRequest, answer, caller


@get("/account", operation_id="account.get")
async def show(request: AnyRequest) -> Response[bytes]:
    account = await caller(request)
    return answer({"type": account.type, "username": account.username, "name": account.name})


router = Router("/", route_handlers=[show], tags=["account"])
