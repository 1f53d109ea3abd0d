"""`python -m tests.conformance [PREDICTOR…]`: the table of verdicts, and how many there are of each kind."""

import sys
from collections import Counter
from typing import get_args

from tests.conformance.cases import CASES
from tests.conformance.compare import compare
from tests.conformance.reasons import REASONS, Source
from tests.conformance.verdict import brief

SOURCES = get_args(Source)


def main(names: list[str]) -> int:
    counts: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    for verdict in compare([case for case in CASES if not names or case.predictor in names]):
        counts[verdict.kind] += 1
        if verdict.kind == "better":
            # A call with several reasons counts by the one that is least asked for.
            sources[max((REASONS[name].source for name in verdict.call.better), key=SOURCES.index)] += 1
        print(f"{verdict.kind:9}  {verdict.case:20}  {verdict.call.name:50}  {verdict.why}", flush=True)
        if verdict.kind == "different" or names:
            print(f"    oracle: {brief(verdict.oracle)}\n    ours:   {brief(verdict.ours)}", flush=True)
    print(", ".join(f"{counts[kind]} {kind}" for kind in ("same", "better", "different")))
    print("better by " + ", ".join(f"{source}: {sources[source]}" for source in SOURCES))
    return 1 if counts["different"] else 0


sys.exit(main(sys.argv[1:]))
