from pathlib import Path

import pytest

import gateway.settings
import runners.settings
from deploy.errors import UsageError
from deploy.settings import KNOWN_NAMES, check_names, read_settings


def test_names_of_all_processes_are_known_to_each() -> None:
    check_names(dict.fromkeys(KNOWN_NAMES, "x") | {"PATH": "x"})


def test_a_typo_is_refused_and_named() -> None:
    with pytest.raises(
        UsageError,
        match=r"SAMOVAR_DATABSE_URL is set.*did you mean SAMOVAR_DATABASE_URL\?",
    ):
        check_names({"SAMOVAR_DATABSE_URL": "x"})


def test_a_name_unlike_any_is_refused_with_all_names() -> None:
    with pytest.raises(UsageError, match=r"SAMOVAR_QQQQQQQ is set.*the settings are .*SAMOVAR_PORT"):
        check_names({"SAMOVAR_QQQQQQQ": "x"})


@pytest.mark.parametrize(
    ("environ", "reason"),
    [
        pytest.param({}, "SAMOVAR_DATABASE_URL is not set", id="missing"),
        pytest.param({"SAMOVAR_DATABASE_URL": "x", "SAMOVAR_PORT": "many"}, "SAMOVAR_PORT: ", id="no number"),
        pytest.param(
            {"SAMOVAR_DATABASE_URL": "x", "SAMOVAR_PAGE_SIZE": "0"}, "SAMOVAR_PAGE_SIZE: ", id="out of bounds"
        ),
        pytest.param(
            {"SAMOVAR_DATABASE_URL": "x", "SAMOVAR_WEBHOOK_ALLOW": "10.0.0.0/33"},
            "SAMOVAR_WEBHOOK_ALLOW: '10.0.0.0/33' is neither",
            id="no network",
        ),
    ],
)
def test_a_refusal_names_the_variable(environ: dict[str, str], reason: str) -> None:
    with pytest.raises(UsageError) as refusal:
        read_settings(gateway.settings.from_env, environ)
    assert str(refusal.value).startswith(reason)


def test_a_refusal_of_the_runner_names_the_variable() -> None:
    with pytest.raises(UsageError, match="SAMOVAR_RUN_LIMIT: "):
        read_settings(runners.settings.from_env, {"SAMOVAR_RUN_LIMIT": "-1"})


def test_every_setting_is_documented():
    page = (Path(__file__).parents[2] / "docs" / "settings.md").read_text()
    assert {name for name in KNOWN_NAMES if f"`{name}`" not in page} == set()
