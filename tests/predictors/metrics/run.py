"""A `BaseRunner` with `run`, found without a name, that records metrics in every way."""

from cog import BaseRunner, Input, current_scope


class Runner(BaseRunner):
    def setup(self) -> None:
        self.calls = 0

    def run(self, words: list[str] = Input(description="Counted, and measured")) -> int:
        self.calls += 1
        scope = current_scope()
        scope.record_metric("words", len(words))
        scope.metrics["calls"] = self.calls
        for word in words:
            self.record_metric("letters.all", len(word), mode="incr")
            self.scope.record_metric("letters.each", len(word), mode="append")
        scope.record_metric("gone", 1)
        del scope.metrics["gone"]
        refused = 0
        for name, value in {
            "predict_time": 1,
            "cog.mine": 1,
            "a.b.c.d.e": 1,
            "no spaces": 1,
            "words": "a text",
        }.items():
            try:
                scope.record_metric(name, value)
            except (ValueError, TypeError):
                refused += 1
        scope.record_metric("refused", refused)
        scope.record_metric("context", len(scope.context))
        return len(words)
