"""A predictor with a secret, which is not printed."""

from typing import Optional

from cog import BasePredictor, Input, Secret


class Predictor(BasePredictor):
    def predict(
        self,
        key: Secret = Input(description="Never shown"),
        other: Optional[Secret] = Input(default=None),
    ) -> str:
        print(f"the key is {key}, and {key!r}")
        value = key.get_secret_value() or ""
        return f"{len(value)} letters, the last is {value[-1:]}; other: {other is not None}"
