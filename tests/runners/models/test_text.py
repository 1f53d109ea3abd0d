"""Text out of tokens that are bytes: the worst a tokenizer can do."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

FILE = Path(__file__).parents[3] / "runners" / "models" / "smollm2" / "text.py"


@pytest.fixture(scope="module")
def text() -> ModuleType:
    spec = importlib.util.spec_from_file_location("smollm2_text", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def decode(tokens: list[int]) -> str:
    return bytes(tokens).decode("utf-8", "replace")


@given(st.text(st.characters(exclude_characters="\ufffd", exclude_categories=["Cs"])))
def test_pieces_are_whole_and_make_up_the_text(text: ModuleType, content: str):
    decoder = text.IncrementalDecoder(decode)
    pieces = [decoder.add(token) for token in content.encode()]
    assert "".join(pieces) == content
    assert [piece for piece in pieces if piece] == list(content)
    assert decoder.rest() == ""


def test_half_a_character_at_the_end_is_replaced(text: ModuleType):
    decoder = text.IncrementalDecoder(decode)
    assert [decoder.add(token) for token in "é".encode()[:1]] == [""]
    assert decoder.rest() == "\ufffd"
