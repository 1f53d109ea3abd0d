import pytest

from runners.batching.batch_key import Groups

BY = {"width": b"512", "style": b""}


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        pytest.param(b"{}", b"{}", True, id="nothing given"),
        pytest.param(b'{"width": 512}', b"{}", True, id="left out is the default"),
        pytest.param(b'{"width": 1}', b'{"width": 1.0}', True, id="a number however it is written"),
        pytest.param(b'{"width": 1}', b'{"width": true}', False, id="a number and true"),
        pytest.param(b'{"width": 1}', b'{"width": 2}', False, id="two numbers"),
        pytest.param(b'{"style": null}', b"{}", False, id="null is something"),
        pytest.param(b'{"style": "a", "seed": 1}', b'{"seed": 2, "style": "a"}', True, id="other inputs may differ"),
        pytest.param(
            b'{"style": {"a": [1, {}], "b": 2}}', b'{"style": {"b": 2, "a": [1, {}]}}', True, id="an object's order"
        ),
        pytest.param(b'{"style": [1, 2]}', b'{"style": [2, 1]}', False, id="a list's order"),
        pytest.param(b'{"style": [1]}', b'{"style": [true]}', False, id="inside of a list"),
        pytest.param(b'{"style": []}', b'{"style": {}}', False, id="empty"),
        pytest.param(b'{"style": 1e400}', b"[]", True, id="no inputs at all"),
    ],
)
def test_who_may_share_a_batch(one: bytes, other: bytes, together: bool) -> None:
    groups = Groups(BY)
    assert (groups.of(one) == groups.of(other)) is together


def test_all_may_where_nothing_has_to_be_equal() -> None:
    assert Groups({}).of(b'{"width": 1}') == Groups({}).of(b"nonsense")
