"""`samovar predictions` beside a gateway that answers as it is told."""

import subprocess
from datetime import UTC, datetime

import pytest

from benchmarks.stack import SAMOVAR
from deploy.cli.client.times import moment
from deploy.errors import Unusable
from tests.deploy.fake import FakeGateway, environment, samovar

NOW = datetime(2026, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("typed", "told"),
    [
        ("30s", "2026-01-31T11:59:30Z"),
        ("90min", "2026-01-31T10:30:00Z"),
        ("7d", "2026-01-24T12:00:00Z"),
        ("2026-01-01T00:00:00+01:00", "2025-12-31T23:00:00Z"),
        ("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"),
    ],
)
def test_since_takes_moments_and_spans(typed: str, told: str):
    assert moment(typed, NOW) == told


@pytest.mark.parametrize("typed", ["", "yesterday", "7", "7 weeks", "999999d", "0001-01-01T00:00:00+14:00"])
def test_anything_else_is_refused(typed: str):
    with pytest.raises(Unusable, match="2026-01-31"):
        moment(typed, NOW)


def test_what_is_asked_for_is_asked_of_the_gateway(gateway: FakeGateway):
    gateway.listed = ["k3v7zq1b5drm80cs2n9gt4w6xa"]
    done = samovar(gateway, "predictions", "list", "--source", "web", "--since", "2026-01-01T00:00:00Z")
    assert done.stdout.split("\t")[0] == gateway.listed[0], done.stderr
    assert gateway.queries == ["source=web&created_after=2026-01-01T00%3A00%3A00Z"]


def test_the_beginning_of_an_id_suffices(gateway: FakeGateway):
    gateway.listed = ["k3v7zq1b5drm80cs2n9gt4w6xa", "k3v7000000000000000000000a"]
    samovar(gateway, "predictions", "cancel", "k3v7z")
    assert gateway.asked[-1] == ("POST", "/v1/predictions/k3v7zq1b5drm80cs2n9gt4w6xa/cancel")
    refused = samovar(gateway, "predictions", "show", "k3v7")
    assert (refused.returncode, "several predictions begin so" in refused.stderr) == (1, True)


def test_predictions_are_followed_also_when_a_connection_breaks_off(gateway: FakeGateway):
    gateway.listed = ["k3v7zq1b5drm80cs2n9gt4w6xa"]
    gateway.hold.clear()
    command = [SAMOVAR, "predictions", "follow"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment(gateway)) as following:
        assert following.stdout is not None
        made, ended = following.stdout.readline(), following.stdout.readline()
        following.terminate()
    assert made.rstrip("\n").split("\t") == [gateway.listed[0], "me/mine", "starting", "2026-01-31T12:00:00Z", "", ""]
    assert ended.rstrip("\n").split("\t")[2:] == ["failed", "2026-01-31T12:00:01Z", "1.0", "no way"]
    assert gateway.resumed == [None, "1:prediction"]
