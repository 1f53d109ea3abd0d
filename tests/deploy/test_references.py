"""Shortened references to versions, against a fake gateway."""

from tests.deploy.command_line import samovar
from tests.deploy.fake_gateway import FakeGateway


def test_the_first_digits_name_a_version_if_only_one_begins_with_them(gateway: FakeGateway) -> None:
    gateway.versions = ["abcd" + "0" * 60, "abcd" + "1" * 60, "beef" + "0" * 60]
    samovar(gateway, "models", "show", "me/mine:beef")
    assert f"GET /v1/models/me/mine/versions/{'beef' + '0' * 60}" in gateway.request_lines
    several = samovar(gateway, "models", "show", "me/mine:abcd")
    assert all(id in several.stderr for id in gateway.versions[:2])
    assert "no version begins with this" in samovar(gateway, "models", "show", "me/mine:0123").stderr
