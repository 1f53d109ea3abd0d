"""A plain class whose schema is written in a file beside it."""


class Adder:
    def setup(self):
        self.start = 100

    def predict(self, number: int) -> int:
        return self.start + number
