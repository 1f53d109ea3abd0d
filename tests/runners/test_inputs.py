"""Secrets and files in inputs, as a worker gets them."""

import base64
from pathlib import Path

import pytest
from msgspec import json
from nacl.public import PrivateKey, SealedBox

from runners.errors import BadInput, FileStoreError
from runners.jobs import file_store
from runners.jobs.inputs import InputOpener
from runners.jobs.secrets import SecretBox
from schemas.inputs import FILE_PREFIX, SEALED_PREFIX, Secret

KEY = PrivateKey.generate()


def seal(text: str, id: str = "one", key: PrivateKey = KEY) -> str:
    return SEALED_PREFIX + base64.b64encode(SealedBox(key.public_key).encrypt(json.encode(Secret(id, text)))).decode()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    for name in ("up/a", "out/x/y/pic.png"):
        (tmp_path / "store" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "store" / name).write_text(name)
    return tmp_path / "store"


@pytest.fixture
def inputs(store: Path) -> InputOpener:
    return InputOpener(file_store.open_file_store(f"file://{store}"), SecretBox(bytes(KEY).hex()), limit=20, timeout=5)


def read_text(path: str) -> str:
    return Path(path).read_text()


async def test_an_input_without_placeholders_is_passed_on_unchanged(inputs: InputOpener):
    text = b'{"a":  "samovar-file is a word", "b": 1.0}'
    async with inputs.open("one", text) as opened:
        assert opened.text is text
        assert opened.files == {}


async def test_secrets_are_opened_for_their_prediction(inputs: InputOpener):
    async with inputs.open("one", json.encode({"a": seal("x"), "b": [seal("y"), "z"]})) as opened:
        assert json.decode(opened.text) == {"a": "x", "b": ["y", "z"]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(seal("topsecret", id="two"), "sealed for another prediction", id="another prediction's"),
        pytest.param(seal("topsecret", key=PrivateKey.generate()), "not sealed for this runner", id="another key"),
        pytest.param(SEALED_PREFIX + "!!", "not sealed for this runner", id="no base64"),
        pytest.param(SEALED_PREFIX + "AAAA", "not sealed for this runner", id="no box"),
    ],
)
async def test_a_secret_that_cannot_be_opened_is_refused_and_not_quoted(inputs: InputOpener, text: str, reason: str):
    with pytest.raises(BadInput, match=reason) as caught:
        async with inputs.open("one", json.encode({"a": text})):
            pass
    assert "topsecret" not in str(caught.value)


async def test_the_error_names_the_setting_of_a_missing_key(store: Path):
    inputs = InputOpener(file_store.open_file_store(f"file://{store}"), SecretBox(None), limit=20, timeout=5)
    with pytest.raises(BadInput, match="SAMOVAR_SECRETS_KEY"):
        async with inputs.open("one", json.encode({"a": seal("x")})):
            pass


async def test_files_are_downloaded_once_and_removed_afterwards(inputs: InputOpener):
    upload, output = f"{FILE_PREFIX}up/a", f"{FILE_PREFIX}out/x/y/pic.png"
    async with inputs.open("one", json.encode({"a": upload, "b": [output, upload]})) as opened:
        assert set(opened.files) == {upload, output}
        assert read_text(opened.files[upload]) == "up/a"
        assert Path(opened.files[output]).name == "pic.png"
        folder = Path(opened.files[output]).parents[1]
        assert json.decode(opened.text) == {"a": upload, "b": [output, upload]}
    assert not folder.exists()


async def test_a_secret_that_reads_like_a_file_is_not_downloaded(inputs: InputOpener):
    async with inputs.open("one", json.encode({"a": seal(f"{FILE_PREFIX}up/a")})) as opened:
        assert opened.files == {}


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        pytest.param("up/none", "there is no up/none", id="missing"),
        pytest.param("packs/x.tar", "refers to a file that it may not use", id="not an input's"),
        pytest.param("up/../packs/x", "refers to a file that it may not use", id="upwards"),
    ],
)
async def test_the_error_names_a_file_that_cannot_be_downloaded(inputs: InputOpener, key: str, reason: str):
    with pytest.raises((BadInput, FileStoreError), match=reason):
        async with inputs.open("one", json.encode({"a": FILE_PREFIX + key})):
            pass


async def test_a_file_over_the_limit_is_refused(inputs: InputOpener, store: Path):
    (store / "up/big").write_bytes(b"x" * 21)
    with pytest.raises(FileStoreError, match="up/big has 21 bytes, and the limit is 20"):
        async with inputs.open("one", json.encode({"a": f"{FILE_PREFIX}up/big"})):
            pass
