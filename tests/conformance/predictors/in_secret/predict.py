from typing import Optional

from cog import BasePredictor, Input, Secret


class Predictor(BasePredictor):
    def predict(
        self,
        key: Secret = Input(description="A key."),
        other: Optional[Secret] = None,
        third: Secret = None,
    ) -> str:
        values = [secret.get_secret_value() if secret else None for secret in (key, other, third)]
        return f"{key} {key!r} {len(values[0])} {values[1:]}"
