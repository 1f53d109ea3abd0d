"""/runners: which hosts there are, which models are hot on them, and what waits."""

from litestar import Response, Router, get

from gateway.broker import Failed
from gateway.call import AnyRequest, answer, caller, parts
from gateway.errors import Unavailable
from gateway.overview import overview


@get("/runners", operation_id="runners.list")
async def page(request: AnyRequest) -> Response[bytes]:
    """Runners heard of in the last seconds, with their memory, devices and instances; and versions with jobs waiting.

    Of Samovar alone: Replicate's API has nothing like it.
    """
    await caller(request)
    here = parts(request)
    try:
        depths = await here.broker.depths()
    except Failed as error:
        raise Unavailable("The broker does not say what waits. Try again.") from error
    return answer(overview(here.fleet, depths))


router = Router("/", route_handlers=[page], tags=["operation"])
