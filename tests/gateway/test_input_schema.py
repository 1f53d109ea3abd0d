import pytest
from msgspec import Raw, json

from gateway.catalog import input_schema
from gateway.catalog.input_schema import InputValidator
from gateway.errors import InvalidInput
from tests.gateway.conftest import ECHO

VALIDATOR = InputValidator(json.decode(bytes(ECHO.openapi_schema)))


@pytest.mark.parametrize(
    ("input", "type", "field", "description"),
    [
        pytest.param({}, "required", "input", "text is required", id="missing"),
        pytest.param(
            {"text": 1}, "invalid_type", "input.text", "Invalid type. Expected: string, given: integer", id="type"
        ),
        pytest.param(
            {"text": "a", "times": 9}, "number_lte", "input.times", "Must be less than or equal to 4", id="too large"
        ),
        pytest.param(
            {"text": "a", "times": 0}, "number_gte", "input.times", "Must be greater than or equal to 1", id="too small"
        ),
        pytest.param(
            {"text": "a", "times": None},
            "invalid_type",
            "input.times",
            "Invalid type. Expected: integer, given: null",
            id="null",
        ),
        pytest.param(
            {"text": "a", "size": "x"},
            "enum",
            "input.size",
            'input.size must be one of the following: "s", "m"',
            id="choice",
        ),
        pytest.param({"text": "a", "image": "no"}, "format", "input.image", "Does not match format 'uri'", id="uri"),
        pytest.param({"text": "a\0"}, "pattern", "input.text", input_schema.NUL_REFUSED, id="NUL"),
        pytest.param(
            {"text": "a", "o": [{"k": "\0"}]}, "pattern", "input.o.0.k", input_schema.NUL_REFUSED, id="NUL deep down"
        ),
        pytest.param([], "invalid_type", "input", "Invalid type. Expected: object, given: array", id="not an object"),
    ],
)
def test_a_wrong_input_is_named(input, type: str, field: str, description: str):
    with pytest.raises(InvalidInput) as refused:
        VALIDATOR.check(Raw(json.encode(input)))
    [found] = refused.value.fields
    assert (found.type, found.field, found.description) == (type, field, description)
    assert str(refused.value) == f"- {field}: {description}\n"


def test_everything_wrong_is_named_at_once():
    with pytest.raises(InvalidInput) as refused:
        VALIDATOR.check(Raw(b'{"times":9,"size":"x"}'))
    assert {found.field for found in refused.value.fields} == {"input", "input.times", "input.size"}


def test_a_null_for_a_nullable_input_means_that_it_was_left_out():
    assert json.decode(bytes(VALIDATOR.check(Raw(b'{"text":"a","seed":null}')))) == {"text": "a"}


def test_a_good_input_is_kept_to_the_letter():
    text = b'{ "text" : "\\u00e9", "other": 1.50 }'
    assert bytes(VALIDATOR.check(Raw(text))) == text
