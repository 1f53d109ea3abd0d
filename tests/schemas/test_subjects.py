import pytest

from schemas import subjects


@pytest.mark.parametrize(
    ("text", "token"),
    [
        pytest.param("samovar/hello-world", "samovar=2fhello-world", id="a slash"),
        pytest.param("a.b/c*d>e f", "a=2eb=2fc=2ad=3ee=20f", id="what NATS reserves"),
        pytest.param("é/x=", "=e9=2fx=3d", id="beyond ascii, and the escape itself"),
    ],
)
def test_any_name_becomes_one_token(text: str, token: str):
    assert subjects.escape(text) == token


def test_the_consumer_of_a_version_gets_all_lanes():
    one = subjects.job("cpu", "a/b", "v", lane="7").split(".")
    all_of_them = subjects.jobs_of("cpu", "a/b", "v").split(".")
    assert one[:-1] == all_of_them[:-1]
    assert all_of_them[-1] == "*"


def test_the_queue_of_a_subject_is_parsed():
    subject = subjects.job("cpu", "acme/two.parts-1_=", "v", lane="7")
    assert subjects.queue_of(subject) == ("cpu", "acme/two.parts-1_=", "v")
    assert subjects.queue_of("jobs.cpu.odd") is None


def test_the_id_of_a_subject_is_parsed():
    id = "abcd" + "0" * 22
    assert subjects.event(id, "final") == f"events.abcd.{id}.final"
    assert subjects.id_of(subjects.event(id, "final")) == id
    assert subjects.live_of(id).startswith(subjects.live_of_tag("abcd").removesuffix(">"))
