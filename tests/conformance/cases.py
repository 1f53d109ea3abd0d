"""Every case there is."""

from typing import Final

from tests.conformance.calls import inputs, outputs, running, sdk
from tests.conformance.outcome import Case

CASES: Final[tuple[Case, ...]] = (*inputs.CASES, *outputs.CASES, *running.CASES, *sdk.CASES)
