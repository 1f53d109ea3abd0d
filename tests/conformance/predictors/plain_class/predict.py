class Predictor:
    def __init__(self):
        self.word = "made"

    def setup(self):
        self.word += " and set up"

    def predict(self, more: str = "") -> str:
        return self.word + more
