"""Who is wanted is read off subjects that anybody may have written."""

import pytest

from runners.demand import version_of


@pytest.mark.parametrize(
    ("subject", "version"),
    [("jobs.default.owner=2fx.v1.0", "v1"), ("jobs.default.stray", ""), ("jobs", "")],
)
def test_a_subject_that_names_no_version_wants_nobody(subject: str, version: str) -> None:
    assert version_of(subject) == version
