"""Whether a process predicts or trains."""

from enum import Enum


class Mode(Enum):
    PREDICT = "predict"
    TRAIN = "train"

    def __str__(self) -> str:
        return self.value
