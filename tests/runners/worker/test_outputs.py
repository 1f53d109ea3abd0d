import datetime
import enum
import pathlib
from typing import Any

import numpy
import pytest
from msgspec import json

from runners.worker.cog.files import Path
from runners.worker.cog.model import BaseModel
from runners.worker.outputs import BadOutput, clean, encode


class Colour(enum.Enum):
    RED = "red"


class Pair(BaseModel):
    a: int
    b: Any = None


OUTPUTS = [
    pytest.param("hi", "hi", id="text"),
    pytest.param({"a": [1, None, True, 2.5]}, {"a": [1, None, True, 2.5]}, id="nested"),
    pytest.param(None, None, id="nothing"),
    pytest.param({3: "x", Colour.RED: (1, 2)}, {"3": "x", "red": [1, 2]}, id="keys and tuples"),
    pytest.param({7}, [7], id="a set"),
    pytest.param("a\0b", "a\ufffdb", id="NUL"),
    pytest.param(["\ud800", "é"], ["?", "é"], id="half a character"),
    pytest.param(datetime.date(2026, 1, 2), "2026-01-02", id="a date"),
    pytest.param(numpy.arange(3, dtype="float32"), [0.0, 1.0, 2.0], id="an array"),
    pytest.param([numpy.int64(7), numpy.float32(0.5), numpy.float64(0.25)], [7, 0.5, 0.25], id="array scalars"),
    pytest.param(Colour.RED, "red", id="an enum"),
    pytest.param(Pair(a=1, b=[Pair(a=2)]), {"a": 1, "b": [{"a": 2, "b": None}]}, id="a model"),
    pytest.param(iter([1, 2]), [1, 2], id="an iterator inside"),
    pytest.param(10**12, 10**12, id="large"),
    pytest.param([0.5] * 400, [0.5] * 400, id="an embedding"),
]


@pytest.mark.parametrize(("output", "expected"), OUTPUTS)
def test_an_output_has_a_form_in_json(output: object, expected: object):
    value = encode(output)
    assert (json.decode(value.json), value.files) == (expected, [])


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)

REFUSED = [
    pytest.param([1.0, float("nan")], "output[1]: JSON has no nan", id="NaN"),
    pytest.param({"a": [{"b": float("-inf")}]}, "output['a'][0]['b']: JSON has no -inf", id="Infinity"),
    pytest.param(numpy.array([1.0, numpy.inf]), "output[1]: JSON has no inf", id="Infinity in an array"),
    pytest.param([object()], "output[0]: a object cannot be sent as JSON", id="an object"),
    pytest.param(CIRCLE, "contains itself", id="a circle"),
    pytest.param([Path("/nowhere/x.png")], "output[0]: the file 'x.png' does not exist", id="a missing file"),
]


@pytest.mark.parametrize(("output", "error"), REFUSED)
def test_what_has_none_is_refused_where_it_stands(output: object, error: str):
    with pytest.raises(BadOutput) as refused:
        encode(output)
    assert error in str(refused.value)


def test_files_are_named_wherever_they_are(tmp_path: pathlib.Path):
    file = tmp_path / "o.txt"
    file.write_text("x")
    with file.open() as handle:
        value = encode({"a": [Path(file)], "b": file, "c": handle})
    assert json.decode(value.json) == {"a": [f"file:{file}"], "b": f"file:{file}", "c": f"file:{file}"}
    assert value.files == [str(file)] * 3


def test_a_file_in_memory_is_written_out():
    import io

    value = encode(io.BytesIO(b"hello"))
    path = pathlib.Path(value.files[0])
    assert (path.read_bytes(), json.decode(value.json)) == (b"hello", f"file:{path}")
    path.unlink()


def test_clean_text_is_left_alone():
    assert clean("hello é") == "hello é"
