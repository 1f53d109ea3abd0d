from typing import Any, Iterator

from cog import BasePredictor


class Predictor(BasePredictor):
    def predict(self, how: str = "generator") -> Iterator[Any]:
        return {
            "generator": lambda: (number for number in range(3)),
            "iter": lambda: iter([1, 2]),
            "map": lambda: map(str, [1, 2]),
            "list": lambda: [1, 2],
            "tuple": lambda: (1, 2),
        }[how]()
