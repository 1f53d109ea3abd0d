"""Inputs that are files: fetched within limits, there for the prediction, gone after it."""

import gzip
import threading
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from msgspec import json

from runners.worker.frames import Item, Run
from schemas.egress import SPECIAL_NETWORKS
from tests.runners.worker.driver import Worker, output, running_worker, write_predictor
from tests.runners.worker.test_serve import home, predict

ALLOWED = {"private": True, "bytes": 1_000_000, "timeout": 20.0, "networks": SPECIAL_NETWORKS}
READ = "return [x.name, x.read_text()]"


class Site(BaseHTTPRequestHandler):
    """What its paths say."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        site: Any = self.server
        site.paths.append(self.path)
        match self.path.split("/")[1:]:
            case ["text", *_]:
                self._answer(b"hello")
            case ["packed", *_]:
                self._answer(gzip.compress(b"unpacked"), encoding="gzip")
            case ["chunked"]:
                self._answer(None, b"5\r\nhello\r\n5\r\n, you\r\n0\r\n\r\n", **{"Transfer-Encoding": "chunked"})
            case ["large"]:
                self._answer(None, b"x", **{"Content-Length": "2000000"})
            case ["endless"]:
                self._answer(None, b"x" * 2_000_000)
            case ["short"]:
                self._answer(None, b"half", **{"Content-Length": "8"})
            case ["silent"]:
                self._answer(None, b"x", **{"Content-Length": "8"})
                self.wfile.flush()
                site.over.wait(60)
            case ["moved", times] if int(times):
                self._moved(f"/moved/{int(times) - 1}")
            case ["moved", _]:
                self._answer(b"at last")
            case ["to", *address]:
                self._moved(unquote("/".join(address)))
            case ["together"]:
                site.together.wait(20)
                self._answer(b"hello")
            case ["user"]:
                self._answer((self.headers["Authorization"] + self.headers["User-Agent"]).encode())
            case _:
                self.send_error(404)

    def _answer(self, body: bytes | None, raw: bytes = b"", *, encoding: str = "identity", **headers: str) -> None:
        self.send_response(200)
        self.send_header("Content-Encoding", encoding)
        for name, value in headers.items():
            self.send_header(name, value)
        if body is not None:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(raw if body is None else body)
        self.close_connection = True

    def _moved(self, to: str) -> None:
        self.send_response(302)
        self.send_header("Location", to)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Site)
        self.paths: list[str] = []
        self.over = threading.Event()
        self.together = threading.Barrier(3)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Who is cut off is no news."""


@pytest.fixture(scope="module")
def site() -> Generator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.over.set()
        server.shutdown()
        thread.join()


@contextmanager
def fetching(folder: Path, body: str, arguments: str, keyword: str = "def", **limits: Any) -> Generator[Worker]:
    code = predict(body, arguments=arguments, keyword=keyword)
    environment = {"SAMOVAR_INPUTS": json.encode({**ALLOWED, **limits}).decode(), "http_proxy": "http://127.0.0.1:1"}
    with running_worker(write_predictor(folder, code), environment=environment, home=home(folder)) as worker:
        yield worker


def remaining_files(folder: Path) -> list[Path]:
    return list((folder / "home").iterdir())


@pytest.mark.parametrize("keyword", ["def", "async def"])
def test_an_address_becomes_a_file_of_its_name_for_the_prediction_only(tmp_path: Path, site: Server, keyword: str):
    body = f"print(x)\n{READ}"
    with fetching(tmp_path, body, "x: Path", keyword) as worker:
        worker.run({"x": f"{site.url}/text/a%20b.tar.gz?key=1"})
        assert output(worker.done()) == ["a b.tar.gz", "hello"]
        assert Path(worker.log_of("a").strip()).is_relative_to(tmp_path / "home")
        worker.run({"x": "data:,x"}, ids="b")
        worker.done("b")
        worker.run({"x": "data:,x"}, ids="c")
        worker.done("c")
        assert not Path(worker.log_of("a").strip()).exists()


NAMES = [
    pytest.param("/text/", "file", id="none"),
    pytest.param("/text/..%2F..%2Fetc", "_.._etc", id="out of its folder"),
    pytest.param("/text/.bashrc", "bashrc", id="hidden"),
    pytest.param("/text/a%00b%0A.txt", "a_b_.txt", id="unprintable"),
    pytest.param("/text/" + "y" * 300 + ".jpeg", "y" * 195 + ".jpeg", id="long"),
]


@pytest.mark.parametrize(("path", "name"), NAMES)
def test_a_name_stays_in_its_folder(tmp_path: Path, site: Server, path: str, name: str):
    with fetching(tmp_path, READ, "x: Path") as worker:
        worker.run({"x": site.url + path})
        assert output(worker.done()) == [name, "hello"]


FORMS = [
    pytest.param("x: Path", "x.read_text()", "{url}", "hello", id="Path"),
    pytest.param("x: Optional[Path] = None", "x.read_text()", "{url}", "hello", id="optional"),
    pytest.param("x: Path | None = None", "x", None, None, id="left out"),
    pytest.param("x: list[Path]", "[p.read_text() for p in x]", ["{url}", "data:,b"], ["hello", "b"], id="a list"),
    pytest.param("x: List[Path] | None", "[p.read_text() for p in x]", ["{url}"], ["hello"], id="an optional list"),
    pytest.param("x: str | Path", "x.read_text()", "{url}", "hello", id="a union, and a file"),
    pytest.param("x: str | Path", "x", "just text", "just text", id="a union, and a text"),
    pytest.param(
        "x: Union[Path, List[Path]]", "[p.read_text() for p in x]", ["data:,a"], ["a"], id="a union, and a list"
    ),
    pytest.param("x: File", "x.read().decode()", "{url}", "hello", id="File"),
    pytest.param("x: File", "x.read().decode()", "data:,b", "b", id="File of a data: URI"),
    pytest.param("x: list[File]", "[f.read().decode() for f in x]", ["data:,b"], ["b"], id="a list of File"),
    pytest.param("x: URLPath", "[str(x)[:7], x.convert().read_text()]", "{url}", ["http://", "hello"], id="URLPath"),
    pytest.param("x: URLFile", "[x.name, x.read().decode()]", "{url}", ["a.txt", "hello"], id="URLFile"),
    pytest.param("x: __import__('pathlib').Path", "x.read_text()", "{url}", "hello", id="pathlib's Path"),
    pytest.param("x: Path = Input(default='data:,d')", "x.read_text()", None, "d", id="a default that is an address"),
    pytest.param("x: str", "x", "data:,b", "data:,b", id="a text that looks like an address"),
    pytest.param("x: dict", "x", {"a": "data:,b"}, {"a": "data:,b"}, id="inside a dict"),
    pytest.param("x: Any", "x", {"a": ["data:,b"]}, {"a": ["data:,b"]}, id="inside of anything"),
    pytest.param("x: Secret", "[str(x), x.get_secret_value()]", "k", ["**********", "k"], id="Secret"),
    pytest.param("x: list[Secret]", "[s.get_secret_value() for s in x]", ["k"], ["k"], id="a list of secrets"),
    pytest.param("x: Optional[Secret]", "x.get_secret_value()", "k", "k", id="an optional secret"),
    pytest.param("x: Path", "x.read_text()", "data:text/plain;charset=utf-8;base64,aGk=", "hi", id="base64"),
    pytest.param("x: Path", "x.suffix", "data:image/png;base64,aGk=", ".png", id="the suffix of a media type"),
]


@pytest.mark.parametrize(("arguments", "expression", "value", "expected"), FORMS)
def test_an_input_has_the_type_of_its_annotation(
    tmp_path: Path, site: Server, arguments: str, expression: str, value: Any, expected: Any
):
    url = f"{site.url}/text/a.txt"
    value = json.decode(json.encode(value).replace(b"{url}", url.encode()))
    with fetching(tmp_path, f"return {expression}", arguments) as worker:
        worker.run({} if value is None else {"x": value})
        assert output(worker.done()) == expected


def test_files_on_this_host_are_not_fetched(tmp_path: Path):
    (tmp_path / "w.txt").write_text("here")
    code = predict("return [x.read_text(), [y.name for y in ys], z]", arguments="x: Path, ys: list[Path], z: str")
    with running_worker(write_predictor(tmp_path, code)) as worker:
        input = {"x": "mark:1", "ys": ["mark:1"], "z": "mark:1"}
        file = str(tmp_path / "w.txt")
        worker.send(Run([Item("a", json.encode(input), {"mark:1": file}), Item("b", json.encode(input))]))
        assert output(worker.done()) == ["here", ["w.txt"], file]
        assert "x: mark is not allowed" in (worker.done("b").error or "")
        assert (tmp_path / "w.txt").exists()


def test_several_files_are_fetched_at_the_same_time(tmp_path: Path, site: Server):
    """The site answers none of them before all are asked for."""
    body = "return [p.read_text() for p in (x, *ys)]"
    with fetching(tmp_path, body, "x: Path, ys: list[Path]") as worker:
        worker.run({"x": f"{site.url}/together", "ys": [f"{site.url}/together"] * 2})
        assert output(worker.done()) == ["hello"] * 3


WAYS = [
    pytest.param("/chunked", "hello, you", id="in chunks"),
    pytest.param("/packed/a.txt", "unpacked", id="packed"),
    pytest.param("/moved/5", "at last", id="redirected five times"),
]


@pytest.mark.parametrize(("path", "text"), WAYS)
def test_kinds_of_responses(tmp_path: Path, site: Server, path: str, text: str):
    with fetching(tmp_path, READ, "x: Path") as worker:
        worker.run({"x": site.url + path})
        assert output(worker.done())[1] == text


def test_user_and_agent_are_sent(tmp_path: Path, site: Server):
    with fetching(tmp_path, READ, "x: Path") as worker:
        worker.run({"x": site.url.replace("//", "//me:s%40y@") + "/user"})
        assert output(worker.done())[1] == "Basic bWU6c0B5samovar"


FAILS = [
    pytest.param("/nothing", "the server answered 404 Not Found", id="not there"),
    pytest.param("/large", "it is larger than the limit of 1 MB", id="too large, as it says"),
    pytest.param("/endless", "it is larger than the limit of 1 MB", id="too large, as it turns out"),
    pytest.param("/short", "the connection ended after 4 of 8 bytes", id="cut off"),
    pytest.param("/moved/6", "it was redirected more than 5 times", id="redirected too often"),
    pytest.param("/to/file:/etc/passwd", "it was redirected to file:, and only http and https", id="to a file"),
    pytest.param("/to/http://169.254.169.254/latest", "169.254.169.254 is a metadata service", id="to metadata"),
    pytest.param("/to/http://[::ffff:169.254.169.254]/", "is a metadata service", id="to metadata in disguise"),
    pytest.param("/to/http://0.0.0.0/", "0.0.0.0 is no address of a host", id="to nowhere"),
]


@pytest.mark.parametrize(("path", "reason"), FAILS)
def test_a_failed_download_says_why_and_leaves_no_file(tmp_path: Path, site: Server, path: str, reason: str):
    with fetching(tmp_path, READ, "x: Path") as worker:
        worker.run({"x": site.url + path})
        done = worker.done()
        assert done.status == "failed"
        assert (done.error or "").startswith("x: the file cannot be fetched: ")
        assert reason in (done.error or "")
        worker.run({"x": "data:,x"}, ids="b")
        worker.done("b")
        assert worker.log_of() == ""


def test_a_silent_server_times_out(tmp_path: Path, site: Server):
    with fetching(tmp_path, READ, "x: Path", timeout=0.2) as worker:
        worker.run({"x": f"{site.url}/silent"})
        assert worker.done().error == "x: the file cannot be fetched: it took longer than the limit of 0.2 s"


def test_private_addresses_are_reached_only_if_that_is_allowed(tmp_path: Path, site: Server):
    before = len(site.paths)
    with fetching(tmp_path, READ, "x: Path", private=False) as worker:
        for n, url in enumerate([site.url, site.url.replace("127.0.0.1", "localhost"), "http://2130706433/"]):
            worker.run({"x": f"{url}/text"}, ids=f"{n}")
            assert "is a private address" in (worker.done(f"{n}").error or "")
    assert len(site.paths) == before


@pytest.mark.parametrize("keyword", ["def", "async def"])
@pytest.mark.parametrize("many", [1, 3])
def test_a_stop_interrupts_downloads(tmp_path: Path, site: Server, keyword: str, many: int):
    with fetching(tmp_path, "return 1", "xs: list[Path]", keyword) as worker:
        before = len(site.paths)
        worker.run({"xs": [f"{site.url}/silent"] * many})
        worker.started("a")
        while len(site.paths) < before + many:
            continue
        worker.stop("a")
        assert worker.done().status == "stopped"
        worker.run({"xs": []}, ids="b")
        assert output(worker.done("b")) == 1
        assert remaining_files(tmp_path) == []


def test_the_limits_are_hidden_from_the_predictor(tmp_path: Path):
    with fetching(tmp_path, "return 'SAMOVAR_INPUTS' in os.environ", "x: int = 1") as worker:
        worker.run({})
        assert output(worker.done()) is False
