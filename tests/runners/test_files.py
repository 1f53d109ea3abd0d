import tempfile
from pathlib import Path

import pytest
from msgspec import json

from runners import files
from runners.errors import FileStoreError
from runners.instance import environment
from runners.texts import without_nul


@pytest.fixture
def store(tmp_path: Path) -> files.Files:
    return files.at(f"file://{tmp_path}/store")


async def test_a_file_is_stored_and_its_path_replaced(store: files.Files, tmp_path: Path) -> None:
    made = Path(tempfile.mkdtemp()) / "a picture?.png"
    made.write_bytes(b"png")
    value, keys = await store.keep("id", json.encode({"image": f"file:{made}", "text": "file:other"}), [str(made)])
    (key,) = keys
    assert json.decode(bytes(value)) == {"image": f"file:{key}", "text": "file:other"}
    assert key.startswith("out/id/")
    assert key.endswith("/a_picture_.png")
    assert await store.fetch(key) == b"png"
    assert not made.exists()


async def test_what_is_missing_is_named(store: files.Files) -> None:
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
