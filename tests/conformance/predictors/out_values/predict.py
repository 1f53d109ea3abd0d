import datetime
import decimal
import enum
import uuid
from collections import namedtuple
from typing import Any

import numpy
from cog import BasePredictor


class Colour(enum.Enum):
    RED = "red"


class Size(enum.IntEnum):
    BIG = 3


class Word(str, enum.Enum):
    HI = "hi"


Point = namedtuple("Point", "x y")


def count():
    yield 1
    yield 2


MADE = {
    "enum": lambda: Colour.RED,
    "int enum": lambda: {"size": Size.BIG},
    "str enum": lambda: [Word.HI],
    "datetime": lambda: datetime.datetime(2026, 1, 2, 3, 4, 5),
    "aware datetime": lambda: datetime.datetime(2026, 1, 2, 3, 4, 5, tzinfo=datetime.timezone.utc),
    "date": lambda: datetime.date(2026, 1, 2),
    "set": lambda: {7},
    "frozenset": lambda: frozenset({7}),
    "tuple": lambda: (1, "a"),
    "nested tuple": lambda: {"t": (1, (2, 3))},
    "namedtuple": lambda: Point(1, 2),
    "none": lambda: None,
    "numpy int": lambda: numpy.int64(5),
    "numpy float": lambda: numpy.float32(0.5),
    "numpy bool": lambda: {"yes": numpy.bool_(True)},
    "numpy array": lambda: numpy.arange(6).reshape(2, 3),
    "numpy 0-d": lambda: numpy.array(3.5),
    "nested numpy": lambda: {"a": [numpy.float64(1.5), numpy.array([1, 2])]},
    "generator inside": lambda: {"g": count()},
    "map": lambda: {"m": map(str, [1, 2])},
    "int keys": lambda: {1: "one"},
    "bytes": lambda: b"abc",
    "decimal": lambda: decimal.Decimal("1.5"),
    "uuid": lambda: uuid.UUID(int=1),
    "object": lambda: object(),
    "nan": lambda: float("nan"),
    "big int": lambda: 2**60,
    "unicode": lambda: "žluťoučký 🐎 \u2028",
    "nul": lambda: "a\0b",
    "empty": lambda: [{}, [], ""],
    "exception": lambda: ValueError("as a value"),
}


class Predictor(BasePredictor):
    def predict(self, kind: str) -> Any:
        return MADE[kind]()
