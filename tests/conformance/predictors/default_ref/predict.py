from cog import BaseRunner


class Predictor:
    def predict(self) -> str:
        return "Predictor"


class Runner(BaseRunner):
    def run(self) -> str:
        return "Runner"
