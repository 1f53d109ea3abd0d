"""A plain class whose schema was written down beside it."""


class Adder:
    def setup(self):
        self.start = 100

    def predict(self, number: int) -> int:
        return self.start + number
