"""Bad input gets a clear error, in the shape that Replicate's clients know, and a 5xx never."""

from typing import Any

import pytest

from tests.live import Api

PATH = "/v1/models/samovar/echo/predictions"
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("value", "type", "field", "description"),
    [
        pytest.param({}, "required", "input", "text is required", id="missing"),
        pytest.param({"text": 1}, "invalid_type", "input.text", "Expected: string, given: integer", id="type"),
        pytest.param({"text": "x", "times": 10}, "number_lte", "input.times", "less than or equal to 9", id="large"),
        pytest.param({"text": "x", "times": 0}, "number_gte", "input.times", "greater than or equal to 1", id="small"),
        pytest.param({"text": "x", "times": 1.5}, "invalid_type", "input.times", "Expected: integer", id="fraction"),
        pytest.param({"text": "x", "size": "huge"}, "enum", "input.size", 'one of the following: "small"', id="choice"),
        pytest.param({"text": "x" * 100_001}, "string_lte", "input.text", "100000", id="long"),
    ],
)
async def test_an_input_that_does_not_fit_names_its_field(
    api: Api, value: dict[str, Any], type: str, field: str, description: str
) -> None:
    answer = await api.post("echo", value)
    problem = answer.json()
    assert answer.status_code == 422
    assert answer.headers["content-type"].startswith("application/problem+json")
    assert problem["title"] == "Input validation failed"
    assert problem["status"] == 422
    (invalid,) = problem["invalid_fields"]
    assert invalid["type"] == type
    assert invalid["field"] == field
    assert description in invalid["description"]
    assert problem["detail"] == f"- {field}: {invalid['description']}\n"


async def test_all_fields_that_do_not_fit_are_named_at_once(api: Api) -> None:
    problem = (await api.post("echo", {"times": 10, "strength": 2})).json()
    assert {field["field"] for field in problem["invalid_fields"]} == {"input", "input.times", "input.strength"}


@pytest.mark.parametrize(
    ("body", "headers", "statuses"),
    [
        pytest.param(b"", JSON, {400, 422}, id="empty"),
        pytest.param(b"{", JSON, {400}, id="broken JSON"),
        pytest.param(b'{"input": {"text": "\xff"}}', JSON, {400, 422}, id="broken UTF-8"),
        pytest.param(b'{"input": {"text": "\\ud800"}}', JSON, {400, 422}, id="half a surrogate pair"),
        pytest.param(b'{"input": {"text": "a\\u0000b"}}', JSON, {422}, id="NUL"),
        pytest.param(b'{"input": {"a\\u0000b": 1, "text": "x"}}', JSON, {422}, id="NUL in a key"),
        pytest.param(b'{"input": [1]}', JSON, {400, 422}, id="input is a list"),
        pytest.param(b"[]", JSON, {400, 422}, id="a list"),
        pytest.param(b"null", JSON, {400, 422}, id="null"),
        pytest.param(b'{"input": {"text": "x"}, "extra": 1}', JSON, {422}, id="an unknown key"),
        pytest.param(b'{"input": {"text": "x"}}', {"Content-Type": "text/plain"}, {400, 415}, id="content type"),
        pytest.param(b'{"input": {"text": "x"}}', {"Content-Type": "a/b/c; \xe9"}, {400, 415}, id="odd content type"),
        pytest.param(b"text=x", {"Content-Type": "application/x-www-form-urlencoded"}, {400, 415}, id="a form"),
        pytest.param(b'{"input": {"text": ' + b"[" * 500 + b"]" * 500 + b"}}", JSON, {400, 422}, id="too deep"),
        pytest.param(b"[" * 100_000, JSON, {400, 422}, id="much too deep"),
        pytest.param(b'{"input": {"text": "' + b"x" * 30_000_000 + b'"}}', JSON, {413}, id="too large"),
        pytest.param(b'{"input": {"text": "x", "n": 1' + b"0" * 400 + b"}}", JSON, {201, 400, 422}, id="a huge number"),
        pytest.param(b'{"input": {"text": "x"}}', JSON | {"Prefer": "wait=abc"}, {201, 400, 422}, id="odd Prefer"),
        pytest.param(b'{"input": {"text": "x"}}', JSON | {"Cancel-After": "soon"}, {400, 422}, id="odd Cancel-After"),
        pytest.param(b'{"input": {"text": "x"}}', JSON | {"Cancel-After": "1s"}, {400, 422}, id="short Cancel-After"),
        pytest.param(b'{"input": {"text": "x"}}', JSON | {"X-Long": "x" * 200_000}, {400, 413, 431}, id="long header"),
    ],
)
async def test_a_body_or_header_that_makes_no_sense_is_a_clear_4xx(
    api: Api, body: bytes, headers: dict[str, str], statuses: set[int]
) -> None:
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    answer = await api.http.post(PATH, content=body, headers=encoded)
    assert answer.status_code in statuses, answer.text
    if answer.status_code != 201 and "X-Long" not in headers:
        problem = answer.json()
        assert problem["status"] == answer.status_code
        assert problem["detail"]


async def test_nobody_else_notices(api: Api) -> None:
    """Runs after all of the above."""
    assert (await api.run("echo", {"text": "well", "times": 2, "size": "large"}))["output"] == "WELL WELL"


async def test_a_body_may_be_as_large_as_the_documented_limit(api: Api) -> None:
    value = '"' + "x" * 15_000_000 + '"'
    prediction = await api.run("values", {"value": value})
    assert prediction["status"] in {"succeeded", "failed"}
    assert prediction["input"] == {"value": value}


@pytest.mark.parametrize(
    ("headers", "detail"),
    [
        pytest.param({"Authorization": ""}, "You did not pass an authentication token", id="none"),
        pytest.param({"Authorization": "Bearer wrong"}, "You did not pass a valid authentication token", id="wrong"),
        pytest.param({"Authorization": "Basic eDp5"}, "You did not pass a", id="another scheme"),
        pytest.param({"Authorization": "Bearer \xff"}, "You did not pass a valid authentication token", id="bytes"),
    ],
)
async def test_a_bad_token_is_refused(api: Api, headers: dict[str, str], detail: str) -> None:
    encoded = [(name.encode(), value.encode("latin-1")) for name, value in headers.items()]
    for method, path in (("GET", "/v1/predictions"), ("POST", PATH), ("GET", "/v1/account"), ("GET", "/v1/models")):
        answer = await api.http.request(method, path, headers=encoded, json={"input": {"text": "x"}})
        assert answer.status_code == 401
        assert detail in answer.json()["detail"]
        assert answer.json()["title"] == "Unauthenticated"


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "Token", "token"])
async def test_both_schemes_are_accepted(api: Api, scheme: str) -> None:
    token = api.http.headers["Authorization"].split(" ", 1)[1]
    answer = await api.http.get("/v1/account", headers={"Authorization": f"{scheme} {token}"})
    assert answer.status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/v1/predictions/0123456789abcdefghjkmnpqrs",
        "/v1/predictions/%00",
        "/v1/predictions/" + "x" * 3000,
        "/v1/models/samovar/nothing",
        "/v1/models/samovar/%00",
        "/v1/models/samovar/count/versions/%00",
        "/v1/streams/%00",
        "/v1/models/samovar/count/versions/nothing",
        "/v1/streams/nothing",
        "/v1/nothing",
        "/v1/outputs/../../etc/passwd",
        "/v1/outputs/%2e%2e/%2e%2e/etc/passwd",
    ],
)
async def test_a_missing_resource_is_a_404(api: Api, path: str) -> None:
    answer = await api.http.get(path)
    assert answer.status_code == 404
    assert answer.json()["status"] == 404
    assert answer.json()["detail"]


async def test_a_wrong_method_says_so(api: Api) -> None:
    answer = await api.http.delete("/v1/predictions")
    assert answer.status_code == 405
    assert answer.json()["status"] == 405


@pytest.mark.parametrize("cursor", ["nonsense", "%00", "AAAA", "x" * 5000])
async def test_a_cursor_that_is_not_ours_is_a_clear_4xx(api: Api, cursor: str) -> None:
    answer = await api.http.get(f"/v1/predictions?cursor={cursor}")
    assert 400 <= answer.status_code < 500
    assert answer.json()["detail"]


@pytest.mark.parametrize("version", ["nothing", "a" * 64, "samovar/nothing", "samovar/count:nothing", "", "\u0000"])
async def test_an_unknown_version_is_named(api: Api, version: str) -> None:
    answer = await api.http.post("/v1/predictions", json={"version": version, "input": {}})
    assert answer.status_code in {404, 422}
    assert answer.json()["detail"]


async def test_unknown_inputs_are_ignored(api: Api) -> None:
    assert (await api.run("echo", {"text": "x", "nobody": "knows"}))["status"] == "succeeded"


async def test_browsers_may_call_from_anywhere(api: Api) -> None:
    headers = {"Origin": "http://example.com", "Access-Control-Request-Method": "POST"}
    answer = await api.http.options(PATH, headers=headers | {"Access-Control-Request-Headers": "authorization"})
    assert answer.status_code in {200, 204}
    assert answer.headers["access-control-allow-origin"] in {"*", "http://example.com"}
