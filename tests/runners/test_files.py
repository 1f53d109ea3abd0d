import hashlib
import tempfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest
from msgspec import json

from runners.errors import FileStoreError, NotThere
from runners.jobs import file_store
from runners.jobs.json_strings import without_nul
from runners.process.worker_process import environment


@pytest.fixture
def store(tmp_path: Path) -> file_store.Files:
    return file_store.at(f"file://{tmp_path}/store")


async def test_a_file_is_stored_and_its_path_replaced(store: file_store.Files, tmp_path: Path) -> None:
    made = Path(tempfile.mkdtemp()) / "a picture?.png"
    made.write_bytes(b"png")
    value, keys = await store.keep("id", json.encode({"image": f"file:{made}", "text": "file:other"}), [str(made)])
    (key,) = keys
    assert json.decode(bytes(value)) == {"image": f"file:{key}", "text": "file:other"}
    assert key.startswith("out/id/")
    assert key.endswith("/a_picture_.png")
    assert await store.fetch(key) == b"png"
    assert not made.exists()


async def test_a_value_is_stored_under_its_hash_where_nobody_guesses_it(store: file_store.Files) -> None:
    value = json.encode("x" * 1_000_000)
    keys = {await store.spill("id", value) for _ in range(2)}
    assert len(keys) == 2
    for key in keys:
        assert key.startswith("out/id/")
        assert key.endswith(f"/{hashlib.sha256(value).hexdigest()}.json")
        assert await store.fetch(key) == value


async def test_a_value_goes_by_way_of_a_gateway(gateway: str) -> None:
    store = file_store.at(gateway, "right")
    value = json.encode("x" * 6_000_000)
    key = await store.spill("id", value)
    assert Gateway.kept == {f"/-/files/{key}": value}


async def test_a_store_that_takes_no_value_is_named(tmp_path: Path) -> None:
    store = file_store.at(f"file://{tmp_path}/store")
    (tmp_path / "store" / "out").write_text("in the way")
    with pytest.raises(FileStoreError, match="cannot store an output of 5 bytes"):
        await store.spill("id", b"12345")


async def test_what_is_missing_is_named(store: file_store.Files) -> None:
    with pytest.raises(FileStoreError, match="in/none"):
        await store.fetch("in/none")
    with pytest.raises(FileStoreError, match=r"gone\.txt"):
        await store.keep("id", b'"file:/nowhere/gone.txt"', ["/nowhere/gone.txt"])


@pytest.mark.parametrize(
    ("value", "clean"),
    [
        pytest.param(rb'"a\u0000b"', '"a\ufffdb"', id="a NUL"),
        pytest.param(rb'{"\u0000": ["\u0000"]}', '{"\ufffd":["\ufffd"]}', id="keys and lists"),
        pytest.param(rb'"a\\u0000b"', r'"a\\u0000b"', id="a backslash and five characters"),
    ],
)
def test_nul_leaves_no_trace(value: bytes, clean: str) -> None:
    assert without_nul(value).decode() == clean


def test_user_code_sees_no_secrets() -> None:
    ours = {"PATH": "/bin", "SAMOVAR_NATS_URL": "nats://u:p@h", "AWS_SECRET_ACCESS_KEY": "s", "OMP_NUM_THREADS": "2"}
    assert environment(ours, "/cache", {"MODE": "x"}) == {
        "PATH": "/bin",
        "OMP_NUM_THREADS": "2",
        "SAMOVAR_CACHE_DIR": "/cache",
        "MODE": "x",
    }


class Gateway(BaseHTTPRequestHandler):
    """`/-/files` of a gateway, as far as runners use it."""

    kept: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        found = self.kept.get(self.path)
        if self.headers["Authorization"] != "Bearer right":
            self._answer(401, b"")
        elif found is None:
            self._answer(404, b"")
        else:
            self._answer(200, found)

    def do_PUT(self) -> None:
        self.kept[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
        self._answer(201, b"")

    def log_message(self, format: str, *args: object) -> None:
        return

    def _answer(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", "Mon, 23 Nov 2026 23:00:00 GMT")
        self.send_header("ETag", '"x"')
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def gateway() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gateway)
    serving = Thread(target=server.serve_forever)
    serving.start()
    yield f"http://127.0.0.1:{server.server_port}/-/files"
    server.shutdown()
    serving.join()
    server.server_close()
    Gateway.kept.clear()


async def test_files_come_and_go_by_way_of_a_gateway(gateway: str, tmp_path: Path) -> None:
    store = file_store.at(gateway, "right")
    made = Path(tempfile.mkdtemp()) / "big.bin"
    content = bytes(range(256)) * 50_000
    made.write_bytes(content)
    _, (key,) = await store.keep("id", json.encode(f"file:{made}"), [str(made)])
    assert Gateway.kept == {f"/-/files/{key}": content}
    assert await store.fetch(key) == content
    digest = await store.fetch_to(key, tmp_path / "copy", len(content))
    assert (tmp_path / "copy").read_bytes() == content
    assert digest == hashlib.sha256(content).hexdigest()
    with pytest.raises(NotThere, match="there is no in/none"):
        await store.fetch("in/none")


async def test_a_gateway_refuses_a_wrong_token(gateway: str) -> None:
    Gateway.kept["/-/files/in/x"] = b"x"
    with pytest.raises(FileStoreError, match="cannot fetch in/x") as caught:
        await file_store.at(gateway, "wrong").fetch("in/x")
    assert not isinstance(caught.value, NotThere)
    assert "wrong" not in str(caught.value)


async def test_what_is_larger_than_allowed_is_not_fetched(store: file_store.Files, tmp_path: Path) -> None:
    (tmp_path / "store" / "in").mkdir(parents=True)
    (tmp_path / "store" / "in" / "x").write_bytes(b"x" * 11)
    with pytest.raises(FileStoreError, match="in/x is 11 bytes, and 10 are the limit"):
        await store.fetch_to("in/x", tmp_path / "copy", 10)
    assert not (tmp_path / "copy").exists()
