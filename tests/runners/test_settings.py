import pytest

from runners.settings import NAMES, BadSetting, Settings, from_env


def test_names_of_other_processes_are_left_alone() -> None:
    assert from_env({"SAMOVAR_DATABASE_URL": "x", "PATH": "y", "SAMOVAR_POOL": "gpu"}).pool == "gpu"


def test_folders_are_a_path() -> None:
    assert from_env({"SAMOVAR_MODELS": "/a:/b:"}).models == ("/a", "/b")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        pytest.param("SAMOVAR_RUN_LIMIT", "soon", id="no number"),
        pytest.param("SAMOVAR_RUN_LIMIT", "-1", id="out of bounds"),
        pytest.param("SAMOVAR_POOL", "a.b", id="no token of a subject"),
        pytest.param("SAMOVAR_BUNDLED", "maybe", id="neither yes nor no"),
        pytest.param("SAMOVAR_SECRETS_KEY", "abc123", id="no key"),
        pytest.param("SAMOVAR_CACHE_BYTES", "-1", id="less than nothing"),
    ],
)
def test_a_value_that_cannot_be_used_is_named(name: str, value: str) -> None:
    with pytest.raises(BadSetting, match=name):
        from_env({name: value})


def test_a_wrong_key_is_not_repeated() -> None:
    with pytest.raises(BadSetting) as caught:
        from_env({"SAMOVAR_SECRETS_KEY": "abc123"})
    assert "abc123" not in str(caught.value)


def test_switches_are_read_in_any_case() -> None:
    settings = from_env({"SAMOVAR_BUILDS": "False", "SAMOVAR_PRIVATE_INPUTS": "TRUE"})
    assert (settings.builds, settings.private_inputs) == (False, True)


def test_every_field_has_a_name() -> None:
    assert len(NAMES) == len(Settings.__struct_fields__)
    assert "SAMOVAR_NATS_URL" in NAMES
