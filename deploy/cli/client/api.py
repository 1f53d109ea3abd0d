"""A client of a gateway's HTTP API, as the command line uses it."""

import os
import time
from collections.abc import Generator, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import unquote, urlsplit

import httpx
from msgspec import DecodeError, convert, json, structs

from deploy.cli.client.sse import Event, Parser
from deploy.errors import DeployError, UsageError
from deploy.local.data_dir import default_data_dir
from deploy.settings import check_names
from schemas.problem import Problem

LOOPBACK_HOSTS: Final = ("127.0.0.1", "localhost", "::1")
MAX_LOST_CONNECTIONS: Final = 20  # in a row, before a stream is given up
MAX_RETRY_SECONDS: Final = 2.0


class RequestRefused(DeployError):
    """The gateway refused a request."""

    def __init__(self, problem: Problem) -> None:
        fields = [f"{field.field or 'input'}: {field.description}" for field in problem.invalid_fields]
        super().__init__("\n".join(fields) or problem.detail or problem.title or f"status {problem.status}")
        self.status = problem.status


class GatewayUnreachable(DeployError):
    """The gateway does not answer."""


class Api:
    """Requests to one gateway. Every command that talks to a gateway uses it, through `connect`.

    Methods raise `RequestRefused` for an error status and `GatewayUnreachable` when there is no answer.
    """

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def get(self, path: str, **params: str) -> dict[str, Any]:
        """Get a resource."""
        return self._request_json("GET", path, params=params or None)  # an empty mapping would drop those of the path

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Post a JSON body and return the response."""
        return self._request_json("POST", path, json=body)

    def patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        """Patch a resource and return it as it is now."""
        return self._request_json("PATCH", path, json=body)

    def list_items(self, path: str) -> Iterator[dict[str, Any]]:
        """Yield every item of a list, page after page."""
        next_page: str | None = path
        while next_page:
            page = self.get(next_page)
            yield from page["results"]
            next_page = page["next"]

    def collect_garbage(self, *, delete: bool) -> dict[str, Any]:
        """List the files in the store that nothing uses; with `delete`, remove them. A large store takes minutes."""
        return self._request("POST" if delete else "GET", "/v1/gc", timeout=1800).json()

    def get_text(self, path: str) -> str:
        """Get a resource that is plain text."""
        return self._request("GET", path).text

    def delete(self, path: str) -> None:
        """Delete a resource."""
        self._request("DELETE", path)

    def post_stream(
        self, path: str, pieces: Iterable[bytes], *, size: int, media_type: str, digest: str
    ) -> dict[str, Any]:
        """Post a large body piece by piece and return the response. `digest` is the body's sha256."""
        headers = {"Content-Type": media_type, "Content-Length": str(size), "Samovar-Digest": digest}
        timeout = httpx.Timeout(30, read=600, write=600)  # a store far away may take its time with the last piece
        return self._request_json("POST", path, content=pieces, headers=headers, timeout=timeout)

    def upload_file(self, path: Path, media_type: str) -> dict[str, Any]:
        """Upload a file and return its description; `["urls"]["get"]` is the address that an input takes."""
        with path.open("rb") as file:
            parts = {"content": (path.name, file, media_type)}
            return self._request_json("POST", "/v1/files", files=parts, timeout=600)

    def stream_events(self, url: str) -> Iterator[Event]:
        """Yield the events of a stream up to `done`, with status and logs; reconnect when the connection breaks."""
        parser, lost = Parser(), 0
        while lost < MAX_LOST_CONNECTIONS:
            try:
                yield from (connection := _StreamConnection(self._client, url, parser))
                if connection.is_done:
                    return
                lost = 1 if connection.has_received else lost + 1
            except httpx.TransportError:
                lost += 1
            time.sleep(min(0.1 * 2**lost, MAX_RETRY_SECONDS))
            parser = Parser(parser.last_id)
        raise GatewayUnreachable(f"the stream {url} broke off {MAX_LOST_CONNECTIONS} times")

    def download(self, url: str, path: Path) -> None:
        """Download a file to `path`."""
        with self._client.stream("GET", url, follow_redirects=True) as response, path.open("wb") as file:
            _raise_for_status(response)
            for piece in response.iter_bytes():
                file.write(piece)

    def _request_json(self, method: str, path: str, **options: Any) -> dict[str, Any]:
        return self._request(method, path, **options).json()

    def _request(self, method: str, path: str, **options: Any) -> httpx.Response:
        try:
            response = self._client.request(method, path, **options)
        except httpx.TransportError as error:
            raise GatewayUnreachable(
                f"cannot reach {self._client.base_url}: {error or type(error).__name__}; "
                "is `samovar up` running? Use --url for another address"
            ) from None
        _raise_for_status(response)
        return response


class _StreamConnection:
    """One connection to an event stream."""

    def __init__(self, client: httpx.Client, url: str, parser: Parser) -> None:
        self._client = client
        self._url = url
        self._parser = parser
        self.is_done = False
        self.has_received = False

    def __iter__(self) -> Iterator[Event]:
        headers = {"Accept": "text/event-stream"}
        if self._parser.last_id:
            headers["Last-Event-ID"] = self._parser.last_id
        timeout = httpx.Timeout(30, read=45)  # a comment comes every 15 s
        params = {"events": "all"}
        with self._client.stream("GET", self._url, params=params, headers=headers, timeout=timeout) as response:
            if response.status_code < 500:
                _raise_for_status(response)
            for chunk in response.iter_raw():
                for event in self._parser.feed(chunk):
                    self.has_received = True
                    yield event
                    if event.kind == "done":
                        self.is_done = True
                        return


@contextmanager
def connect(url: str, token: str | None) -> Generator[Api]:
    """Connect to the gateway at `url`; without a token, with the one that `samovar up` stored on this machine.

    Raises `UsageError` for a URL that is none, and for an unknown `SAMOVAR_*` variable.
    """
    check_names(os.environ)
    data_dir = Path(os.environ.get("SAMOVAR_DATA_DIR") or default_data_dir())
    with open_api(url, token or read_stored_token(url, data_dir)) as api:
        yield api


@contextmanager
def open_api(url: str, token: str | None) -> Generator[Api]:
    """Open a client of the server at `url`, with exactly this token. Raises `UsageError` for a URL that is none."""
    if urlsplit(url).scheme not in ("http", "https"):
        raise UsageError(f"--url {url}: a URL begins with http:// or https://")
    headers = {"User-Agent": "samovar-cli"} | ({"Authorization": f"Bearer {token}"} if token else {})
    with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
        yield Api(client)


def read_stored_token(url: str, data_dir: Path) -> str | None:
    """Return the token of the `samovar up` on this machine. No other host gets to see it: then it is None."""
    if urlsplit(url).hostname not in LOOPBACK_HOSTS:
        return None
    try:
        return (data_dir / "token").read_text().strip()
    except OSError:
        return None


def _raise_for_status(response: httpx.Response) -> None:
    if response.is_success:
        return
    response.read()
    try:
        problem = convert(json.decode(response.content), Problem)
        if response.status_code == 404:
            problem = structs.replace(problem, detail=f"{unquote(response.request.url.path)}: {problem.detail}")
    except (DecodeError, ValueError):
        problem = Problem(detail=f"{response.request.url} answered with status {response.status_code}", status=0)
    raise RequestRefused(problem)
