from cog import BasePredictor, Input


class Predictor(BasePredictor):
    def predict(
        self,
        plain: str,
        short: str = Input(default="abc", min_length=2, max_length=4, description="Two to four characters."),
        pattern: str = Input(default="a1", regex="^[a-z][0-9]$"),
    ) -> str:
        return f"{plain}|{short}|{pattern}"
