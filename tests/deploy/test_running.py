"""What `samovar run` and `samovar predictions watch` say of a prediction that has not begun."""

import pytest

from tests.deploy.fake import FakeGateway, samovar

VERSION = "d" * 64
RUN = ("run", f"me/mine:{VERSION}", "-i", "text=x", "-i", "image=https://example.com/x.png")


@pytest.fixture
def cold(gateway: FakeGateway) -> FakeGateway:
    """Its model has been loaded by nobody."""
    gateway.versions = [VERSION]
    gateway.reasons = ["queued", "downloading weights", "downloading weights", "loading"]
    return gateway


@pytest.mark.parametrize("streams", [True, False])
def test_a_run_says_what_its_prediction_waits_for(cold: FakeGateway, streams: bool) -> None:
    cold.streams = streams
    done = samovar(cold, *RUN)
    assert (done.returncode, done.stdout) == (0, "made\n"), done.stderr
    assert done.stderr.splitlines()[:2] == ["samovar: starting: downloading weights", "samovar: starting: loading"]


def test_who_watches_is_told_the_same(cold: FakeGateway) -> None:
    cold.streams = True
    done = samovar(cold, "predictions", "watch", "x1")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines()[:3] == [
        "samovar: starting: downloading weights",
        "samovar: starting: loading",
        "samovar: processing",
    ]
