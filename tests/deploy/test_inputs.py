from pathlib import Path
from typing import Any

import pytest

from deploy.cli.client.inputs import parse_inputs
from deploy.errors import UsageError

DOCUMENT: dict[str, Any] = {
    "components": {
        "schemas": {
            "Input": {
                "type": "object",
                "properties": {
                    "text": {"type": "string"},
                    "steps": {"type": "integer"},
                    "scale": {"type": "number"},
                    "loud": {"type": "boolean"},
                    "size": {"allOf": [{"$ref": "#/components/schemas/size"}], "default": "s"},
                    "image": {"type": "string", "format": "uri", "nullable": True},
                    "words": {"type": "array", "items": {"type": "string"}},
                    "numbers": {"type": "array", "items": {"type": "integer"}},
                    "options": {"type": "object"},
                    "maybe": {"anyOf": [{"type": "null"}, {"type": "integer"}]},
                    "anything": {},
                },
            },
            "size": {"type": "string", "enum": ["s", "m"]},
        }
    }
}


@pytest.mark.parametrize(
    ("pairs", "values"),
    [
        pytest.param(["text=a=b"], {"text": "a=b"}, id="an equals sign belongs to the value"),
        pytest.param(["text=7"], {"text": "7"}, id="a text of digits stays one"),
        pytest.param(["text="], {"text": ""}, id="an empty text"),
        pytest.param(["steps=7"], {"steps": 7}, id="integer"),
        pytest.param(["scale=7"], {"scale": 7.0}, id="number"),
        pytest.param(["loud=True"], {"loud": True}, id="true in any case"),
        pytest.param(["loud=0"], {"loud": False}, id="zero is false"),
        pytest.param(["size=m"], {"size": "m"}, id="a choice"),
        pytest.param(['words=["a","b"]'], {"words": ["a", "b"]}, id="a list as JSON"),
        pytest.param(["words=a", "words=b"], {"words": ["a", "b"]}, id="a list one by one"),
        pytest.param(["numbers=1", "numbers=2"], {"numbers": [1, 2]}, id="items have their type"),
        pytest.param(['options={"a": 1}'], {"options": {"a": 1}}, id="object"),
        pytest.param(["maybe=3"], {"maybe": 3}, id="the type beside null"),
        pytest.param(["anything=3"], {"anything": 3}, id="without a type, JSON if it is"),
        pytest.param(["anything=three"], {"anything": "three"}, id="without a type, else text"),
        pytest.param(["image=https://x/y.png"], {"image": "https://x/y.png"}, id="a file by address"),
    ],
)
def test_values_have_the_types_of_the_schema(pairs: list[str], values: dict[str, Any]) -> None:
    assert parse_inputs(pairs, DOCUMENT) == values


@pytest.mark.parametrize(
    ("pairs", "reason"),
    [
        pytest.param("steps=7.5", "input steps: '7.5' is not a whole number", id="integer"),
        pytest.param("scale=much", "input scale: 'much' is not a number", id="number"),
        pytest.param("loud=perhaps", "input loud: 'perhaps' is not true or false", id="boolean"),
        pytest.param("options={", "input options: '{' is not a JSON object", id="object"),
        pytest.param("txt=a", "input txt: the model has no such input; it has text, steps", id="unknown name"),
        pytest.param("text", "-i text: write an input as name=value", id="no equals sign"),
        pytest.param("image=@/no/such", "input image: /no/such: No such file", id="no such file"),
    ],
)
def test_a_bad_value_is_refused_with_name_and_reason(pairs: str, reason: str) -> None:
    with pytest.raises(UsageError, match=None) as refusal:
        parse_inputs([pairs], DOCUMENT)
    assert str(refusal.value).startswith(reason)


def test_a_file_for_a_file_input_is_sent_inline(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"\x89PNG")
    assert parse_inputs([f"image=@{tmp_path}/a.png"], DOCUMENT) == {"image": "data:image/png;base64,iVBORw=="}


def test_a_file_for_a_text_input_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("zwölf")
    assert parse_inputs([f"text=@{tmp_path}/a.txt"], DOCUMENT) == {"text": "zwölf"}


def test_without_a_schema_values_are_json_or_text() -> None:
    assert parse_inputs(["n=3", "text=abc"], {}) == {"n": 3, "text": "abc"}
