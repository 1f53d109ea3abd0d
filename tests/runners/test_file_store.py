import hashlib
import tempfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import ClassVar

import pytest
from msgspec import json

from runners.errors import FileMissing, FileStoreError
from runners.jobs import file_store
from runners.jobs.json_strings import replace_nul
from runners.process.program import worker_environment


@pytest.fixture
def store(tmp_path: Path) -> file_store.FileStore:
    return file_store.open_file_store(f"file://{tmp_path}/store")


async def test_a_file_is_stored_and_its_path_replaced(store: file_store.FileStore, tmp_path: Path) -> None:
    path = Path(tempfile.mkdtemp()) / "a picture?.png"
    path.write_bytes(b"png")
    value, keys = await store.upload_files(
        "id", json.encode({"image": f"file:{path}", "text": "file:other"}), [str(path)]
    )
    (key,) = keys
    assert json.decode(bytes(value)) == {"image": f"file:{key}", "text": "file:other"}
    assert key.startswith("out/id/")
    assert key.endswith("/a_picture_.png")
    assert await store.fetch(key) == b"png"
    assert not path.exists()


async def test_a_value_is_stored_under_its_hash_and_a_random_token(store: file_store.FileStore) -> None:
    value = json.encode("x" * 1_000_000)
    keys = {await store.upload_value("id", value) for _ in range(2)}
    assert len(keys) == 2
    for key in keys:
        assert key.startswith("out/id/")
        assert key.endswith(f"/{hashlib.sha256(value).hexdigest()}.json")
        assert await store.fetch(key) == value


async def test_a_value_is_stored_through_a_gateway(gateway: str) -> None:
    store = file_store.open_file_store(gateway, "right")
    value = json.encode("x" * 6_000_000)
    key = await store.upload_value("id", value)
    assert FakeGateway.files == {f"/-/files/{key}": value}


async def test_the_error_names_a_value_that_cannot_be_stored(tmp_path: Path) -> None:
    store = file_store.open_file_store(f"file://{tmp_path}/store")
    (tmp_path / "store" / "out").write_text("in the way")
    with pytest.raises(FileStoreError, match="cannot store an output of 5 bytes"):
        await store.upload_value("id", b"12345")


async def test_the_error_names_a_missing_file(store: file_store.FileStore) -> None:
    with pytest.raises(FileStoreError, match="in/none"):
        await store.fetch("in/none")
    with pytest.raises(FileStoreError, match=r"gone\.txt"):
        await store.upload_files("id", b'"file:/nowhere/gone.txt"', ["/nowhere/gone.txt"])


@pytest.mark.parametrize(
    ("value", "clean"),
    [
        pytest.param(rb'"a\u0000b"', '"a\ufffdb"', id="a NUL"),
        pytest.param(rb'{"\u0000": ["\u0000"]}', '{"\ufffd":["\ufffd"]}', id="keys and lists"),
        pytest.param(rb'"a\\u0000b"', r'"a\\u0000b"', id="a backslash and five characters"),
    ],
)
def test_nul_characters_are_replaced(value: bytes, clean: str) -> None:
    assert replace_nul(value).decode() == clean


def test_user_code_sees_no_secrets() -> None:
    ours = {"PATH": "/bin", "SAMOVAR_NATS_URL": "nats://u:p@h", "AWS_SECRET_ACCESS_KEY": "s", "OMP_NUM_THREADS": "2"}
    assert worker_environment(ours, "/cache", {"MODE": "x"}) == {
        "PATH": "/bin",
        "OMP_NUM_THREADS": "2",
        "SAMOVAR_CACHE_DIR": "/cache",
        "MODE": "x",
    }


class FakeGateway(BaseHTTPRequestHandler):
    """`/-/files` of a gateway, as far as runners use it."""

    files: ClassVar[dict[str, bytes]] = {}

    def do_GET(self) -> None:
        body = self.files.get(self.path)
        if self.headers["Authorization"] != "Bearer right":
            self._answer(401, b"")
        elif body is None:
            self._answer(404, b"")
        else:
            self._answer(200, body)

    def do_PUT(self) -> None:
        self.files[self.path] = self.rfile.read(int(self.headers["Content-Length"]))
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
    server = ThreadingHTTPServer(("127.0.0.1", 0), FakeGateway)
    thread = Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/-/files"
    server.shutdown()
    thread.join()
    server.server_close()
    FakeGateway.files.clear()


async def test_files_are_stored_and_fetched_through_a_gateway(gateway: str, tmp_path: Path) -> None:
    store = file_store.open_file_store(gateway, "right")
    path = Path(tempfile.mkdtemp()) / "big.bin"
    content = bytes(range(256)) * 50_000
    path.write_bytes(content)
    _, (key,) = await store.upload_files("id", json.encode(f"file:{path}"), [str(path)])
    assert FakeGateway.files == {f"/-/files/{key}": content}
    assert await store.fetch(key) == content
    digest = await store.download(key, tmp_path / "copy", len(content))
    assert (tmp_path / "copy").read_bytes() == content
    assert digest == hashlib.sha256(content).hexdigest()
    with pytest.raises(FileMissing, match="there is no in/none"):
        await store.fetch("in/none")


async def test_a_gateway_refuses_a_wrong_token(gateway: str) -> None:
    FakeGateway.files["/-/files/in/x"] = b"x"
    with pytest.raises(FileStoreError, match="cannot fetch in/x") as caught:
        await file_store.open_file_store(gateway, "wrong").fetch("in/x")
    assert not isinstance(caught.value, FileMissing)
    assert "wrong" not in str(caught.value)


async def test_a_file_over_the_limit_is_not_downloaded(store: file_store.FileStore, tmp_path: Path) -> None:
    (tmp_path / "store" / "in").mkdir(parents=True)
    (tmp_path / "store" / "in" / "x").write_bytes(b"x" * 11)
    with pytest.raises(FileStoreError, match="in/x has 11 bytes, and the limit is 10"):
        await store.download("in/x", tmp_path / "copy", 10)
    assert not (tmp_path / "copy").exists()
