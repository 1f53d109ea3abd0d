"""`Mode`, which Cog exports for its own server."""

from enum import Enum


class Mode(Enum):
    """The mode of a process: it predicts or trains."""

    PREDICT = "predict"
    TRAIN = "train"

    def __str__(self) -> str:
        return self.value
