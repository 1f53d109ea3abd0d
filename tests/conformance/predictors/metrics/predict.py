from typing import Any

from cog import BasePredictor, current_scope


class Predictor(BasePredictor):
    def predict(self, how: str) -> str:
        scope = current_scope()
        record: Any = scope.record_metric
        match how:
            case "kinds":
                for name, value in {"i": 1, "f": 1.5, "s": "text", "b": True, "l": [1, 2], "d": {"a": 1}}.items():
                    record(name, value)
            case "replace":
                record("n", 1)
                record("n", 2, mode="replace")
            case "incr":
                record("n", 1, mode="incr")
                record("n", 2, mode="incr")
                record("f", 1.5, mode="incr")
                record("f", 1.5, mode="incr")
            case "append":
                record("l", "a", mode="append")
                record("l", "b", mode="append")
            case "append to one":
                record("l", "a")
                record("l", "b", mode="append")
            case "nested":
                record("time.load.disk", 1)
                record("time.run", 2)
            case "four words":
                record("a.b.c.d", 1)
            case "mapping":
                scope.metrics["n"] = 1
                scope.metrics["other"] = 2
                del scope.metrics["other"]
            case "record and delete":
                scope.metrics.record("n", 1)
                scope.metrics.record("n", 2, mode="incr")
                scope.metrics.record("gone", 1)
                scope.metrics.delete("gone")
            case "None":
                record("n", 1)
                record("m", 1)
                record("n", None)
            case "delete, then another type":
                record("n", 1)
                scope.metrics.delete("n")
                record("n", "text")
            case "self":
                self.record_metric("n", 1)
                self.record_metric("n", 1, mode="incr")
                self.scope.metrics["m"] = 2
            case "int becomes float":
                record("n", 1)
                record("n", 1.5)
            case "five words":
                record("a.b.c.d.e", 1)
            case "long":
                record("n" * 129, 1)
            case "128":
                record("n" * 128, 1)
            case "reserved":
                record("predict_time", 1)
            case "cog.":
                record("cog.mine", 1)
            case "a dash":
                record("a-b", 1)
            case "empty":
                record("", 1)
            case "a dot at its end":
                record("a.", 1)
            case "a digit first":
                record("1a", 1)
            case "an underscore first":
                record("_a", 1)
            case "an underscore last":
                record("a_", 1)
            case "two underscores":
                record("a__b", 1)
            case "another type":
                record("n", 1)
                record("n", "text")
            case "bool becomes int":
                record("n", True)
                record("n", 1)
            case "incr a text":
                record("n", "a", mode="incr")
            case "a mode that is none":
                record("n", 1, mode="multiply")
            case "incr by another type":
                record("f", 1.5, mode="incr")
                record("f", 1, mode="incr")
            case "an object":
                record("n", object())
            case "a value and words below it":
                record("a", 1)
                record("a.b", 2)
            case "nested and then its head":
                record("a.b", 1)
                record("a", 2)
        return "done"
