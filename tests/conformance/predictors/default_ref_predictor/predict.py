class Predictor:
    def predict(self) -> str:
        return "Predictor"
