"""A predictor with unions, lists and inputs of any JSON type."""

from typing import Annotated, Any, Optional, Union

from cog import BasePredictor, Input, Opaque


class Predictor(BasePredictor):
    def predict(
        self,
        one: Union[str, int],
        anything: Any,
        many: list[Union[int, str]] = Input(default=["a", 1]),
        numbers: list[float] = Input(default=[0.5]),
        words: Optional[list[str]] = None,
        wide: str | int | None = Input(default=None),
        table: dict[str, Any] = Input(default={}),
        opaque: Annotated[dict, Opaque] = Input(default={}),
    ) -> Any:
        return [one, anything, many, numbers, words, wide, table, opaque]
