import pytest

from runners.batching.batch_key import BatchKeys

BY = {"width": b"512", "style": b""}


@pytest.mark.parametrize(
    ("one", "other", "together"),
    [
        pytest.param(b"{}", b"{}", True, id="no input"),
        pytest.param(b'{"width": 512}', b"{}", True, id="a missing one is the default"),
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
def test_which_inputs_share_a_batch(one: bytes, other: bytes, together: bool) -> None:
    groups = BatchKeys(BY)
    assert (groups.key_of(one) == groups.key_of(other)) is together


def test_all_inputs_share_a_batch_if_none_has_to_be_equal() -> None:
    assert BatchKeys({}).key_of(b'{"width": 1}') == BatchKeys({}).key_of(b"nonsense")
