"""What user code gives, as JSON and files."""

import collections
import dataclasses
import datetime
import decimal
import enum
import io
import pathlib
import tempfile
import time
import uuid
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy
import pytest
from msgspec import json

from runners.worker.cog.files import Path, URLPath
from runners.worker.cog.model import BaseModel
from runners.worker.cog.secret import Secret
from runners.worker.io.outputs import BadOutput, EncodedOutput, clean_text, encode
from runners.worker.io.scratch_files import OutputFiles, ScratchFiles, ScratchFolder


class Colour(enum.Enum):
    RED = "red"


class Size(enum.IntEnum):
    BIG = 3


class Word(str, enum.Enum):  # noqa: UP042  as predictors still write it
    HI = "hi"


class Pair(BaseModel):
    a: int
    b: Any = None


@dataclasses.dataclass
class Plain:
    a: int
    at: datetime.datetime


class Pydantic:
    def model_dump(self) -> dict[str, Any]:
        return {"a": 1}


class OldPydantic:
    def dict(self) -> dict[str, Any]:
        return {"a": {2}}


class Point(NamedTuple):
    x: int
    y: list[int]


MOMENT = datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.UTC)


OUTPUTS = [
    pytest.param("hi", "hi", id="text"),
    pytest.param({"a": [1, None, True, 2.5]}, {"a": [1, None, True, 2.5]}, id="nested"),
    pytest.param(None, None, id="nothing"),
    pytest.param({3: "x", Colour.RED: (1, 2)}, {"3": "x", "red": [1, 2]}, id="keys and tuples"),
    pytest.param({7}, [7], id="a set"),
    pytest.param("a\0b", "a\ufffdb", id="NUL"),
    pytest.param(["\ud800", "é"], ["?", "é"], id="half a character"),
    pytest.param(datetime.date(2026, 1, 2), "2026-01-02", id="a date"),
    pytest.param(MOMENT, "2026-01-02T03:04:05+00:00", id="a moment"),
    pytest.param(MOMENT.replace(tzinfo=None), "2026-01-02T03:04:05", id="a moment of no zone"),
    pytest.param(datetime.time(1, 2), "01:02:00", id="a time"),
    pytest.param(uuid.UUID(int=1), "00000000-0000-0000-0000-000000000001", id="a UUID"),
    pytest.param(decimal.Decimal("1.50"), "1.50", id="a decimal"),
    pytest.param([Size.BIG, Word.HI], [3, "hi"], id="enums that are numbers and texts"),
    pytest.param(Point(1, [2]), [1, [2]], id="a named tuple"),
    pytest.param(Plain(1, MOMENT), {"a": 1, "at": "2026-01-02T03:04:05+00:00"}, id="a dataclass"),
    pytest.param([Pydantic(), OldPydantic()], [{"a": 1}, {"a": [2]}], id="pydantic"),
    pytest.param(collections.deque([1, range(2)]), [1, [0, 1]], id="other collections"),
    pytest.param({None: 1, True: 2, 1.5: 3}, {"null": 1, "true": 2, "1.5": 3}, id="keys that are no text"),
    pytest.param(2**70, float(2**70), id="more than 64 bits"),
    pytest.param([2**70, 1], [float(2**70), 1], id="more than 64 bits in a list"),
    pytest.param(numpy.array(3.5), 3.5, id="an array of no dimension"),
    pytest.param([numpy.bool_(True), numpy.int8(3)], [True, 3], id="other scalars"),
    pytest.param(numpy.arange(4).reshape(2, 2), [[0, 1], [2, 3]], id="a matrix"),
    pytest.param({"key": Secret("x")}, {"key": "**********"}, id="a secret"),
    pytest.param(numpy.arange(3, dtype="float32"), [0.0, 1.0, 2.0], id="an array"),
    pytest.param([numpy.int64(7), numpy.float32(0.5), numpy.float64(0.25)], [7, 0.5, 0.25], id="array scalars"),
    pytest.param(Colour.RED, "red", id="an enum"),
    pytest.param(Pair(a=1, b=[Pair(a=2)]), {"a": 1, "b": [{"a": 2, "b": None}]}, id="a model"),
    pytest.param(iter([1, 2]), [1, 2], id="an iterator inside"),
    pytest.param(10**12, 10**12, id="large"),
    pytest.param([0.5] * 400, [0.5] * 400, id="an embedding"),
]


@pytest.fixture
def scratch(tmp_path: pathlib.Path) -> Iterator[ScratchFiles]:
    (tmp_path / "home").mkdir()
    scratch = ScratchFiles(ScratchFolder(str(tmp_path / "home")))
    yield scratch
    scratch.remove()


@pytest.fixture
def outputs(scratch: ScratchFiles) -> OutputFiles:
    return OutputFiles(scratch, last=True)


@pytest.mark.parametrize(("output", "expected"), OUTPUTS)
def test_an_output_has_a_form_in_json(output: object, expected: object, outputs: OutputFiles):
    value = encode(output, outputs)
    assert (json.decode(value.json), value.files) == (expected, [])


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)

REFUSED = [
    pytest.param([1.0, float("nan")], "output[1]: JSON has no nan", id="NaN"),
    pytest.param({"a": [{"b": float("-inf")}]}, "output['a'][0]['b']: JSON has no -inf", id="Infinity"),
    pytest.param(numpy.array([1.0, numpy.inf]), "output[1]: JSON has no inf", id="Infinity in an array"),
    pytest.param([Pair], "output[0]: the class Pair cannot be sent as JSON; make an object of it", id="a class"),
    pytest.param(10**400, "output: the number is too large for JSON", id="a huge number"),
    pytest.param([object()], "output[0]: a object cannot be sent as JSON", id="an object"),
    pytest.param(CIRCLE, "contains itself", id="a circle"),
    pytest.param([Path("/nowhere/x.png")], "output[0]: the file 'x.png' does not exist", id="a missing file"),
]


@pytest.mark.parametrize(("output", "error"), REFUSED)
def test_a_value_without_a_form_in_json_is_refused_by_its_place(output: object, error: str, outputs: OutputFiles):
    with pytest.raises(BadOutput) as refused:
        encode(output, outputs)
    assert error in str(refused.value)


def contents(value: EncodedOutput) -> list[tuple[str, bytes]]:
    return [(pathlib.Path(path).name, pathlib.Path(path).read_bytes()) for path in value.files]


def test_files_are_saved_wherever_they_are(tmp_path: pathlib.Path, outputs: OutputFiles):
    file = tmp_path / "o.txt"
    file.write_text("x")
    with file.open() as handle:
        value = encode({"a": [Path(file)], "b": file, "c": handle}, outputs)
    assert contents(value) == [("o.txt", b"x")]
    assert json.decode(value.json) == dict.fromkeys("bc", f"file:{value.files[0]}") | {"a": [f"file:{value.files[0]}"]}


def test_files_of_one_name_are_two(tmp_path: pathlib.Path, outputs: OutputFiles):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "o.txt").write_text(folder)
    value = encode([tmp_path / "a" / "o.txt", tmp_path / "b" / "o.txt"], outputs)
    assert contents(value) == [("o.txt", b"a"), ("o.txt", b"b")]


def named(file: Any, name: str) -> Any:
    file.name = name
    return file


IN_MEMORY = [
    pytest.param(lambda: io.BytesIO(b"hello"), "output", b"hello", id="bytes that are read"),
    pytest.param(lambda: io.StringIO("hé"), "output", "hé".encode(), id="text that is read"),
    pytest.param(lambda: named(io.BytesIO(b"x"), "../a.png"), "a.png", b"x", id="with a name"),
    pytest.param(lambda: b"\xff", "output.bin", b"\xff", id="bytes"),
    pytest.param(lambda: bytearray(b"ab"), "output.bin", b"ab", id="a bytearray"),
    pytest.param(lambda: b"x" * 6_000_000, "output.bin", b"x" * 6_000_000, id="many bytes"),
    pytest.param(
        lambda: URLPath(source="data:,x", filename="x.txt", fileobj=io.BytesIO(b"x")), "", b"x", id="a URLPath"
    ),
]


@pytest.mark.parametrize(("make", "name", "content"), IN_MEMORY)
def test_what_is_in_memory_becomes_a_file(make: Any, name: str, content: bytes, outputs: OutputFiles):
    value = encode([make()], outputs)
    ((file_name, data),) = contents(value)
    assert data == content
    assert file_name == name or not name
    assert json.decode(value.json) == [f"file:{value.files[0]}"]


def test_an_open_temporary_file_is_saved_before_it_is_deleted(outputs: OutputFiles):
    with tempfile.NamedTemporaryFile(suffix=".txt") as file:
        file.write(b"so far")
        value = encode(file, outputs)
    ((_, content),) = contents(value)
    assert content == b"so far"


def test_a_file_that_is_written_again_was_saved(tmp_path: pathlib.Path, scratch: ScratchFiles):
    file = tmp_path / "o.txt"
    file.write_text("first")
    first = encode(file, OutputFiles(scratch, last=False))
    file.write_text("second")
    second = encode(file, OutputFiles(scratch, last=True))
    assert contents(first) + contents(second) == [("o.txt", b"first"), ("o.txt", b"second")]


def test_a_temporary_output_leaves_nothing_behind(tmp_path: pathlib.Path, scratch: ScratchFiles):
    """It was made by this run, in the folder for temporary files; once it is kept, its own place is cleared."""
    with tempfile.NamedTemporaryFile(delete=False) as file:
        file.write(b"x")
    value = encode(Path(file.name), OutputFiles(scratch, last=True))
    scratch.remove()
    assert not pathlib.Path(file.name).exists()
    assert contents(value)[0][1] == b"x"


def test_a_temporary_file_that_was_there_before_stays(tmp_path: pathlib.Path):
    with tempfile.NamedTemporaryFile() as file:
        while time.time() < pathlib.Path(file.name).stat().st_ctime + 0.02:
            continue  # file systems count time in ticks
        scratch = ScratchFiles(ScratchFolder(str(tmp_path)))
        encode(Path(file.name), OutputFiles(scratch, last=True))
        scratch.remove()
        assert pathlib.Path(file.name).exists()


def test_an_output_that_fails_keeps_no_files(tmp_path: pathlib.Path, outputs: OutputFiles):
    with pytest.raises(BadOutput):
        encode([b"x", object()], outputs)
    assert [path for path in (tmp_path / "home").rglob("*") if path.is_file()] == []


def test_folders_of_outputs_are_removed_once_they_are_empty(tmp_path: pathlib.Path, outputs: OutputFiles):
    for _ in range(5):
        pathlib.Path(encode(b"x", outputs).files[0]).unlink()
    assert len(list((tmp_path / "home").iterdir())) == 1


def test_clean_text_is_not_changed():
    assert clean_text("hello é") == "hello é"


def test_torch_scalars_and_tensors_are_numbers(outputs: OutputFiles):
    torch = pytest.importorskip("torch")
    tensors = [torch.tensor(2), torch.tensor(0.5, requires_grad=True), torch.ones(2, dtype=torch.bfloat16)]
    assert json.decode(encode(tensors, outputs).json) == [2, 0.5, [1.0, 1.0]]
