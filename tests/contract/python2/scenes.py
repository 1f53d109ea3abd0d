"""What users of `replicate` 2.0.0b4 do: every method that it has for the API, each answer checked against its types.

python scenes.py sync|async FILE        (REPLICATE_BASE_URL, REPLICATE_API_TOKEN); prints what each scene saw, as JSON
"""

import asyncio
import json
import sys
import traceback
from collections.abc import AsyncIterator, Callable
from inspect import isawaitable
from secrets import token_hex
from time import time
from typing import Any
from urllib.parse import parse_qs, urlsplit

import replicate
from replicate import AsyncReplicate, NotFoundError, Replicate, UnprocessableEntityError

HELLO = {"model_owner": "samovar", "model_name": "hello-world"}
ENDED = {"succeeded", "failed", "canceled"}


class Scenes:
    def __init__(self, client: Any) -> None:
        self.client = client

    async def version(self, name: str) -> str:
        return (await now(self.client.models.get(model_owner="samovar", model_name=name))).latest_version.id

    async def account(self) -> Any:
        resource = await now(self.client.account.get())
        return [resource.type, resource.username]

    async def hardware(self) -> Any:
        return [each.sku for each in await now(self.client.hardware.list())]

    async def collections(self) -> Any:
        slugs = [each.slug async for each in items(self.client.collections.list())]
        resource = await now(self.client.collections.get(collection_slug="greeters"))
        return ["greeters" in slugs, resource.name, [each.name for each in resource.models]]

    async def files(self) -> Any:
        created = await now(
            self.client.files.create(
                content=b"a note", filename="note.txt", type="text/plain", metadata={"n": {"z": 2}}
            )
        )
        listed = [each.id async for each in items(self.client.files.list())]
        resource = await now(self.client.files.get(file_id=created.id))
        await now(self.client.files.delete(file_id=created.id))
        gone = await raises(NotFoundError, lambda: self.client.files.get(file_id=created.id))
        return [resource.content_type, resource.size, created.id in listed, gone]

    async def download(self) -> Any:
        created = await now(self.client.files.create(content=b"a note", filename="note.txt"))
        url = urlsplit(created.urls.download)
        signed = {name: values[0] for name, values in parse_qs(url.query).items()}
        expiry = int(signed["expiry"])
        answer = await now(
            self.client.files.download(
                file_id=created.id, owner=signed["owner"], expiry=expiry, signature=signed["signature"]
            )
        )
        return [(await now(answer.read())).decode(), expiry > time()]

    async def models(self) -> Any:
        name = f"made-{token_hex(4)}"
        created = await now(
            self.client.models.create(
                owner="samovar", name=name, hardware="cpu", visibility="private", description="A quagga of a model"
            )
        )
        await now(self.client.models.update(model_owner="samovar", model_name=name, readme="# Readme"))
        readme = await now(self.client.models.readme.get(model_owner="samovar", model_name=name))
        names = [each.name async for each in items(self.client.models.search(body="quagga"))]
        searched = await now(self.client.search(query="quagga", limit=5))
        listed = [
            each.name async for each in items(self.client.models.list(sort_by="model_created_at", sort_direction="asc"))
        ]
        await now(self.client.models.delete(model_owner="samovar", model_name=name))
        gone = await raises(NotFoundError, lambda: self.client.models.get(model_owner="samovar", model_name=name))
        return [
            created.visibility,
            readme,
            names == [name],
            [each.model.name == name for each in searched.models],
            "hello-world" in listed,
            gone,
        ]

    async def versions(self) -> Any:
        ids = [each.id async for each in items(self.client.models.versions.list(**HELLO))]
        resource = await now(self.client.models.versions.get(**HELLO, version_id=ids[0]))
        refused = await raises(
            UnprocessableEntityError, lambda: self.client.models.versions.delete(**HELLO, version_id=ids[0])
        )
        return [resource.id == ids[0], refused]

    async def examples(self) -> Any:
        return [each.output async for each in items(self.client.models.examples.list(**HELLO))]

    async def predictions(self) -> Any:
        version = await self.version("hello-world")
        created = await now(
            self.client.predictions.create(version=version, input={"text": "Ann"}, prefer="wait=10", cancel_after="1m")
        )
        resource = await now(self.client.predictions.get(prediction_id=created.id))
        first = None
        async for each in items(self.client.predictions.list(created_after=created.created_at)):
            first = first or each.id
        again = await now(self.client.predictions.cancel(prediction_id=created.id))
        return [resource.output, resource.deadline is not None, first is not None, again.status]

    async def predictions_of_a_model(self) -> Any:
        created = await now(self.client.models.predictions.create(**HELLO, input={"text": "Ann"}, prefer="wait"))
        return created.output

    async def cancel(self) -> Any:
        version = await self.version("count")
        created = await now(self.client.predictions.create(version=version, input={"n": 1, "delay": 60}))
        await now(self.client.predictions.cancel(prediction_id=created.id))
        return (await now(self.client.predictions.wait(created.id))).status

    async def deployments(self) -> Any:
        name, version = f"made-{token_hex(4)}", await self.version("hello-world")
        created = await now(
            self.client.deployments.create(
                name=name,
                model="samovar/hello-world",
                version=version,
                hardware="cpu",
                min_instances=0,
                max_instances=1,
            )
        )
        key = {"deployment_owner": "samovar", "deployment_name": name}
        listed = [each.name async for each in items(self.client.deployments.list())]
        prediction = await now(
            self.client.deployments.predictions.create(**key, input={"text": "Ann"}, prefer="wait=30")
        )
        changed = await now(self.client.deployments.update(**key, max_instances=2))
        resource = await now(self.client.deployments.get(**key))
        await now(self.client.deployments.delete(**key))
        gone = await raises(NotFoundError, lambda: self.client.deployments.get(**key))
        numbers = [each.current_release.number for each in (created, changed, resource)]
        return [numbers, name in listed, prediction.output, resource.current_release.configuration.max_instances, gone]

    async def trainings(self) -> Any:
        name, base = f"made-{token_hex(4)}", await self.version("trainer")
        await now(self.client.models.create(owner="samovar", name=name, hardware="cpu", visibility="public"))
        request = {
            "model_owner": "samovar",
            "model_name": "trainer",
            "version_id": base,
            "destination": f"samovar/{name}",
        }
        created = await now(self.client.trainings.create(**request, input={"greeting": "servus"}))
        training = created
        while training.status not in ENDED:
            training = await now(self.client.trainings.get(training_id=created.id))
        listed = [each.id async for each in items(self.client.trainings.list())]
        answer = await now(self.client.run(training.output.version, input={"name": "Ann"}))
        late = await now(self.client.trainings.cancel(training_id=created.id))
        missing = request | {"destination": "samovar/nobody-made-it"}
        nowhere = await raises(NotFoundError, lambda: self.client.trainings.create(**missing, input={"greeting": "x"}))
        await now(self.client.models.delete(model_owner="samovar", model_name=name))
        return [training.status, created.id in listed, answer, late.status, nowhere]

    async def secret(self) -> Any:
        return (await now(self.client.webhooks.default.secret.get())).key.startswith("whsec_")

    async def run(self) -> Any:
        return [
            await now(self.client.run("samovar/hello-world", input={"text": "Ann"})),
            await now(self.client.run("samovar/count", input={"n": 3})),
        ]

    async def use(self) -> Any:
        # A client's own method of this name fails before it asks anything, in this version of the client.
        hello = replicate.use("samovar/hello-world", use_async=isinstance(self.client, AsyncReplicate))
        return await now(hello(text="Ann"))

    async def a_wrong_input(self) -> Any:
        return await raises(
            UnprocessableEntityError,
            lambda: self.client.models.predictions.create(**HELLO, input={"text": 7}),
        )


async def now(answer: Any) -> Any:
    return await answer if isawaitable(answer) else answer


async def items(pages: Any) -> AsyncIterator[Any]:
    """Yield the items of all pages, whichever client returned them."""
    first = await now(pages)
    if hasattr(first, "__aiter__"):
        async for each in first:
            yield each
    else:
        for each in first:
            yield each


async def raises(kind: type[Exception], call: Callable[[], Any]) -> bool:
    try:
        await now(call())
    except kind:
        return True
    return False


async def play(mode: str) -> dict[str, Any]:
    kind = AsyncReplicate if mode == "async" else Replicate
    scenes, seen = Scenes(kind(_strict_response_validation=True)), {}
    for name, scene in vars(Scenes).items():
        if name.startswith("_") or name == "version":
            continue
        try:
            seen[name] = {"saw": await scene(scenes)}
        except Exception:
            seen[name] = {"error": traceback.format_exc(limit=-6)}
    return seen


if __name__ == "__main__":
    print(json.dumps(asyncio.run(play(sys.argv[1]))))
