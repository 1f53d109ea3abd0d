"""What a language model is told of a conversation."""

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parents[3] / "runners" / "models" / "smollm2" / "turns.py"
WHO, HI, HELLO = ({"role": r, "content": text} for r, text in (("system", "w"), ("user", "h"), ("assistant", "e")))


@pytest.fixture(scope="module")
def turns() -> ModuleType:
    spec = importlib.util.spec_from_file_location("smollm2_turns", FILE)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_question_is_a_conversation_of_one_turn(turns: ModuleType):
    assert turns.turns("w", "h", None) == [WHO, HI]
    assert turns.turns("", "h", None) == [HI]


def test_a_conversation_takes_the_place_of_the_question(turns: ModuleType):
    text = '[{"role": "user", "content": "h"}, {"role": "assistant", "content": "e", "name": "x"}]'
    assert turns.turns("", "?", text) == [HI, HELLO]
    assert turns.turns("w", "?", text) == [WHO, HI, HELLO]
    assert turns.turns("?", "?", '[{"role": "system", "content": "w"}]') == [WHO]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "messages: this is not JSON"),
        ("[" * 100_000, "messages: this is not JSON"),
        ("[]", "messages: give a list"),
        ('{"role": "user"}', "messages: give a list"),
        ('["hi"]', r"messages\[0\]"),
        ('[{"role": "tool", "content": "x"}]', r"messages\[0\]"),
        ('[{"role": "user", "content": null}]', r"messages\[0\]"),
    ],
)
def test_what_is_no_conversation_is_refused(turns: ModuleType, text: str, reason: str):
    with pytest.raises(ValueError, match=reason):
        turns.turns("", "", text)
