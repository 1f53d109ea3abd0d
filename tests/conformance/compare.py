"""Running every case through both sides, and judging each call."""

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Final, Protocol

from msgspec import json

from tests.conformance.oracle import Oracle
from tests.conformance.ours import Ours, introspect
from tests.conformance.outcome import Call, Case, Outcome, failure
from tests.conformance.scene import Scene
from tests.conformance.venv import oracle_python
from tests.conformance.verdict import Verdict, judge
from tests.conformance.web import Web, serving

MAX_CASES: Final = 2


class Side(Protocol):
    def call(self, call: Call) -> Outcome: ...
    def close(self) -> None: ...


def compare(cases: Sequence[Case]) -> Iterator[Verdict]:
    python = oracle_python()
    with serving() as web, ThreadPoolExecutor(MAX_CASES) as pool:
        for verdicts in pool.map(lambda case: _case(case, python, web), cases):
            yield from verdicts


def _case(case: Case, python: Path, web: Web) -> list[Verdict]:
    with tempfile.TemporaryDirectory(prefix="conformance-", ignore_cleanup_errors=True) as home:
        here, there = Scene(case, Path(home, "ours"), web.url), Scene(case, Path(home, "oracle"), web.url)
        introspection = introspect(here)
        document = json.encode(introspection["schema"]) if case.document and "schema" in introspection else None
        with closing(Oracle(python, there, document, web)) as oracle, closing(Ours(here, introspection)) as ours:
            return [judge(case.predictor, call, _call(oracle, call), _call(ours, call)) for call in case.calls]


def _call(side: Side, call: Call) -> Outcome:
    try:
        return side.call(call)
    except Exception as error:
        return failure(error)
