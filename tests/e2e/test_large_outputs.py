"""Outputs that no message can carry, from a model to its client."""

import pytest
from msgspec import json

from benchmarks.stack import Stack
from tests.live import Api, outputs

pytestmark = pytest.mark.slow

MEGABYTE = "ü" * 500_000


async def test_a_megabyte_comes_by_a_wait_and_by_a_look(stack: Stack, api: Api) -> None:
    prediction = await api.run("values", {"value": json.encode(MEGABYTE).decode()})
    assert prediction["output"] == MEGABYTE
    assert (await api.get(prediction["id"]))["output"] == MEGABYTE


async def test_a_megabyte_that_nobody_waited_for_is_recorded(stack: Stack, api: Api) -> None:
    prediction = await api.create("values", {"value": json.encode(MEGABYTE).decode()})
    assert (await api.wait_until_final(prediction["id"]))["output"] == MEGABYTE


async def test_large_chunks_are_streamed(stack: Stack, api: Api) -> None:
    prediction = await api.create("bulky", {"size": 300_000, "count": 20})
    texts = [chr(97 + number) * 300_000 for number in range(20)]
    assert outputs(await api.collect_stream(prediction["urls"]["stream"])) == texts
    assert (await api.wait_until_final(prediction["id"]))["output"] == texts


async def test_what_looks_like_a_reference_stays_as_it_is(stack: Stack, api: Api) -> None:
    inherited = await api.run("bulky", {"size": 300_000})
    value = {"values": [None], "stored": {"0": f"out/{inherited['id']}/x"}, "text": f"file:out/{inherited['id']}/x"}
    assert (await api.run("values", {"value": json.encode(value).decode()}))["output"] == value


async def test_too_large_an_output_is_refused_with_what_to_do(stack: Stack, api: Api) -> None:
    prediction = await api.run("bulky", {"size": 20_000_000})
    assert prediction["status"] == "failed"
    assert prediction["error"] == (
        "an output of 20000002 bytes is too large: the limit is 16000000 (SAMOVAR_MAX_OUTPUT); return a file instead"
    )
