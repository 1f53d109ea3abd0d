"""A predictor that returns values which are not JSON yet."""

from dataclasses import dataclass
from datetime import datetime, timezone
from enum import Enum
from io import BytesIO
from typing import Any

import numpy as np
import torch
from cog import BasePredictor, Input


class Color(Enum):
    RED = "red"


@dataclass
class Point:
    x: int
    y: np.float32


class Predictor(BasePredictor):
    def predict(self, size: int = Input(default=3, ge=1, le=100)) -> dict[str, Any]:
        return {
            "numpy": [np.int64(1), np.float32(0.5), np.bool_(True), np.arange(size), np.array(7)],
            "torch": [torch.tensor(2), torch.tensor(0.25), torch.ones(2, 2)],
            "dataclass": Point(1, np.float32(2)),
            "enum": Color.RED,
            "time": datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone.utc),
            "set": {1},
            "tuple": (1, "two", None),
            "generator": (number * number for number in range(size)),
            "stream": BytesIO(b"in memory"),
        }
