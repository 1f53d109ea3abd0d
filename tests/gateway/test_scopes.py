"""What each scope of a token allows, for every operation of the API; and that tokens are not told to the logs."""

import asyncio
import os
import sys
from pathlib import Path
from typing import Any, Final

import asyncpg
import httpx

from benchmarks.stack import SAMOVAR, free_port
from gateway.settings import Settings

SCOPES: Final = ("predict", "write", "admin")
ANY: Final = "any"
OPEN: Final = "open"
"""No token is needed: its URL cannot be guessed, or it tells nothing."""

RIGHTS: Final = {
    "account.get": ANY,
    "accounts.create": "admin",
    "accounts.delete": "admin",
    "accounts.get": "admin",
    "accounts.list": "admin",
    "accounts.update": "admin",
    "collections.create": "admin",
    "collections.delete": "admin",
    "collections.get": ANY,
    "collections.list": ANY,
    "collections.update": "admin",
    "deployments.create": "write",
    "deployments.delete": "write",
    "deployments.get": ANY,
    "deployments.list": ANY,
    "deployments.predictions.create": "predict",
    "deployments.releases.list": ANY,
    "deployments.rollback": "write",
    "deployments.update": "write",
    "files.create": "predict",
    "files.delete": "predict",
    "files.download": OPEN,
    "files.get": ANY,
    "files.list": ANY,
    "gc.free": "admin",
    "gc.survey": "admin",
    "hardware.list": ANY,
    "health.live": OPEN,
    "health.ready": OPEN,
    "metrics.get": OPEN,
    "models.create": "write",
    "models.delete": "write",
    "models.examples.create": "write",
    "models.examples.delete": "write",
    "models.examples.list": ANY,
    "models.get": ANY,
    "models.list": ANY,
    "models.predictions.create": "predict",
    "models.readme.get": ANY,
    "models.update": "write",
    "models.versions.delete": "write",
    "models.versions.get": ANY,
    "models.versions.list": ANY,
    "models.versions.logs": ANY,
    "models.versions.push": "write",
    "outputs.get": OPEN,
    "predictions.cancel": "predict",
    "predictions.create": "predict",
    "predictions.events": ANY,
    "predictions.get": ANY,
    "predictions.list": ANY,
    "pushes.cancel": "write",
    "pushes.get": ANY,
    "runners.events": ANY,
    "runners.list": ANY,
    "search": ANY,
    "streams.get": OPEN,
    "tokens.create": "write",
    "tokens.delete": "write",
    "tokens.list": ANY,
    "trainings.cancel": "write",
    "trainings.create": "write",
    "trainings.get": ANY,
    "trainings.list": ANY,
    "webhooks.deliveries.redeliver": "predict",
    "webhooks.deliveries.list": ANY,
    "webhooks.deliveries.get": ANY,
    "webhooks.default.secret.rotate": "write",
    "webhooks.default.secret.get": ANY,
    "openai.models.list": ANY,
    "openai.models.get": ANY,
    "openai.embeddings": "predict",
    "openai.completions": "predict",
    "openai.chat": "predict",
    "outputs.head": OPEN,
    "files.download.head": OPEN,
}


async def operations(client: httpx.AsyncClient) -> dict[str, tuple[str, str]]:
    """Method and path of each; its parameters name nothing that is there."""
    document = (await client.get("/openapi.json")).json()
    return {
        operation["operationId"]: (method.upper(), path.replace("{", "none-").replace("}", ""))
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if isinstance(operation, dict) and "operationId" in operation
    }


async def status(client: httpx.AsyncClient, method: str, path: str, token: str | None) -> int:
    headers = {"Authorization": f"Bearer {token}"} if token else {"Authorization": ""}
    async with client.stream(method, path, headers=headers) as response:
        return response.status_code


async def test_every_operation_needs_its_scope_and_no_other(client: httpx.AsyncClient) -> None:
    tokens: dict[str, str] = {}
    for scope in SCOPES:
        tokens[scope] = (await client.post("/v1/tokens", json={"scopes": [scope]})).json()["token"]
    there = await operations(client)
    assert set(there) == set(RIGHTS), "every operation of the document stands in the table above, and no other"
    wrong: list[Any] = []
    for name, (method, path) in there.items():
        right = RIGHTS[name]
        nobody = await status(client, method, path, None)
        if (nobody == 401) != (right != OPEN):
            wrong.append((name, "without a token", nobody))
        for scope in SCOPES:
            answered = await status(client, method, path, tokens[scope])
            refused = right not in {ANY, OPEN, scope}
            if (answered == 403) != refused or answered == 401 or answered == 500:
                wrong.append((name, scope, answered))
    assert not wrong


async def test_no_token_is_in_the_logs(settings: Settings, js: object, tmp_path: Path) -> None:
    """Of a gateway as it is started alone; it answers well, refuses, and has faults."""
    secret, wrong = "kq7Zp2vXw9Lt4RbN", "Jd83hsKq0PzVb6Ym"  # not in the shape that is blotted out of every log line
    port, log = free_port(), tmp_path / "gateway.log"
    environ = {name: value for name, value in os.environ.items() if not name.startswith("SAMOVAR_")} | {
        "SAMOVAR_DATABASE_URL": settings.database_url,
        "SAMOVAR_NATS_URL": settings.nats_url,
        "SAMOVAR_FILES_URL": settings.files_url,
        "SAMOVAR_PORT": str(port),
        "SAMOVAR_TOKEN": secret,
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    with log.open("wb") as out:
        process = await asyncio.create_subprocess_exec(SAMOVAR, "gateway", env=environ, stdout=out, stderr=out)
    try:
        made = await asyncio.wait_for(capture_logs(f"http://127.0.0.1:{port}", secret, wrong, settings), 60)
    finally:
        process.terminate()
        await process.wait()
    said = log.read_text()
    assert said.count("request_failed") == 2
    assert [token for token in (secret, wrong, made) if token.removeprefix("r8_") in said] == []


async def capture_logs(url: str, secret: str, wrong: str, settings: Settings) -> str:
    """Good calls and bad ones; the token that was made meanwhile."""
    headers = {"Authorization": f"Bearer {secret}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30, trust_env=False) as client:
        while True:
            try:
                if (await client.get("/healthz")).status_code == 200:
                    break
            except httpx.TransportError:
                await asyncio.sleep(0.05)
        made = (await client.post("/v1/tokens", json={"scopes": ["predict"]})).json()["token"]
        for token in (secret, wrong, made):
            for scheme in ("Bearer", "Token", "Basic"):
                shown = {"Authorization": f"{scheme} {token}"}
                assert (await client.get("/v1/account", headers=shown)).status_code in {200, 401}
                await client.post("/v1/predictions", headers=shown, content=b"{")
        connection = await asyncpg.connect(settings.database_url)
        await connection.execute("DROP TABLE files")
        await connection.close()
        shown = [{"Authorization": f"Bearer {token}"} for token in (secret, made, wrong)]
        assert [(await client.get("/v1/files", headers=each)).status_code for each in shown] == [500, 500, 401]
        return made
