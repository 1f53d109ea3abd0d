"""Secrets and files in inputs, as a worker gets them."""

import base64
from pathlib import Path

import pytest
from msgspec import json
from nacl.public import PrivateKey, SealedBox

from runners.errors import BadInput, FileStoreError
from runners.jobs import file_store
from runners.jobs.inputs import Inputs
from runners.jobs.secrets import Secrets
from schemas.inputs import FILE, SEALED, Secret

KEY = PrivateKey.generate()


def sealed(text: str, id: str = "one", key: PrivateKey = KEY) -> str:
    return SEALED + base64.b64encode(SealedBox(key.public_key).encrypt(json.encode(Secret(id, text)))).decode()


@pytest.fixture
def store(tmp_path: Path) -> Path:
    for name in ("up/a", "out/x/y/pic.png"):
        (tmp_path / "store" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "store" / name).write_text(name)
    return tmp_path / "store"


@pytest.fixture
def inputs(store: Path) -> Inputs:
    return Inputs(file_store.at(f"file://{store}"), Secrets(bytes(KEY).hex()), limit=20, timeout=5)


def text_in(path: str) -> str:
    return Path(path).read_text()


async def test_an_input_without_marks_is_passed_on_as_it_is(inputs: Inputs):
    text = b'{"a":  "samovar-file is a word", "b": 1.0}'
    async with inputs.given("one", text) as given:
        assert given.text is text
        assert given.files == {}


async def test_secrets_are_opened_for_their_prediction(inputs: Inputs):
    async with inputs.given("one", json.encode({"a": sealed("x"), "b": [sealed("y"), "z"]})) as given:
        assert json.decode(given.text) == {"a": "x", "b": ["y", "z"]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        pytest.param(sealed("topsecret", id="two"), "sealed for another prediction", id="another prediction's"),
        pytest.param(sealed("topsecret", key=PrivateKey.generate()), "not sealed for this runner", id="another key"),
        pytest.param(SEALED + "!!", "not sealed for this runner", id="no base64"),
        pytest.param(SEALED + "AAAA", "not sealed for this runner", id="no box"),
    ],
)
async def test_what_does_not_open_is_refused_without_a_word_of_it(inputs: Inputs, text: str, reason: str):
    with pytest.raises(BadInput, match=reason) as caught:
        async with inputs.given("one", json.encode({"a": text})):
            pass
    assert "topsecret" not in str(caught.value)


async def test_without_a_key_the_setting_is_named(store: Path):
    inputs = Inputs(file_store.at(f"file://{store}"), Secrets(None), limit=20, timeout=5)
    with pytest.raises(BadInput, match="SAMOVAR_SECRETS_KEY"):
        async with inputs.given("one", json.encode({"a": sealed("x")})):
            pass


async def test_files_are_fetched_once_and_removed_afterwards(inputs: Inputs):
    upload, output = f"{FILE}up/a", f"{FILE}out/x/y/pic.png"
    async with inputs.given("one", json.encode({"a": upload, "b": [output, upload]})) as given:
        assert set(given.files) == {upload, output}
        assert text_in(given.files[upload]) == "up/a"
        assert Path(given.files[output]).name == "pic.png"
        folder = Path(given.files[output]).parents[1]
        assert json.decode(given.text) == {"a": upload, "b": [output, upload]}
    assert not folder.exists()


async def test_a_secret_that_reads_like_a_file_is_none(inputs: Inputs):
    async with inputs.given("one", json.encode({"a": sealed(f"{FILE}up/a")})) as given:
        assert given.files == {}


@pytest.mark.parametrize(
    ("key", "reason"),
    [
        pytest.param("up/none", "there is no up/none", id="missing"),
        pytest.param("packs/x.tar", "names a file that is none", id="not an input's"),
        pytest.param("up/../packs/x", "names a file that is none", id="upwards"),
    ],
)
async def test_a_file_that_cannot_be_had_is_named(inputs: Inputs, key: str, reason: str):
    with pytest.raises((BadInput, FileStoreError), match=reason):
        async with inputs.given("one", json.encode({"a": FILE + key})):
            pass


async def test_a_file_over_the_limit_is_refused(inputs: Inputs, store: Path):
    (store / "up/big").write_bytes(b"x" * 21)
    with pytest.raises(FileStoreError, match="up/big is 21 bytes, and 20 are the limit"):
        async with inputs.given("one", json.encode({"a": f"{FILE}up/big"})):
            pass
