"""A gateway's HTTP API, as the command line uses it."""

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
from deploy.errors import DeployError, Unusable
from deploy.local.data_dir import default_data_dir
from deploy.settings import check_names
from schemas.problem import Problem

LOCAL: Final = ("127.0.0.1", "localhost", "::1")
TRIES: Final = 20  # lost connections in a row before a stream is given up


class Refused(DeployError):
    """The gateway said no."""

    def __init__(self, problem: Problem) -> None:
        fields = [f"{field.field or 'input'}: {field.description}" for field in problem.invalid_fields]
        super().__init__("\n".join(fields) or problem.detail or problem.title or f"status {problem.status}")
        self.status = problem.status


class Unreachable(DeployError):
    """The gateway does not answer."""


class Api:
    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def get(self, path: str, **params: str) -> dict[str, Any]:
        return self._asked("GET", path, params=params or None)  # none at all would take away those of the path

    def post(self, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
        return self._asked("POST", path, json=body)

    def patch(self, path: str, body: Mapping[str, Any]) -> dict[str, Any]:
        return self._asked("PATCH", path, json=body)

    def pages(self, path: str) -> Iterator[dict[str, Any]]:
        """Every item of a list that comes in pages."""
        following: str | None = path
        while following:
            page = self.get(following)
            yield from page["results"]
            following = page["next"]

    def waste(self, *, delete: bool) -> dict[str, Any]:
        """Of the file store, which may be large."""
        return self._answer("POST" if delete else "GET", "/v1/gc", timeout=1800).json()

    def text(self, path: str) -> str:
        return self._answer("GET", path).text

    def delete(self, path: str) -> None:
        self._answer("DELETE", path)

    def send(
        self, path: str, pieces: Iterable[bytes], *, size: int, media_type: str, digest: str
    ) -> tuple[int, dict[str, Any]]:
        """Something large: the status of the answer, and the answer."""
        headers = {"Content-Type": media_type, "Content-Length": str(size), "Samovar-Digest": digest}
        timeout = httpx.Timeout(30, read=600, write=600)  # a store far away may take its time with the last piece
        response = self._answer("POST", path, content=pieces, headers=headers, timeout=timeout)
        return response.status_code, response.json()

    def upload(self, path: Path, media_type: str) -> str:
        """The address of a file, once it is there."""
        return self.uploaded(path, media_type)["urls"]["get"]

    def uploaded(self, path: Path, media_type: str) -> dict[str, Any]:
        """What is known of it."""
        with path.open("rb") as file:
            parts = {"content": (path.name, file, media_type)}
            return self._answer("POST", "/v1/files", files=parts, timeout=600).json()

    def events(self, url: str) -> Iterator[Event]:
        """Of a prediction, with its status and logs, up to `done`; a lost connection is taken up again."""
        parser, lost = Parser(), 0
        while lost < TRIES:
            try:
                yield from (events := _Stream(self._client, url, parser))
                if events.done:
                    return
                lost = 1 if events.heard else lost + 1
            except httpx.TransportError:
                lost += 1
            time.sleep(min(0.1 * 2**lost, 2))
            parser = Parser(parser.last_id)
        raise Unreachable(f"the stream {url} broke off {TRIES} times")

    def save(self, url: str, path: Path) -> None:
        """A file that a model made."""
        with self._client.stream("GET", url, follow_redirects=True) as response, path.open("wb") as file:
            _check(response)
            for piece in response.iter_bytes():
                file.write(piece)

    def _asked(self, method: str, path: str, **rest: Any) -> dict[str, Any]:
        return self._answer(method, path, **rest).json()

    def _answer(self, method: str, path: str, **rest: Any) -> httpx.Response:
        try:
            response = self._client.request(method, path, **rest)
        except httpx.TransportError as error:
            raise Unreachable(
                f"cannot reach {self._client.base_url}: {error or type(error).__name__}; "
                "is `samovar up` running? Another address is given with --url"
            ) from None
        _check(response)
        return response


class _Stream:
    """One connection of a stream."""

    def __init__(self, client: httpx.Client, url: str, parser: Parser) -> None:
        self._client = client
        self._url = url
        self._parser = parser
        self.done = False
        self.heard = False

    def __iter__(self) -> Iterator[Event]:
        headers = {"Accept": "text/event-stream"}
        if self._parser.last_id:
            headers["Last-Event-ID"] = self._parser.last_id
        timeout = httpx.Timeout(30, read=45)  # a comment comes every 15 s
        params = {"events": "all"}
        with self._client.stream("GET", self._url, params=params, headers=headers, timeout=timeout) as response:
            if response.status_code < 500:
                _check(response)
            for arrived in response.iter_raw():
                for event in self._parser.feed(arrived):
                    self.heard = True
                    yield event
                    if event.kind == "done":
                        self.done = True
                        return


@contextmanager
def connected(url: str, token: str | None) -> Generator[Api]:
    if urlsplit(url).scheme not in ("http", "https"):
        raise Unusable(f"--url {url}: it begins with http:// or https://")
    headers = {"User-Agent": "samovar-cli"} | ({"Authorization": f"Bearer {token}"} if token else {})
    with httpx.Client(base_url=url, headers=headers, timeout=30) as client:
        yield Api(client)


@contextmanager
def reached(url: str, token: str | None) -> Generator[Api]:
    """The gateway at `url`; without a token, with the one that `samovar up` keeps."""
    check_names(os.environ)
    data_dir = Path(os.environ.get("SAMOVAR_DATA_DIR") or default_data_dir())
    with connected(url, token or kept_token(url, data_dir)) as api:
        yield api


def kept_token(url: str, data_dir: Path) -> str | None:
    """The token of the `samovar up` on this machine. It is not shown to others."""
    if urlsplit(url).hostname not in LOCAL:
        return None
    try:
        return (data_dir / "token").read_text().strip()
    except OSError:
        return None


def _check(response: httpx.Response) -> None:
    if response.is_success:
        return
    response.read()
    try:
        problem = convert(json.decode(response.content), Problem)
        if response.status_code == 404:
            problem = structs.replace(problem, detail=f"{unquote(response.request.url.path)}: {problem.detail}")
    except (DecodeError, ValueError):
        problem = Problem(detail=f"{response.request.url} answered with status {response.status_code}", status=0)
    raise Refused(problem)
