"""OpenAI's fields become inputs, and outputs become OpenAI's answers."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw, convert, json, structs

from gateway.errors import BodyTooLarge, InvalidInput, NoToken, QueueFull, Unavailable
from gateway.openai import mapping, problems, requests, responses
from gateway.openai.mapping import InputSchema, join_messages
from gateway.openai.problems import InputMismatch, ModelFailed, UnknownModel, UnsupportedField
from gateway.openai.requests import ChatRequest, CompletionRequest, EmbeddingRequest
from gateway.openai.text_stream import TextStream
from schemas.events import Run
from schemas.prediction import Chunks, Prediction, Status
from schemas.problem import InvalidField

HI = [{"role": "user", "content": "hi"}]
LONG = [{"role": "system", "content": "Be brief."}, *HI, {"role": "assistant", "content": "hello"}, *HI]
AT = datetime(2026, 1, 5, tzinfo=UTC)


def schema(*names: str, required: str = "", **kinds: Any) -> InputSchema:
    properties = {name: {"type": "string"} for name in names} | {name: {"type": kind} for name, kind in kinds.items()}
    return InputSchema(properties, frozenset(required.split()))


def chat(to: InputSchema, messages: list[dict[str, Any]] = HI, **fields: Any) -> mapping.MappedInput:
    return map_request(to, ChatRequest, {"model": "a/b", "messages": messages, **fields})


def map_request(to: InputSchema, kind: Any, fields: dict[str, Any]) -> mapping.MappedInput:
    request = convert(fields, kind)
    others = requests.unknown_fields(fields, request)
    return (mapping.map_chat if kind is ChatRequest else mapping.map_completion)(request, others, to)


@pytest.mark.parametrize(
    ("to", "messages", "input"),
    [
        pytest.param(schema("prompt"), HI, {"prompt": "hi"}, id="one question"),
        pytest.param(
            schema("prompt", "system_prompt"), LONG[:2], {"prompt": "hi", "system_prompt": "Be brief."}, id="system"
        ),
        pytest.param(
            schema("prompt"), LONG,
            {"prompt": "System: Be brief.\n\nUser: hi\n\nAssistant: hello\n\nUser: hi\n\nAssistant:"}, id="transcript",
        ),
        pytest.param(
            schema("prompt", "system_prompt"), LONG,
            {"prompt": "User: hi\n\nAssistant: hello\n\nUser: hi\n\nAssistant:", "system_prompt": "Be brief."},
            id="transcript and system",
        ),
        pytest.param(schema("prompt", messages="array"), LONG, {"messages": LONG}, id="messages"),
        pytest.param(
            schema("messages", "prompt", required="prompt"), HI,
            {"messages": '[{"role":"user","content":"hi"}]', "prompt": "hi"}, id="messages as a text",
        ),
        pytest.param(
            schema("prompt"),
            [{"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]}],
            {"prompt": "a\nb"}, id="parts",
        ),
        pytest.param(
            schema("prompt", "system_prompt"), [{"role": "developer", "content": "x"}, *HI],
            {"prompt": "hi", "system_prompt": "x"}, id="developer",
        ),
    ],
)  # fmt: skip
def test_a_conversation_reaches_the_model(
    to: InputSchema, messages: list[dict[str, Any]], input: dict[str, Any]
) -> None:
    assert chat(to, messages).input == input


def test_a_started_answer_is_continued() -> None:
    assert (
        join_messages(requests.plain_messages(convert(LONG[1:3], list[requests.Message])))
        == "User: hi\n\nAssistant: hello"
    )


@pytest.mark.parametrize(
    ("to", "fields", "input"),
    [
        pytest.param(schema(max_tokens="integer"), {"max_tokens": 5}, {"max_tokens": 5}, id="limit"),
        pytest.param(schema(max_new_tokens="integer"), {"max_tokens": 5}, {"max_new_tokens": 5}, id="other name"),
        pytest.param(schema(max_tokens="integer"), {"max_completion_tokens": 5}, {"max_tokens": 5}, id="newer name"),
        pytest.param(schema(stop="array"), {"stop": "a"}, {"stop": ["a"]}, id="stop"),
        pytest.param(schema("stop_sequences"), {"stop": ["a", "b"]}, {"stop_sequences": "a,b"}, id="stop as a text"),
        pytest.param(schema("stop_sequences"), {"stop": [",", "b"]}, {}, id="stop that no text can hold"),
        pytest.param(schema(temperature="number"), {"temperature": 0.5}, {"temperature": 0.5}, id="temperature"),
        pytest.param(schema(), {"temperature": 0.5, "seed": 3, "top_p": 1}, {}, id="hints that it has not"),
        pytest.param(schema(top_k="integer"), {"top_k": 4}, {"top_k": 4}, id="its own"),
        pytest.param(schema(), {"n": 1, "tools": [], "response_format": {"type": "text"}}, {}, id="nothing"),
        pytest.param(schema(), {"user": "ann", "store": True, "metadata": {"a": "b"}}, {}, id="silent"),
        pytest.param(schema("seed"), {"seed": None, "max_tokens": None, "tools": None}, {}, id="null"),
    ],
)  # fmt: skip
def test_other_fields_reach_the_model_by_name(to: InputSchema, fields: dict[str, Any], input: dict[str, Any]) -> None:
    with_prompt = InputSchema({**to.properties, "prompt": {}})
    assert chat(with_prompt, **fields).input == {**input, "prompt": "hi"}
    assert map_request(with_prompt, CompletionRequest, {"model": "a/b", "prompt": "hi", **fields}).input == {
        **input,
        "prompt": "hi",
    }


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"n": 2}, "n"),
        ({"tools": [{"type": "function"}]}, "tools"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"response_format": {"type": "json_object"}}, "response_format"),
        ({"logprobs": True}, "logprobs"),
        ({"top_logprobs": 2}, "top_logprobs"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"max_tokens": 5}, "max_tokens"),
        ({"stop": ""}, "stop"),
        ({"stop": ["x"] * 17}, "stop"),
        ({"colour": "red"}, "colour"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
        ({"messages": [*HI, {"role": "assistant"}]}, "messages[1].content"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]}]},
            "messages[0].content[0].type",
        ),
    ],
)
def test_unsupported_fields_are_refused_by_name(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(UnsupportedField) as caught:
        chat(schema("prompt"), **fields)
    assert caught.value.param == param


@pytest.mark.parametrize("prompt", [["a", "b"], [], [1, 2], [[1]]])
def test_a_completion_takes_one_text(prompt: list[Any]) -> None:
    with pytest.raises(UnsupportedField, match="prompt"):
        map_request(schema("prompt"), CompletionRequest, {"model": "a/b", "prompt": prompt})
    assert map_request(schema("prompt"), CompletionRequest, {"model": "a/b", "prompt": ["a"]}).input == {"prompt": "a"}


@pytest.mark.parametrize(
    ("to", "input"),
    [(schema("text"), {"text": "a"}), (schema(texts="array"), {"texts": ["a"]}), (schema("input"), {"input": "a"})],
)
def test_a_text_to_embed_reaches_the_model(to: InputSchema, input: dict[str, Any]) -> None:
    assert mapping.map_embedding("a", {}, to).input == input


def test_dimensions_are_for_models_that_have_them() -> None:
    assert mapping.map_embedding("a", {"dimensions": 8}, schema("text", "dimensions")).input["dimensions"] == 8
    with pytest.raises(UnsupportedField, match="dimensions"):
        mapping.map_embedding("a", {"dimensions": 8}, schema("text"))


@pytest.mark.parametrize("input", [[], [1, 2], [[1, 2]], ["a", 1], ["a"] * 2049])
def test_only_texts_are_embedded(input: list[Any]) -> None:
    with pytest.raises(UnsupportedField, match="input"):
        EmbeddingRequest(model="a/b", input=input).texts  # noqa: B018


def test_refused_inputs_have_the_names_of_the_request() -> None:
    wrong = [InvalidField(type="number_lte", field="input.max_new_tokens", description="Must be less")]
    error = InputMismatch(InvalidInput(wrong), {"max_new_tokens": "max_tokens"})
    assert (str(error), error.param) == ("max_tokens: Must be less", "max_tokens")


@pytest.mark.parametrize(
    ("error", "status", "kind", "param", "code"),
    [
        (NoToken(), 401, "invalid_request_error", None, "invalid_api_key"),
        (UnknownModel("x"), 404, "invalid_request_error", "model", "model_not_found"),
        (QueueFull(), 429, "rate_limit_error", None, "rate_limit_exceeded"),
        (BodyTooLarge(), 400, "invalid_request_error", None, None),
        (UnsupportedField("n", "no"), 400, "invalid_request_error", "n", None),
        (ModelFailed("no"), 500, "server_error", None, "model_failed"),
        (Unavailable(), 503, "server_error", None, None),
    ],
)
def test_errors_have_openais_shape(error: Any, status: int, kind: str, param: str | None, code: str | None) -> None:
    response = problems.error_response(error)
    error_body = response.body["error"]
    assert (response.status, error_body["type"], error_body["param"], error_body["code"]) == (status, kind, param, code)
    assert error_body["message"]


def test_a_rate_limit_says_when_to_try_again() -> None:
    assert problems.error_response(QueueFull()).headers == {"Retry-After": "5"}
    assert problems.error_response(ModelFailed("no")).headers == {"X-Should-Retry": "false"}


def prediction(*texts: Any, run: int = 1, status: Status = Status.PROCESSING, **fields: Any) -> Prediction:
    chunks = Chunks.of([Raw(json.encode(text)) for text in texts])
    known: dict[str, Any] = {"many": True, "run": Run(1, run, "x"), "chunks": chunks, "status": status, **fields}
    return Prediction(id="p", account=1, model="a/b", version="v", input=Raw(b"{}"), created_at=AT, **known)


def stream_text(states: list[Prediction], cuts: list[str] | None = None) -> list[str]:
    stream = TextStream(cuts or [])
    return [stream.next_text(p) for p in states]


def test_text_is_sent_once() -> None:
    assert stream_text([prediction("a"), prediction("a", "b"), prediction("a", "b")]) == ["a", "b", ""]


def test_an_output_in_one_piece_is_sent_at_the_end() -> None:
    alone = prediction("all", many=False)
    assert stream_text([alone, structs.replace(alone, status=Status.SUCCEEDED)]) == ["", "all"]
    assert stream_text([prediction(["a", "b"], many=False, status=Status.SUCCEEDED)]) == ["ab"]


def test_an_output_that_is_not_text_fails() -> None:
    with pytest.raises(ModelFailed, match="not text"):
        stream_text([prediction({"a": 1})])


def test_a_repeated_attempt_with_the_same_text_is_continued() -> None:
    states = [prediction("ab"), prediction("a", run=2), prediction("a", "bc", run=2), prediction("a", "bc", "d", run=2)]
    assert stream_text(states) == ["ab", "", "c", "d"]


def test_a_repeated_attempt_with_other_text_fails() -> None:
    with pytest.raises(ModelFailed, match="differently"):
        stream_text([prediction("ab"), prediction("x", run=2)])
    with pytest.raises(ModelFailed, match="differently"):
        stream_text([prediction("ab"), prediction("a", run=2, status=Status.SUCCEEDED)])


@given(
    pieces=st.lists(st.text("ab.", max_size=4), max_size=8),
    cuts=st.lists(st.text("ab.", min_size=1, max_size=3), min_size=1, max_size=3),
)
def test_an_answer_ends_before_the_first_stop_however_it_is_split(pieces: list[str], cuts: list[str]) -> None:
    states = [prediction(*pieces[: n + 1]) for n in range(len(pieces))] + [prediction(*pieces, status=Status.SUCCEEDED)]
    telling = TextStream(cuts)
    text, whole = "".join(telling.next_text(p) for p in states), "".join(pieces)
    if not telling.is_stopped:
        assert text == whole
        assert not any(each in whole for each in cuts)
        return
    assert not any(each in text for each in cuts)
    assert any(whole.startswith(text + each) for each in cuts)


@pytest.mark.parametrize(("count", "limit", "reason"), [(5, 5, "length"), (4, 5, "stop"), (5, None, "stop")])
def test_an_answer_has_its_finish_reason(count: int, limit: int | None, reason: str) -> None:
    p = prediction(metrics={"output_token_count": count})
    assert responses.finish_reason(p, limit, is_stopped=False) == reason
    assert responses.finish_reason(p, limit, is_stopped=True) == "stop"


def test_usage_is_what_the_model_counted() -> None:
    counted = prediction(metrics={"input_token_count": 3, "output_token_count": 2})
    assert responses.usage(counted) == {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    assert responses.usage(prediction(metrics={"input_token_count": "many"}))["total_tokens"] == 0


@pytest.mark.parametrize("output", [b"[0.5,1]", b"[[0.5,1]]"])
def test_a_vector_is_a_list_of_numbers(output: bytes) -> None:
    assert responses.parse_vector(Raw(output)) == [0.5, 1.0]


@pytest.mark.parametrize("output", [b"null", b'"x"', b"[]", b"[[1],[2]]", b'[1,"x"]', b"[true]"])
def test_an_output_that_is_not_a_vector_fails(output: bytes) -> None:
    with pytest.raises(ModelFailed):
        responses.parse_vector(Raw(output))
